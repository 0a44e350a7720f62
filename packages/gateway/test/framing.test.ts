/**
 * How answers without a length go over the wire: in chunks that a client's parser takes, with the connection fit for the
 * next request; plain for clients that know no chunks.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type ChaosEngine,
  eventStream,
  startChaosEngine,
  wholeAnswer,
} from './support/chaos-proxy.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import { openRaw, statusesOf } from './support/raw-client.js';
import { until } from './support/until.js';

const token = (text: string): string =>
  `data: {"choices":[{"index":0,"delta":{"content":"${text}"}}]}\n\n`;
const DONE = 'data: [DONE]\n\n';
/** More than the gateway holds back of an answer in one piece. */
const LARGE = 400 * 1024;

let engine: ChaosEngine;
let bench: Bench;
beforeEach(async () => {
  engine = await startChaosEngine();
  bench = await startBench([aServedModel('chat')]);
  bench.directory.set('chat', [engine]);
});
afterEach(async () => {
  await bench.close();
  await engine.close();
});

function request(version: '1.0' | '1.1'): string {
  const body = JSON.stringify({ model: 'chat', stream: true });
  const lines = [
    `POST /v1/chat/completions HTTP/${version}`,
    'host: x',
    'content-type: application/json',
    `content-length: ${body.length}`,
  ];
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}

/** The bodies of answers in chunks, read as the format says; throws where it is broken. */
function readChunked(text: string): string[] {
  const bodies: string[] = [];
  for (let at = 0; at < text.length; ) {
    at = text.indexOf('\r\n\r\n', at) + 4;
    let body = '';
    for (;;) {
      const line = text.indexOf('\r\n', at);
      const sizeText = text.slice(at, line);
      if (!/^[0-9a-f]+$/.test(sizeText)) throw new Error(`no size of a chunk: ${sizeText}`);
      const size = Number.parseInt(sizeText, 16);
      body += text.slice(line + 2, line + 2 + size);
      at = line + 2 + size;
      if (text.slice(at, at + 2) !== '\r\n') throw new Error('a chunk is longer than it says');
      at += 2;
      if (size === 0) break;
    }
    bodies.push(body);
  }
  return bodies;
}

describe('an answer without a length', () => {
  it('is in whole chunks, and the next one follows on the same connection', async () => {
    engine.play({ bytes: eventStream([token('one'), token('two'), DONE]), after: 'keep' });
    const client = openRaw(bench.gateway.address.port, request('1.1'));
    await until(() => client.heard().endsWith('0\r\n\r\n'));
    client.socket.write(request('1.1'));
    await until(
      () => statusesOf(client.heard()).length === 2 && client.heard().endsWith('0\r\n\r\n'),
    );
    const whole = `${token('one')}${token('two')}${DONE}`;
    expect(readChunked(client.heard())).toEqual([whole, whole]);
    expect(client.heard().toLowerCase()).not.toContain('content-length');
    client.socket.destroy();
  });

  it('ends in a whole chunk when its engine breaks off', async () => {
    engine.play({ bytes: eventStream([token('one'), token('two')], false), after: 'reset' });
    const client = openRaw(bench.gateway.address.port, request('1.1'));
    await until(() => client.heard().endsWith('0\r\n\r\n'));
    const [body] = readChunked(client.heard());
    expect(body).toContain('"code":"upstream_broken"');
    client.socket.destroy();
  });

  it('has no chunks for a client of HTTP/1.0', async () => {
    engine.play({ bytes: eventStream([token('one'), DONE]), after: 'keep' });
    const client = openRaw(bench.gateway.address.port, request('1.0'));
    await until(() => client.isClosed());
    expect(client.heard()).not.toContain('transfer-encoding');
    expect(client.heard().endsWith(`\r\n\r\n${token('one')}${DONE}`)).toBe(true);
  });

  it('is the same in one piece, when it is larger than what is held back', async () => {
    const document = { text: 'x'.repeat(LARGE) };
    engine.play({ bytes: wholeAnswer(document), after: 'keep' });
    const response = await fetch(`${bench.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: 'chat' }),
    });
    expect(response.headers.get('transfer-encoding')).toBe('chunked');
    expect(await response.json()).toEqual(document);
  });
});

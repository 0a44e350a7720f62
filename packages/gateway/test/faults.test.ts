/**
 * The fault table: what a client hears when an engine misbehaves at any byte, and that nothing is left behind: no
 * permit, no exchange, no timer, no socket at the engine.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type ChaosEngine,
  eventStream,
  startChaosEngine,
  wholeAnswer,
} from './support/chaos-proxy.js';
import { type FakeEngine, startFakeEngine } from './support/fake-engine.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import { createHastyClock } from './support/hasty-clock.js';
import { type CountingClock, createCountingClock } from './support/leftovers.js';
import { until } from './support/until.js';

const SHORT = { firstByteMs: 1000, idleMs: 600, totalMs: 2500 };
const TIMES = { standard: SHORT };
/** The look after the last request is the last one. */
const SWEEP_MS = 1_000;
const MODELS = [aServedModel('chat')];
const messages = [{ role: 'user', content: 'hello there' }];

let chaos: ChaosEngine;
let bench: Bench;
let clock: CountingClock;
beforeEach(async () => {
  clock = createCountingClock(createHastyClock(SWEEP_MS));
  chaos = await startChaosEngine();
  bench = await startBench(MODELS, { clock, timeouts: TIMES, limits: { suspendMs: 1 } });
  bench.directory.set('chat', [chaos]);
});
afterEach(async () => {
  await nothingIsLeft();
  await bench.close();
  await chaos.close();
});

const ask = (extra: object = {}): Promise<Response> =>
  fetch(`${bench.url}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: 'chat', messages, ...extra }),
  });

async function admin(path: string): Promise<Record<string, unknown>> {
  return (await (await fetch(`${bench.adminUrl}${path}`)).json()) as Record<string, unknown>;
}

async function nothingIsLeft(): Promise<void> {
  await until(async () => {
    const { inFlight, waiting } = await admin('/v1/queues');
    const { requests } = await admin('/v1/requests');
    const isIdle = inFlight === 0 && waiting === 0 && (requests as unknown[]).length === 0;
    return isIdle && clock.armed() === 0;
  });
}

const ROLE =
  'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n';
const token = (text: string): string =>
  `data: {"choices":[{"index":0,"delta":{"content":"${text}"},"finish_reason":null}]}\n\n`;
const STREAM = eventStream([ROLE, token('one'), token('two'), 'data: [DONE]\n\n']);
const WHOLE = wholeAnswer({
  choices: [{ message: { role: 'assistant', content: 'hi' } }],
  usage: { prompt_tokens: 1, completion_tokens: 1 },
});

describe('a reset at every byte', () => {
  // No time limits: on a busy machine they would come first and say something else.
  beforeEach(async () => {
    await bench.close();
    bench = await startBench(MODELS, { clock, limits: { suspendMs: 1 } });
    bench.directory.set('chat', [chaos]);
  });

  it('of a JSON answer: the whole answer or a clean 502, never a part', async () => {
    for (let cut = 0; cut <= WHOLE.length; cut += 1) {
      chaos.play({ bytes: WHOLE.subarray(0, cut), after: 'reset' });
      const response = await ask();
      const document = (await response.json()) as { error?: { code: string } };
      if (cut === WHOLE.length) expect(response.status).toBe(200);
      else expect([response.status, document.error?.code]).toEqual([502, 'upstream_unreachable']);
    }
  }, 60_000);

  it('of a stream: 502 before the first token; after it what came, an error event, no [DONE]', async () => {
    const firstToken = STREAM.indexOf('one"');
    for (let cut = 0; cut <= STREAM.length; cut += 1) {
      chaos.play({ bytes: STREAM.subarray(0, cut), after: 'reset' });
      const response = await ask({ stream: true });
      const text = await response.text();
      if (cut === STREAM.length) {
        expect(text).toContain('[DONE]');
      } else if (response.status === 502) {
        expect(text).toContain('"code":"upstream_unreachable"');
        expect(cut).toBeLessThan(STREAM.indexOf('two"'));
      } else {
        expect(response.status).toBe(200);
        expect(cut).toBeGreaterThan(firstToken);
        expect(text).toContain('"content":"one"');
        expect(text).toContain('"code":"upstream_broken"');
        // Whole events only: a client's parser never meets half of one.
        for (const event of text.split('\n\n').filter((each) => each.startsWith('data: {')))
          expect(() => JSON.parse(event.slice('data: '.length))).not.toThrow();
      }
    }
  }, 60_000);

  it('with another engine: every answer comes whole until the first token was passed on', async () => {
    const other = await startFakeEngine();
    for (let cut = 0; cut < WHOLE.length; cut += 40) {
      chaos.play({ bytes: WHOLE.subarray(0, cut), after: 'reset' });
      bench.directory.set('chat', [chaos, other]);
      const response = await ask();
      expect(response.status).toBe(200);
      expect(await response.text()).toContain('choices');
    }
    await other.close();
  });
});

describe('connections that were kept', () => {
  it('and closed without a word are asked again on a new one; the client notices nothing', async () => {
    // llama-server after a streamed answer: keeps the connection, and resets it on the next request.
    const served = new WeakSet<object>();
    chaos.play((socket) => {
      if (served.has(socket)) {
        socket.resetAndDestroy();
        return;
      }
      served.add(socket);
      socket.write(WHOLE);
    });
    for (let request = 0; request < 20; request += 1) expect((await ask()).status).toBe(200);
    expect(bench.metrics.records.filter(({ labels }) => labels['code'] === '502')).toEqual([]);
  });

  it('a new connection that is reset is the engine’s fault and counts as one', async () => {
    chaos.play({ bytes: Buffer.alloc(0), after: 'reset' });
    expect((await ask()).status).toBe(502);
    expect(chaos.requests()).toBeLessThanOrEqual(4);
  });
});

describe('an engine that', () => {
  it('says nothing: 504 after its band’s time', async () => {
    chaos.play({ bytes: Buffer.alloc(0), after: 'stall' });
    const response = await ask();
    expect(response.status).toBe(504);
    expect(await response.json()).toMatchObject({ error: { code: 'upstream_timeout' } });
    await until(() => chaos.sockets() === 0);
  });

  it('stops in the middle of a JSON answer: another one gives it', async () => {
    const other = await startFakeEngine();
    chaos.play({ bytes: WHOLE.subarray(0, WHOLE.length - 5), after: 'stall' });
    bench.directory.set('chat', [chaos, other]);
    for (let request = 0; request < 2; request += 1) expect((await ask()).status).toBe(200);
    await other.close();
  });

  it('stops in the middle of a stream: an error event after the idle time', async () => {
    chaos.play({ bytes: eventStream([ROLE, token('one')], false), after: 'stall' });
    const text = await (await ask({ stream: true })).text();
    expect(text).toContain('"content":"one"');
    expect(text).toContain('"code":"upstream_timeout"');
    expect(text).not.toContain('[DONE]');
    await until(() => chaos.sockets() === 0);
  });

  it('never ends: cut at the total time', async () => {
    chaos.play((socket) => {
      socket.write(eventStream([ROLE], false));
      const more = setInterval(() => {
        const event = token('x');
        socket.write(`${event.length.toString(16)}\r\n${event}\r\n`);
      }, 20);
      socket.on('close', () => clearInterval(more));
    });
    const text = await (await ask({ stream: true })).text();
    expect(text.match(/"content":"x"/g)?.length).toBeGreaterThan(10);
    expect(text).toContain('"code":"upstream_timeout"');
    await until(() => chaos.sockets() === 0);
  });

  it.each([
    ['no HTTP at all', Buffer.from('hello\r\n\r\n')],
    [
      'two lengths',
      Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}x'),
    ],
    [
      'a length and chunks',
      Buffer.from(
        'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n',
      ),
    ],
    ['a header without end', Buffer.from(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(100_000)}`)],
    ['a bad chunk', Buffer.from('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n')],
  ])('answers with %s: 502', async (_, bytes) => {
    chaos.play({ bytes, after: 'keep' });
    const response = await ask();
    expect(response.status).toBe(502);
  });

  it.each([
    ['malformed events', ['data: {"choices":[{"delta":{"content":\n\n', 'nonsense\n\n', ': \n\n']],
    [
      'invalid UTF-8',
      [Buffer.from('data: {"choices":[{"delta":{"content":"\xff\xfe"}}]}\n\n', 'latin1')],
    ],
    ['no [DONE]', [token('one')]],
  ])('streams %s: the bytes go on as they are', async (_, events) => {
    chaos.play({ bytes: eventStream(events), after: 'keep' });
    const response = await ask({ stream: true });
    const bytes = Buffer.from(await response.arrayBuffer());
    expect(bytes.equals(Buffer.concat(events.map((event) => Buffer.from(event))))).toBe(true);
  });

  it('lies about its usage: counted within what the model can take', async () => {
    const usage = { prompt_tokens: 1e15, completion_tokens: -4, prompt_tokens_details: 'x' };
    chaos.play({ bytes: wholeAnswer({ choices: [], usage }), after: 'keep' });
    expect((await ask()).status).toBe(200);
    const counted = bench.metrics.records.filter(({ name }) => name === 'aim_gpu_tokens_total');
    expect(counted.map(({ labels, value }) => [labels['kind'], value])).toEqual([
      ['input', 4096],
      ['output', 0],
    ]);
  });

  it('has gone with its sockets half open: found by the idle time', async () => {
    chaos.play((socket) => {
      socket.write(eventStream([ROLE, token('one')], false));
      socket.removeAllListeners('data');
      socket.pause();
    });
    const text = await (await ask({ stream: true })).text();
    expect(text).toContain('"code":"upstream_timeout"');
  });
});

describe('figures of engines', () => {
  it('that do not come: no new requests there, and what waits for its first byte goes elsewhere', async () => {
    const other = await startFakeEngine();
    await bench.close();
    const sick = new Set<string>(['chat-0']);
    bench = await startBench(MODELS, {
      sampleEveryMs: 20,
      sample: ({ instance }) =>
        sick.has(instance)
          ? Promise.reject(new Error('no answer'))
          : Promise.resolve({
              running: 0,
              waiting: 0,
              kvUsage: 0,
              kvCapacityTokens: 1000,
              preemptionsTotal: 0,
              promptTokensTotal: 0,
              generationTokensTotal: 0,
            }),
    });
    chaos.play({ bytes: Buffer.alloc(0), after: 'stall' });
    bench.directory.set('chat', [chaos, other]);
    const answers = await Promise.all([ask(), ask(), ask()]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    const before = chaos.requests();
    for (let request = 0; request < 5; request += 1) expect((await ask()).status).toBe(200);
    expect(chaos.requests()).toBe(before);
    await other.close();
  });
});

describe('many requests', () => {
  it('of every fate leave no permit, no exchange and no socket', async () => {
    const engine: FakeEngine = await startFakeEngine();
    bench.directory.set('chat', [chaos, engine]);
    chaos.play({ bytes: STREAM.subarray(0, 300), after: 'reset' });
    for (let round = 0; round < 20; round += 1) {
      await Promise.all(
        Array.from({ length: 16 }, async (_, index) => {
          const abort = new AbortController();
          if (index % 4 === 0) setTimeout(() => abort.abort(), index);
          await fetch(`${bench.url}/v1/chat/completions`, {
            method: 'POST',
            body: JSON.stringify({ model: 'chat', messages, stream: index % 2 === 0 }),
            signal: abort.signal,
          })
            .then((response) => response.text())
            .catch(() => undefined);
        }),
      );
    }
    await nothingIsLeft();
    await until(() => chaos.sockets() === 0);
    await engine.close();
  }, 60_000);
});

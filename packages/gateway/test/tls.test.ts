/**
 * TLS with real certificates, made for each run: served, exchanged while connections are open, kept when the files are
 * broken, and ending while the gateway runs.
 */
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { createRecordingLogger } from '@aim-gpu/core/testing';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { endOfCertificate } from '../src/tls-files.js';
import { type Certificates, createCertificates } from './support/certificates.js';
import { type FakeEngine, startFakeEngine } from './support/fake-engine.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import { createHastyClock } from './support/hasty-clock.js';
import { until } from './support/until.js';

const LOOK_MS = 10_000;
const DAY_MS = 24 * 3_600_000;
const MODELS = [aServedModel('chat')];
const BODY = JSON.stringify({ model: 'chat', prompt: 'hello' });

let pairs: Certificates;
let files: Certificates['files'];
let engine: FakeEngine;
let bench: Bench | null = null;
let logger: ReturnType<typeof createRecordingLogger>;
const sockets: TLSSocket[] = [];

beforeAll(async () => {
  pairs = createCertificates();
  files = pairs.files;
  await pairs.make('first', 90 * DAY_MS);
  await pairs.make('second', 90 * DAY_MS);
  await pairs.make('ending', 2 * DAY_MS);
  await pairs.make('locked', 90 * DAY_MS, { passphrase: 'a-passphrase' });
});
afterAll(() => pairs.remove());
beforeEach(async () => {
  engine = await startFakeEngine();
  logger = createRecordingLogger();
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await bench?.close();
  bench = null;
  await engine.close();
});

async function start(pair: string): Promise<Bench> {
  pairs.install(pair);
  bench = await startBench(MODELS, { tls: files, clock: createHastyClock(LOOK_MS), logger });
  bench.directory.set('chat', [engine]);
  return bench;
}

/** Shakes hands and says whose certificate it was; the connection stays open. */
function shake(port: number, options: object = {}): Promise<{ socket: TLSSocket; name: string }> {
  return new Promise((resolve, reject) => {
    // Trust is not what is tested, so the certificate's own name will do.
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options }, () =>
      resolve({ socket, name: String(socket.getPeerCertificate().subject.CN) }),
    );
    sockets.push(socket);
    socket.on('error', reject);
  });
}

function ask(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    request({
      port,
      host: '127.0.0.1',
      path: '/v1/completions',
      method: 'POST',
      rejectUnauthorized: false,
    })
      .on('response', (response) => {
        response.resume().on('end', () => resolve(response.statusCode ?? 0));
      })
      .on('error', reject)
      .end(BODY);
  });
}

const logged = (event: string): number =>
  logger.records.filter((record) => JSON.stringify(record).includes(`"${event}"`)).length;

describe('TLS', () => {
  it('is served on the public port; plain HTTP and TLS 1.1 are not', async () => {
    const { gateway, url } = await start('first');
    const { port } = gateway.address;
    expect((await shake(port)).name).toBe('first');
    expect(await ask(port)).toBe(200);
    await expect(fetch(`${url}/v1/models`)).rejects.toThrow();
    const old = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' };
    await expect(shake(port, old)).rejects.toThrow(/alert protocol version|unsupported protocol/i);
    expect(await ask(port)).toBe(200);
  });

  it('takes a new pair while connections with the old one go on', async () => {
    const { gateway } = await start('first');
    const { port } = gateway.address;
    const { socket } = await shake(port);
    pairs.install('second');
    await until(async () => (await shake(port)).name === 'second');
    expect(logged('certificate-reloaded')).toBe(1);
    let heard = '';
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.toString();
    });
    socket.write(
      `POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`,
    );
    await until(() => heard.includes('HTTP/1.1 200'));
  });

  it.each([
    ['is half written', () => writeFileSync(files.certFile, '-----BEGIN CERTIFICATE-----\nMII')],
    ['has gone', () => rmSync(files.keyFile)],
    ['belongs to another key', () => copyFileSync(pairs.certOf('second'), files.certFile)],
  ])('keeps the old pair while the new one %s, and takes it once it is whole', async (_, spoil) => {
    const { gateway } = await start('first');
    const { port } = gateway.address;
    spoil();
    await until(() => logged('certificate-unreadable') > 1);
    expect((await shake(port)).name).toBe('first');
    expect(await ask(port)).toBe(200);
    pairs.install('second');
    await until(async () => (await shake(port)).name === 'second');
    expect(JSON.stringify(logger.records)).not.toContain('PRIVATE KEY');
  });

  it('warns once of a certificate that ends within a week', async () => {
    await start('ending');
    // Looks that fail show that time has passed.
    rmSync(files.keyFile);
    await until(() => logged('certificate-unreadable') > 2);
    expect(logged('certificate-ends')).toBe(1);
    pairs.install('first');
    await until(() => logged('certificate-reloaded') === 1);
    expect(logged('certificate-ends')).toBe(1);
  });

  it('that ends while it runs: said once, open connections go on, new ones fail by the date alone', async () => {
    // Certificates count in whole seconds; the handshakes of a busy machine have to fit in before the end.
    await pairs.make('short', 4_000);
    const { gateway } = await start('short');
    const { port } = gateway.address;
    const trusting = { ca: readFileSync(pairs.certOf('short')), rejectUnauthorized: true };
    const { socket } = await shake(port, trusting);
    let heard = '';
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.toString();
    });
    expect(logged('certificate-ends')).toBe(1);
    expect(logged('certificate-ended')).toBe(0);
    await until(() => logged('certificate-ended') === 1, 8_000);
    await expect(shake(port, trusting)).rejects.toMatchObject({ code: 'CERT_HAS_EXPIRED' });
    // Who does not look at the date is served, and so is who came before.
    expect(await ask(port)).toBe(200);
    socket.write(
      `POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`,
    );
    await until(() => heard.includes('HTTP/1.1 200'));
    pairs.install('second');
    await until(async () => (await shake(port)).name === 'second');
    expect([logged('certificate-ended'), logged('certificate-ends')]).toEqual([1, 1]);
  });

  it.each([
    ['a certificate of another key', () => copyFileSync(pairs.certOf('second'), files.certFile)],
    ['a key that is missing', () => rmSync(files.keyFile)],
    ['a key with a passphrase', () => pairs.install('locked')],
    ['no PEM', () => writeFileSync(files.certFile, 'hello')],
  ])('refuses to start with %s', async (_, spoil) => {
    pairs.install('first');
    spoil();
    await expect(startBench(MODELS, { tls: files })).rejects.toMatchObject({
      code: 'ERR_TLS_INVALID',
      kind: 'invalid',
      details: files,
    });
  });
});

describe('the end of a certificate', () => {
  it('is read as it is written', () => {
    const LAST_MS = Date.UTC(9999, 11, 31);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: LAST_MS / 1000 }), (seconds) => {
        const [, day, month, year, time] =
          /^\w+, (\d+) (\w+) (\d+) (\S+) GMT$/.exec(new Date(seconds * 1000).toUTCString()) ?? [];
        const text = `${month} ${String(Number(day)).padStart(2)} ${time} ${year} GMT`;
        expect(endOfCertificate(text)).toBe(seconds * 1000);
      }),
    );
  });

  it.each(['', 'soon', 'Foo  1 00:00:00 2030 GMT', '2030-01-01T00:00:00Z'])(
    'is not known from %j',
    (text) => expect(endOfCertificate(text)).toBeNull(),
  );
});

it('a client that shakes no hands is let go after the time for headers', async () => {
  pairs.install('first');
  bench = await startBench(MODELS, { tls: files, limits: { headersMs: 200 } });
  let isClosed = false;
  const socket = connectTcp(bench.gateway.address.port, '127.0.0.1');
  socket
    .on('error', () => undefined)
    .on('close', () => {
      isClosed = true;
    });
  socket.resume();
  await until(() => isClosed, 3_000);
});

it('a client that shakes no hands does not keep the gateway from ending', async () => {
  const { gateway } = await start('first');
  const silent = connectTcp(gateway.address.port, '127.0.0.1');
  const closed = new Promise((resolve) => silent.on('error', resolve).on('close', resolve));
  // Asked after it, so that its connection is there.
  expect(await ask(gateway.address.port)).toBe(200);
  const startMs = performance.now();
  await gateway.close();
  await closed;
  // The time for a handshake is 20 s.
  expect(performance.now() - startMs).toBeLessThan(10_000);
});

/**
 * TLS with real certificates, made by openssl for each run: served, exchanged while connections are open, and kept when
 * the files are broken.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { createRecordingLogger } from '@aim-gpu/core/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type FakeEngine, startFakeEngine } from './support/fake-engine.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import { createHastyClock } from './support/hasty-clock.js';
import { until } from './support/until.js';

/** A program of the machine, not of a package. */
const OPENSSL = process.env['OPENSSL'] ?? 'openssl';
const LOOK_MS = 10_000;
const MODELS = [aServedModel('chat')];
const BODY = JSON.stringify({ model: 'chat', prompt: 'hello' });

let directory: string;
let files: { readonly certFile: string; readonly keyFile: string };
let engine: FakeEngine;
let bench: Bench | null = null;
let logger: ReturnType<typeof createRecordingLogger>;
const sockets: TLSSocket[] = [];

const at = (name: string): string => path.join(directory, name);

function makePair(name: string, days: number, protection = ['-nodes']): void {
  const where = ['-keyout', at(`${name}.key`), '-out', at(`${name}.crt`)];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', ...protection];
  const args = ['req', '-x509', ...curve, '-subj', `/CN=${name}`, '-days', String(days), ...where];
  execFileSync(OPENSSL, args, { stdio: 'ignore' });
}

function install(name: string): void {
  copyFileSync(at(`${name}.crt`), files.certFile);
  copyFileSync(at(`${name}.key`), files.keyFile);
}

beforeAll(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'tls-'));
  files = { certFile: at('served.crt'), keyFile: at('served.key') };
  makePair('first', 90);
  makePair('second', 90);
  makePair('ending', 2);
  makePair('locked', 90, ['-passout', 'pass:a-passphrase']);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));
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
  install(pair);
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
    install('second');
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
    ['belongs to another key', () => copyFileSync(at('second.crt'), files.certFile)],
  ])('keeps the old pair while the new one %s, and takes it once it is whole', async (_, spoil) => {
    const { gateway } = await start('first');
    const { port } = gateway.address;
    spoil();
    await until(() => logged('certificate-unreadable') > 1);
    expect((await shake(port)).name).toBe('first');
    expect(await ask(port)).toBe(200);
    install('second');
    await until(async () => (await shake(port)).name === 'second');
    expect(JSON.stringify(logger.records)).not.toContain('PRIVATE KEY');
  });

  it('warns once of a certificate that ends within a week', async () => {
    await start('ending');
    // Looks that fail show that time has passed.
    rmSync(files.keyFile);
    await until(() => logged('certificate-unreadable') > 2);
    expect(logged('certificate-ends')).toBe(1);
    install('first');
    await until(() => logged('certificate-reloaded') === 1);
    expect(logged('certificate-ends')).toBe(1);
  });

  it.each([
    ['a certificate of another key', () => copyFileSync(at('second.crt'), files.certFile)],
    ['a key that is missing', () => rmSync(files.keyFile)],
    ['a key with a passphrase', () => install('locked')],
    ['no PEM', () => writeFileSync(files.certFile, 'hello')],
  ])('refuses to start with %s', async (_, spoil) => {
    install('first');
    spoil();
    await expect(startBench(MODELS, { tls: files })).rejects.toMatchObject({
      code: 'ERR_TLS_INVALID',
      kind: 'invalid',
      details: files,
    });
  });
});

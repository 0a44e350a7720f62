/**
 * `aim-gpu agent` with its API over TCP and TLS, as a client of another machine meets it, and its events after its end.
 * Skipped where there is no openssl to make a certificate with.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { request } from 'node:https';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { runCommandLine } from '../src/program.js';
import { createFakeIo, type FakeIo, SMALL_FLEET } from './support/fake-io.js';

const HAS_OPENSSL = spawnSync('openssl', ['version'], { stdio: 'ignore' }).status === 0;
const TOKEN = '0123456789abcdef0123456789abcdef';

let io: FakeIo;
let ended: Promise<number>;
let port: number;
let stateDirectory: string;

beforeAll(async () => {
  if (!HAS_OPENSSL) return;
  io = createFakeIo();
  stateDirectory = path.join(io.directory, 'state');
  const [cert, key] = [path.join(io.directory, 'tls.crt'), path.join(io.directory, 'tls.key')];
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
      ...['-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'],
      ...['-keyout', key, '-out', cert],
    ],
    { stdio: 'ignore' },
  );
  ended = runCommandLine(
    [
      ...['agent', io.write('fleet.yaml', SMALL_FLEET), '--state-dir', stateDirectory],
      ...['--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0'],
      ...['--api-listen', '127.0.0.1:0', '--api-token', io.write('token', `${TOKEN}\n`)],
      ...['--api-cert', cert, '--api-key', key],
    ],
    io,
  );
  const readPort = (): number => Number(/^api +127\.0\.0\.1:(\d+)$/m.exec(io.out())?.[1]);
  await vi.waitUntil(() => readPort() > 0, { timeout: 20_000, interval: 20 });
  port = readPort();
}, 30_000);

afterAll(() => {
  if (HAS_OPENSSL) io.remove();
});

function ask(
  route: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path: route, headers, rejectUnauthorized: false };
    const outgoing = request(options, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      response.once('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    outgoing.once('error', reject);
    outgoing.end();
  });
}

describe.skipIf(!HAS_OPENSSL)('the API over TLS', () => {
  it('answers who has the token', async () => {
    const { status, body } = await ask('/v1/status', { authorization: `Bearer ${TOKEN}` });
    expect(status).toBe(200);
    expect(JSON.parse(body)).toMatchObject({ kind: 'Status', node: 'node-a' });
  });

  it.each([
    ['no token', {}],
    ['a wrong one', { authorization: `Bearer ${TOKEN.toUpperCase()}` }],
    ['one too long', { authorization: `Bearer ${TOKEN}0` }],
    ['another scheme', { authorization: `Basic ${TOKEN}` }],
  ])('refuses %s, whatever is asked', async (_, headers: Record<string, string>) => {
    for (const route of ['/v1/status', '/v1/events', '/openapi.json', '/nowhere']) {
      const { status, body } = await ask(route, headers);
      expect([route, status]).toEqual([route, 403]);
      expect(JSON.parse(body)).toMatchObject({ error: { code: 'ERR_API_DENIED', kind: 'denied' } });
    }
  });

  it('tells a probe without a token that it lives, and nothing else', async () => {
    expect(await ask('/healthz')).toEqual({ status: 200, body: '{"state":"ok"}' });
  });

  it('does not speak to who has no TLS', async () => {
    const plain = fetch(`http://127.0.0.1:${port}/healthz`);
    await expect(plain).rejects.toThrow();
  });

  it('and the token is nowhere in what was printed', () => {
    expect(io.out() + io.error()).not.toContain(TOKEN);
  });
});

describe.skipIf(!HAS_OPENSSL)('events', () => {
  const events = async (...more: readonly string[]) => {
    const other = createFakeIo();
    try {
      const code = await runCommandLine(
        ['events', '--json', '--state-dir', stateDirectory, ...more],
        other,
      );
      return { code, ...(JSON.parse(other.out()) as { events: { event: string; id: number }[] }) };
    } finally {
      other.remove();
    }
  };

  it('are told by the agent, and by its state directory after its end', {
    timeout: 60_000,
  }, async () => {
    await expect
      .poll(async () => (await events()).events.map(({ event }) => event), { timeout: 40_000 })
      .toContain('agent-ready');
    const running = (await events()).events;
    const down = createFakeIo();
    expect(await runCommandLine(['down', '--state-dir', stateDirectory], down)).toBe(0);
    down.remove();
    expect(await ended).toBe(0);
    const kept = await events();
    expect(kept.code).toBe(0);
    expect(kept.events.slice(0, running.length)).toEqual(running);
    expect(kept.events.at(-1)).toMatchObject({ event: 'agent-stopped' });
    const last = kept.events.at(-2)?.id ?? 0;
    expect((await events('--after', String(last))).events).toHaveLength(1);
    expect((await events('--since', '1h')).events).toEqual(kept.events);
    expect((await events('--since', '2020-01-01')).events).toEqual(kept.events);
    expect((await events('--since', '2100-01-01T00:00:00Z')).events).toEqual([]);
    expect(await events('--since', 'yesterday')).toMatchObject({
      code: 2,
      error: { code: 'ERR_USAGE' },
    });
  });

  it('to follow need an agent', async () => {
    const other = createFakeIo();
    const args = ['events', '--follow', '--json', '--state-dir', stateDirectory];
    expect(await runCommandLine(args, other)).toBe(4);
    expect(JSON.parse(other.out())).toMatchObject({ error: { code: 'ERR_AGENT_NOT_RUNNING' } });
    other.remove();
  });
});

/**
 * Faults of processes as a client of the built command meets them: engines killed and stopped, the gateway's own
 * process killed. Each test says what the client heard, and looks at the gateway afterwards: no permit, no request and
 * no socket may be left.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { createFileStateStore } from '@aim-gpu/core/node';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createPlace, type Place, run } from './support/command.js';
import { freePort, viewNode } from './support/node-view.js';
import { processesOf, type Running, startUp, until } from './support/running.js';

const KEYS = { 'team-a': 'sk-e2e-team-a', 'team-b': 'sk-e2e-team-b' } as const;
const REQUESTS_PER_MINUTE = 3;
const FLEET = `apiVersion: aim-gpu/v1alpha1
kind: Fleet
metadata: { name: faults }
nodes:
  - name: node-a
    driver: simulated
    cards: { product: MI300X, count: 1 }
models:
  - { name: pair, source: meta-llama/Llama-3.2-1B-Instruct, concurrency: 4, maxModelLen: 8192, replicas: 2, band: interactive, placement: { exclusive: true } }
  - { name: solo, source: meta-llama/Llama-3.2-1B-Instruct, concurrency: 4, maxModelLen: 8192, band: interactive, placement: { exclusive: true } }
tenants:
  - { name: team-a, keys: [{ file: team-a.key }], bands: [interactive, standard], limits: { requestsPerMinute: ${REQUESTS_PER_MINUTE} } }
  - { name: team-b, keys: [{ file: team-b.key }], bands: [interactive, standard, batch] }
`;
/** Long enough to be in the middle of for some seconds. */
const LONG = 800;
/** How long the gateway holds requests for an engine that is not there. */
const HOLD_MS = 10_000;

let place: Place;
let fleet: string;
let up: Running;
let ports: readonly string[];
let socketsAtRest = 0;

beforeAll(async () => {
  place = createPlace();
  fleet = place.write('fleet.yaml', FLEET);
  for (const [tenant, key] of Object.entries(KEYS)) place.write(`${tenant}.key`, `${key}\n`);
  ports = ['--listen', `127.0.0.1:${await freePort()}`];
  await startAndWait();
}, 90_000);

afterAll(async () => {
  expect(await up.stop()).toBe(0);
  expect(processesOf(place.stateDirectory)).toEqual([]);
  place.remove();
}, 60_000);

afterEach(nothingIsLeft, 30_000);

async function startAndWait(): Promise<void> {
  up = await startUp(fleet, place.stateDirectory, ports);
  socketsAtRest = socketsOf(up.pid);
}

/** What one client heard of one request. */
interface Heard {
  readonly status: number;
  readonly instance: string | null;
  readonly retryAfter: string | null;
  readonly body: string;
  /** The error of its HTTP client; null when the answer ended as HTTP says. */
  readonly broke: string | null;
}

/** A request under way. */
interface Asked {
  /** How much of the body has come so far. */
  readonly size: () => number;
  readonly instance: () => string | null;
  readonly heard: Promise<Heard>;
}

/** Asks over a connection of its own, so that sockets can be counted afterwards. */
function ask(
  model: string,
  options: {
    readonly tenant?: keyof typeof KEYS;
    readonly stream?: boolean;
    readonly max_tokens?: number;
  } = {},
): Asked {
  const { tenant = 'team-b', ...wishes } = options;
  let body = '';
  let instance: string | null = null;
  let retryAfter: string | null = null;
  const heard = new Promise<Heard>((resolve) => {
    let status = 0;
    const end = (broke: string | null): void =>
      resolve({ status, instance, retryAfter, body, broke });
    const onError = (error: NodeJS.ErrnoException): void => end(error.code ?? error.message);
    const request = httpRequest(`${up.ready.gateway}/v1/chat/completions`, {
      agent: false,
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${KEYS[tenant]}` },
    });
    request.on('error', onError).on('response', (response) => {
      status = response.statusCode ?? 0;
      instance = String(response.headers['x-aim-instance'] ?? '');
      retryAfter = response.headers['retry-after'] ?? null;
      response
        .setEncoding('utf8')
        .on('data', (piece: string) => {
          body += piece;
        })
        .on('error', onError)
        .on('end', () => end(null));
    });
    const messages = [{ role: 'user', content: 'tell me a story' }];
    request.end(JSON.stringify({ model, messages, max_tokens: 4, ...wishes }));
  });
  return { size: () => body.length, instance: () => instance, heard };
}

async function readAdmin(at: string): Promise<Record<string, unknown>> {
  const headers = { connection: 'close' };
  return (await (await fetch(`${up.ready.admin}${at}`, { headers })).json()) as Record<
    string,
    unknown
  >;
}

/** Sockets that a process has open, by its descriptors. */
function socketsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).filter((name) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${name}`).startsWith('socket:');
    } catch {
      return false;
    }
  }).length;
}

async function nothingIsLeft(): Promise<void> {
  let last = '';
  await until(
    'permits, requests and sockets are as before',
    async () => {
      const { inFlight, waiting } = await readAdmin('/v1/queues');
      const { requests } = await readAdmin('/v1/requests');
      const sockets = socketsOf(up.pid);
      last = JSON.stringify({ inFlight, waiting, requests, sockets, socketsAtRest });
      return (
        inFlight === 0 &&
        waiting === 0 &&
        (requests as unknown[]).length === 0 &&
        sockets <= socketsAtRest
      );
    },
    15_000,
  ).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}: ${last}`);
  });
}

async function pidOf(instance: string): Promise<number> {
  const { instances } = await viewNode(place.stateDirectory);
  return instances.find((each) => each.instance === instance)?.pid ?? 0;
}

async function untilReadyAgain(instance: string, oldPid: number): Promise<void> {
  await until(
    `${instance} has a new process that is ready`,
    async () => {
      const { instances } = await viewNode(place.stateDirectory);
      const found = instances.find((each) => each.instance === instance);
      return found?.state === 'ready' && found.pid !== oldPid;
    },
    30_000,
  );
}

/** Streams of the pair until each of the two has one that has begun. */
async function streamsOnBoth(): Promise<{ readonly first: Asked; readonly second: Asked }> {
  const streams = Array.from({ length: 4 }, () => ask('pair', { stream: true, max_tokens: LONG }));
  const on = (instance: string) => streams.find((each) => each.instance() === instance);
  await until(
    'both have a stream',
    () => [on('pair-0'), on('pair-1')].every((each) => each !== undefined && each.size() > 500),
    10_000,
  );
  return { first: on('pair-0') as Asked, second: on('pair-1') as Asked };
}

const errorOf = ({ body }: Heard): string | undefined => /"code":"(\w+)"/.exec(body)?.[1];
const isWhole = ({ status, body, broke }: Heard): boolean =>
  status === 200 && broke === null && body.endsWith('data: [DONE]\n\n');

/** A stream whose engine ended: what came, in whole events, then an error event; nothing that looks like a good end. */
function expectBroken(heard: Heard): void {
  expect(heard).toMatchObject({ status: 200, broke: null });
  expect(errorOf(heard)).toBe('upstream_broken');
  expect(heard.body).not.toContain('[DONE]');
  const events = heard.body.trimEnd().split('\n\n');
  expect(events.length).toBeGreaterThan(3);
  for (const event of events) expect(() => JSON.parse(event.slice('data: '.length))).not.toThrow();
}

async function elapsedMs(work: Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work;
  return performance.now() - startMs;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('an engine that is killed (SIGKILL)', () => {
  it('in the middle of a stream: an error event at once; other streams go on', {
    timeout: 60_000,
  }, async () => {
    const { first, second } = await streamsOnBoth();
    const pid = await pidOf('pair-0');
    process.kill(pid, 'SIGKILL');
    const ms = await elapsedMs(first.heard);
    expect(ms).toBeLessThan(3_000);
    expectBroken(await first.heard);
    expect(isWhole(await second.heard)).toBe(true);
    await untilReadyAgain('pair-0', pid);
    expect((await ask('pair').heard).status).toBe(200);
  });

  it('before the first byte: the other engine answers', { timeout: 60_000 }, async () => {
    const pid = await pidOf('pair-0');
    // Stopped, it holds what it is asked until it is killed.
    process.kill(pid, 'SIGSTOP');
    const asked = Array.from({ length: 4 }, () => ask('pair'));
    await until('it holds some', async () => (await heldBy('pair-0')) > 0, 3_000);
    process.kill(pid, 'SIGKILL');
    for (const { heard } of asked)
      expect(await heard).toMatchObject({ status: 200, instance: 'pair-1', broke: null });
    await untilReadyAgain('pair-0', pid);
  });

  it('before the first byte, and there is no other: its next process answers', {
    timeout: 60_000,
  }, async () => {
    const pid = await pidOf('solo-0');
    process.kill(pid, 'SIGSTOP');
    const json = ask('solo');
    const stream = ask('solo', { stream: true });
    await until('it holds both', async () => (await heldBy('solo-0')) === 2, 3_000);
    process.kill(pid, 'SIGKILL');
    expect(await json.heard).toMatchObject({ status: 200, instance: 'solo-0', broke: null });
    expect(isWhole(await stream.heard)).toBe(true);
    await untilReadyAgain('solo-0', pid);
  });

  it('before the first byte, and nobody comes for it: held for 10 s from then, then 503', {
    timeout: 60_000,
  }, async () => {
    const pid = await pidOf('solo-0');
    process.kill(pid, 'SIGSTOP');
    const asked = ask('solo');
    await until('it holds it', async () => (await heldBy('solo-0')) === 1, 3_000);
    // Drained, its next process is nobody's.
    const drain = ['drain', 'solo-0', '--state-dir', place.stateDirectory];
    expect((await run(drain)).code).toBe(0);
    process.kill(pid, 'SIGKILL');
    const ms = await elapsedMs(asked.heard);
    expect(ms).toBeGreaterThan(HOLD_MS - 1_000);
    // Its band would let it wait for 30 s.
    expect(ms).toBeLessThan(HOLD_MS + 5_000);
    const heard = await asked.heard;
    expect(heard).toMatchObject({ status: 503, instance: '', broke: null });
    expect(errorOf(heard)).toBe('model_unavailable');
    expect(Number(heard.retryAfter)).toBeGreaterThan(0);
    expect((await run([...drain, '--undo'])).code).toBe(0);
    await untilReadyAgain('solo-0', pid);
    expect((await ask('solo').heard).status).toBe(200);
  });
});

describe('an engine that is stopped (SIGSTOP)', () => {
  it('before the first byte: the other answers; the agent replaces it, and it is asked again', {
    timeout: 60_000,
  }, async () => {
    const pid = await pidOf('pair-0');
    process.kill(pid, 'SIGSTOP');
    const asked = Array.from({ length: 4 }, () => ask('pair'));
    const ms = await elapsedMs(Promise.all(asked.map(({ heard }) => heard)));
    expect(ms).toBeLessThan(10_000);
    // Whoever finds it out first, gateway or agent: the other engine answers, or the next process of this one.
    for (const { heard } of asked) expect(await heard).toMatchObject({ status: 200, broke: null });
    await untilReadyAgain('pair-0', pid);
    await until(
      'it answers again',
      async () => {
        const all = Array.from({ length: 4 }, () => ask('pair').heard);
        return (await Promise.all(all)).some(({ instance }) => instance === 'pair-0');
      },
      20_000,
    );
  });

  it('in the middle of a stream, then continued: the stream goes on to its end', {
    timeout: 60_000,
  }, async () => {
    const { first, second } = await streamsOnBoth();
    const pid = await pidOf('pair-0');
    process.kill(pid, 'SIGSTOP');
    // Shorter than the two looks, two seconds apart, after which the agent would replace it.
    await pause(300);
    const size = first.size();
    await pause(700);
    expect(first.size()).toBe(size);
    process.kill(pid, 'SIGCONT');
    expect(isWhole(await first.heard)).toBe(true);
    expect(isWhole(await second.heard)).toBe(true);
    expect(tokensOf(await first.heard)).toBe(tokensOf(await second.heard));
    expect(await pidOf('pair-0')).toBe(pid);
  });

  it('in the middle of a stream for good: an error event once the agent replaces it', {
    timeout: 60_000,
  }, async () => {
    const { first, second } = await streamsOnBoth();
    const pid = await pidOf('pair-0');
    process.kill(pid, 'SIGSTOP');
    const ms = await elapsedMs(first.heard);
    expect(ms).toBeLessThan(30_000);
    expectBroken(await first.heard);
    expect(isWhole(await second.heard)).toBe(true);
    await untilReadyAgain('pair-0', pid);
  });
});

describe('the gateway itself, killed (SIGKILL)', () => {
  it('clients see a reset; the next one has the port, the limits, the SLOs and what was learnt', {
    timeout: 90_000,
  }, async () => {
    for (let index = 0; index < REQUESTS_PER_MINUTE; index += 1)
      expect((await ask('pair', { tenant: 'team-a' }).heard).status).toBe(200);
    expect((await ask('pair', { tenant: 'team-a' }).heard).status).toBe(429);
    await until(
      'a snapshot has the tenant',
      async () => (await snapshot())?.accounts.some(({ account }) => account === 'team-a') === true,
      10_000,
    );
    const before = await readAdmin('/v1/queues');
    const written = await snapshot();
    // Last of all, so that none has come to its end by then.
    const { first, second } = await streamsOnBoth();
    up.signal('SIGKILL');
    expect(await elapsedMs(Promise.all([first.heard, second.heard]))).toBeLessThan(3_000);
    for (const { heard } of [first, second]) {
      expect(await heard).toMatchObject({ status: 200, broke: 'ECONNRESET' });
      expect((await heard).body).not.toContain('[DONE]');
    }
    await up.exited;
    await until('no process of it is left', () => left().length === 0, 5_000);
    // On the same port: nobody holds it.
    await startAndWait();
    const refused = await ask('pair', { tenant: 'team-a' }).heard;
    expect([refused.status, errorOf(refused)]).toEqual([429, 'rate_limit_exceeded']);
    expect((await ask('pair').heard).status).toBe(200);
    const after = await readAdmin('/v1/queues');
    expect(attainmentOf(after, 'solo')).toBe(attainmentOf(before, 'solo'));
    expect(attainmentOf(after, 'solo')).not.toBeNull();
    const takenAtMs = written?.takenAtMs ?? 0;
    await until(
      'the next snapshot',
      async () => ((await snapshot())?.takenAtMs ?? 0) > takenAtMs,
      10_000,
    );
    const next = await snapshot();
    const soloOf = (of: Snapshot | null) => of?.models.find(({ model }) => model === 'solo');
    expect(soloOf(next)?.outputs).toEqual(soloOf(written)?.outputs);
    expect(soloOf(next)?.lags).toEqual(soloOf(written)?.lags);
    expect(soloOf(next)?.outputs).toBeDefined();
    expect(readdirSync(place.stateDirectory).filter((name) => name.includes('tmp'))).toEqual([]);
  });
});

const left = (): readonly number[] => processesOf(place.stateDirectory);

/** Requests that an engine was sent and has not answered. */
async function heldBy(instance: string): Promise<number> {
  const { requests } = await readAdmin('/v1/requests');
  return (requests as { instance: string | null }[]).filter((each) => each.instance === instance)
    .length;
}

const tokensOf = ({ body }: Heard): number => body.split('data: ').length;

/** What of a snapshot is looked at. */
interface Snapshot {
  readonly takenAtMs: number;
  readonly accounts: readonly { readonly account: string }[];
  readonly models: readonly {
    readonly model: string;
    readonly outputs: unknown;
    readonly lags: unknown;
  }[];
}

/** The snapshot that the gateway wrote last. */
async function snapshot(): Promise<Snapshot | null> {
  const store = createFileStateStore({ directory: place.stateDirectory });
  const text = await store.snapshot<string>('gateway-qos').read();
  return text === null ? null : (JSON.parse(text.slice(text.indexOf('\n') + 1)) as Snapshot);
}

function attainmentOf(queues: Record<string, unknown>, model: string): number | null {
  const models = queues['models'] as {
    model: string;
    bands: { band: string; slo: { attainment: number } | null }[];
  }[];
  const found = models.find((each) => each.model === model);
  return found?.bands.find(({ band }) => band === 'interactive')?.slo?.attainment ?? null;
}

/**
 * What becomes of a request whose engine is lost before it answered while nobody else serves its model: it is held as
 * long as one that comes then, counted from the loss, and answered by the next process or with 503.
 */
import { createManualClock, type ManualClock } from '@aim-gpu/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ChaosEngine, startChaosEngine, wholeAnswer } from './support/chaos-proxy.js';
import { type FakeEngine, startFakeEngine } from './support/fake-engine.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import { until } from './support/until.js';

const HOLD_MS = 10_000;
/** How long the engine had them before it was lost: no part of the hold. */
const BEFORE_MS = 7_000;
const MODELS = [aServedModel('chat')];
const messages = [{ role: 'user', content: 'hello there' }];

let clock: ManualClock;
let engine: ChaosEngine;
let next: FakeEngine;
let bench: Bench;
let sockets: Set<{ resetAndDestroy(): unknown }>;
beforeEach(async () => {
  clock = createManualClock({ monoMs: 1_000 });
  engine = await startChaosEngine();
  next = await startFakeEngine();
  sockets = new Set();
  engine.play((socket) => sockets.add(socket));
  await start();
});
afterEach(async () => {
  await bench.close();
  await engine.close();
  await next.close();
});

async function start(): Promise<void> {
  bench = await startBench(MODELS, { clock, limits: { holdMs: HOLD_MS } });
  bench.directory.set('chat', [engine]);
}

/** A request with what has become of it so far. */
interface Asked {
  response: Response | null;
  readonly done: Promise<Response>;
}

function ask(signal?: AbortSignal): Asked {
  const done = fetch(`${bench.url}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: 'chat', messages }),
    ...(signal === undefined ? {} : { signal }),
  });
  const asked: Asked = { response: null, done };
  done.then(
    (response) => {
      asked.response = response;
    },
    () => undefined,
  );
  return asked;
}

async function admin(path: string): Promise<Record<string, unknown>> {
  return (await (await fetch(`${bench.adminUrl}${path}`)).json()) as Record<string, unknown>;
}

async function states(): Promise<readonly unknown[]> {
  const { requests } = await admin('/v1/requests');
  return (requests as { state: unknown }[]).map(({ state }) => state);
}

/** Requests that the engine has and will not answer. */
async function askedOfEngine(count: number): Promise<Asked[]> {
  const asked = Array.from({ length: count }, () => ask());
  await until(() => sockets.size === count);
  await clock.advance(BEFORE_MS);
  return asked;
}

/** The engine dies with what it had; the directory knows at once or not yet. */
async function loseEngine(known: boolean): Promise<void> {
  if (known) bench.directory.set('chat', []);
  kill();
  await until(async () => (await states()).every((state) => state === 'waiting'));
}

/** What a kernel does with the connections of a process that has died, and with new ones. */
function kill(): void {
  for (const socket of sockets) socket.resetAndDestroy();
  void engine.close();
}

async function isIdle(): Promise<boolean> {
  const { inFlight, waiting } = await admin('/v1/queues');
  return inFlight === 0 && waiting === 0 && (await states()).length === 0;
}

/** Gives what is on its way through real sockets time to arrive. */
const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 30));

describe('a request whose only engine is lost before it answered', () => {
  it('is held as long as one that comes then, and is 503 with Retry-After', async () => {
    const [asked] = (await askedOfEngine(1)) as [Asked];
    await loseEngine(true);
    await clock.advance(HOLD_MS - 1);
    await settle();
    expect(asked.response).toBeNull();
    await clock.advance(1);
    const response = await asked.done;
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('1');
    expect(response.headers.get('x-aim-instance')).toBeNull();
    expect(await response.json()).toMatchObject({
      error: { code: 'model_unavailable', type: 'server_error' },
    });
    await until(isIdle);
    const counted = bench.metrics.records.filter(({ name }) => name === 'aim_gpu_requests_total');
    expect(counted.map(({ labels }) => labels['code'])).toEqual(['503']);
  });

  it('is answered by the next process when that is ready before', async () => {
    const [asked] = (await askedOfEngine(1)) as [Asked];
    await loseEngine(true);
    await clock.advance(HOLD_MS - 1);
    bench.directory.set('chat', [next]);
    const response = await asked.done;
    expect(response.status).toBe(200);
    expect(next.seen).toHaveLength(1);
    // The time that was left is over; it means nothing any more.
    await clock.advance(HOLD_MS);
    await until(isIdle);
  });

  it('counts from the loss, also when the directory hears of it later', async () => {
    const [asked] = (await askedOfEngine(1)) as [Asked];
    await loseEngine(false);
    await clock.advance(500);
    bench.directory.set('chat', []);
    await clock.advance(HOLD_MS - 501);
    await settle();
    expect(asked.response).toBeNull();
    await clock.advance(1);
    expect((await asked.done).status).toBe(503);
    await until(isIdle);
  });

  it('is held however many others were lost with it', async () => {
    // More than what the budget of repeats allows at once.
    await bench.close();
    bench = await startBench(MODELS, { clock, limits: { holdMs: HOLD_MS } });
    const many = 40;
    const wide = { maxNumSeqs: many };
    bench.directory.set('chat', [engine], 'ready', wide);
    const asked = await askedOfEngine(many);
    bench.directory.set('chat', []);
    await loseEngine(false);
    await settle();
    expect(asked.filter(({ response }) => response !== null)).toEqual([]);
    bench.directory.set('chat', [next], 'ready', wide);
    const statuses = new Set(
      (await Promise.all(asked.map(({ done }) => done))).map((r) => r.status),
    );
    expect([...statuses]).toEqual([200]);
    await until(isIdle);
  });

  it('leaves nothing when its client goes while it is held', async () => {
    const gone = new AbortController();
    const asked = ask(gone.signal);
    await until(() => sockets.size === 1);
    await loseEngine(true);
    gone.abort();
    await expect(asked.done).rejects.toThrow();
    await until(isIdle);
    await clock.advance(1_000);
    expect(clock.pending()).toBe(0);
  });
});

describe('a request that waits for a busy engine which is lost', () => {
  it('is held from then on, not for as long as its band may wait', async () => {
    bench.directory.set('chat', [engine], 'ready', { maxNumSeqs: 1 });
    const asked = await askedOfEngine(1);
    const queued = ask();
    await until(async () => (await states()).includes('waiting'));
    bench.directory.set('chat', []);
    await loseEngine(false);
    await clock.advance(HOLD_MS - 1);
    await settle();
    expect([asked[0]?.response, queued.response]).toEqual([null, null]);
    await clock.advance(1);
    expect((await queued.done).status).toBe(503);
    expect((await asked[0]?.done)?.status).toBe(503);
    await until(isIdle);
  });
});

describe('a request whose engine is lost while another one serves', () => {
  it('waits in the queue for that one, for as long as its band may', async () => {
    const other = await startChaosEngine();
    const open = new Set<{ write(bytes: Buffer): unknown }>();
    other.play((socket) => open.add(socket));
    bench.directory.set('chat', [engine, other], 'ready', { maxNumSeqs: 1 });
    const both = [ask(), ask()];
    await until(() => sockets.size === 1 && open.size === 1);
    kill();
    await until(async () => (await states()).includes('waiting'));
    bench.directory.set('chat', [engine, other], ['draining', 'ready'], { maxNumSeqs: 1 });
    await clock.advance(HOLD_MS + 2_000);
    await settle();
    expect(both.map(({ response }) => response)).toEqual([null, null]);
    other.play((socket) => socket.write(wholeAnswer({ choices: [] })));
    for (const socket of open) socket.write(wholeAnswer({ choices: [] }));
    for (const { done } of both) expect((await done).status).toBe(200);
    await other.close();
  });
});

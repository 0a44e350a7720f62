/**
 * What survives a restart, and that nothing that can be wrong with a snapshot or its store stops admission.
 */
import { AimError, createRng, type StateStore } from '@aim-gpu/core';
import {
  createManualClock,
  createMemoryStateStore,
  createRecordingLogger,
  type ManualClock,
} from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import {
  type AdmitRequest,
  createQos,
  createSnapshotKeeper,
  type Permit,
  parseSnapshot,
  type Qos,
  toSnapshotText,
} from '../src/index.js';

const LIMITS = {
  requestsPerMinute: 2,
  inputTokensPerMinute: null,
  outputTokensPerMinute: null,
  concurrent: null,
  budget: { tokens: 1_000, windowMs: 3_600_000 },
};
const REQUEST: AdmitRequest = {
  tenant: 't',
  model: 'm',
  band: 'interactive',
  promptTokens: 100,
  maxOutputTokens: 50,
  limits: [{ account: 'a', limits: LIMITS }],
};

function open(clock: ManualClock, withModel = true): Qos {
  const qos = createQos({ clock, rng: createRng(1) });
  if (withModel) addModel(qos);
  return qos;
}

function addModel(qos: Qos): void {
  qos.setModel({ name: 'm', band: 'interactive' });
  qos.setEndpoints('m', [{ id: 'e', maxSeqs: 40, kvCapacityTokens: null, ready: true }]);
}

function admit(qos: Qos, overrides: Partial<AdmitRequest> = {}): Permit | string | null {
  const admission = qos.tryAdmit({ ...REQUEST, ...overrides });
  return admission === null ? null : admission.ok ? admission.permit : admission.reason;
}

/** Two requests: the account’s burst is used up, one of them missed its target. */
async function use(qos: Qos, clock: ManualClock): Promise<void> {
  for (const ms of [100, 2_000]) {
    const permit = admit(qos) as Permit;
    await clock.advance(ms);
    permit.firstByte();
    permit.usage({ promptTokens: 100, outputTokens: 50 });
    permit.done();
  }
}

describe('a snapshot', () => {
  it.each([true, false])(
    'keeps limits, budgets, SLO and fairness (model there first: %s)',
    async (first) => {
      const clock = createManualClock({ monoMs: 1_000 });
      const before = open(clock);
      await use(before, clock);
      const text = toSnapshotText(before.snapshot());
      // The new process has a monotonic clock of its own; three seconds have passed.
      const later = createManualClock({ monoMs: 50, epochMs: clock.epochMs() + 3_000 });
      const after = open(later, first);
      const parsed = parseSnapshot(text, later.epochMs());
      if (!parsed.ok) throw new Error(parsed.problem);
      after.restore(parsed.snapshot);
      if (!first) addModel(after);
      expect(admit(after)).toBe('requests_limited');
      expect(
        admit(after, {
          limits: [{ account: 'a', limits: { ...LIMITS, requestsPerMinute: null } }],
          promptTokens: 900,
        }),
      ).toBe('budget_spent');
      const slo = after.report()[0]?.bands.find(({ band }) => band === 'interactive')?.slo;
      expect(slo?.attainment).toBe(0.5);
      await later.advance(24_000);
      expect(admit(after)).toBe('requests_limited');
      await later.advance(2_000);
      expect(typeof admit(after)).toBe('object');
    },
  );

  it('fills endpoints gently at first: engines may still work for the process that died', async () => {
    const clock = createManualClock();
    const qos = open(clock);
    qos.restore(open(clock).snapshot());
    const run = (): number => {
      let granted = 0;
      while (typeof admit(qos, { limits: [] }) === 'object' && admit(qos, { limits: [] }) !== null)
        granted += 2;
      return granted;
    };
    expect(run()).toBeLessThanOrEqual(10);
    await clock.advance(10_000);
    expect(qos.tryAdmit({ ...REQUEST, limits: [] })?.ok).toBe(true);
  });

  it.each([
    ['truncated', (text: string) => text.slice(0, -20)],
    ['truncated', (text: string) => text.slice(0, 15)],
    ['corrupt', (text: string) => text.replace('"tokens":', '"tokenz":')],
    ['corrupt', (text: string) => `${text}x`],
    ['newer_version', (text: string) => text.replace('aim-gpu-qos 1 ', 'aim-gpu-qos 2 ')],
    ['not_a_snapshot', () => '{"some":"json"}'],
    ['not_a_snapshot', () => 42 as unknown as string],
    ['too_old', (text: string) => text],
  ] as const)('that is %s is told, not believed', async (problem, spoil) => {
    const clock = createManualClock();
    const qos = open(clock);
    await use(qos, clock);
    const text = spoil(toSnapshotText(qos.snapshot()));
    const nowMs = clock.epochMs() + (problem === 'too_old' ? 4 * 86_400_000 : 0);
    expect(parseSnapshot(text, nowMs)).toEqual({ ok: false, problem });
  });

  it('from a wall clock that went back is taken as just made', async () => {
    const clock = createManualClock();
    const qos = open(clock);
    await use(qos, clock);
    const snapshot = qos.snapshot();
    clock.stepWall(-7_200_000);
    const after = open(clock);
    after.restore(snapshot);
    expect(admit(after)).toBe('requests_limited');
  });
});

describe('the keeper', () => {
  it('restores at the start, writes every five seconds and at the end', async () => {
    const clock = createManualClock();
    const store = createMemoryStateStore();
    const first = open(clock);
    const keeper = createSnapshotKeeper({ qos: first, store, clock });
    expect(await keeper.start()).toBe('none');
    await use(first, clock);
    await clock.advance(5_000);
    const second = open(clock);
    const other = createSnapshotKeeper({ qos: second, store, clock });
    expect(await other.start()).toBe('restored');
    expect(admit(second)).toBe('requests_limited');
    expect(await keeper.stop()).toBe(true);
    expect(await other.stop()).toBe(true);
    expect(clock.pending()).toBe(0);
  });

  it('goes on with a full disk and an unreadable file, and says so', async () => {
    const clock = createManualClock();
    const logger = createRecordingLogger();
    let isFull = true;
    const memory = createMemoryStateStore();
    const store: StateStore = {
      ...memory,
      snapshot: <T>(name: string) => ({
        read: () =>
          Promise.reject(
            new AimError({ code: 'ERR_STATE_CORRUPT', kind: 'internal', message: 'torn' }),
          ),
        write: (value: T) =>
          isFull
            ? Promise.reject(new Error('ENOSPC: no space left on device'))
            : memory.snapshot<T>(name).write(value),
      }),
    };
    const qos = open(clock);
    const keeper = createSnapshotKeeper({ qos, store, clock, logger });
    expect(await keeper.start()).toBe('unreadable');
    await clock.advance(15_000);
    expect(keeper.failures).toBe(3);
    expect(typeof admit(qos)).toBe('object');
    isFull = false;
    expect(await keeper.stop()).toBe(true);
    expect(await memory.snapshot<string>('qos').read()).toContain('aim-gpu-qos 1');
    expect(logger.records.map(({ event }) => event)).toContain('snapshot-failed');
  });
});

import type { Clock, MonoMs } from '@aim-gpu/core';
import { findProduct } from '@aim-gpu/core/products';
import { aStepDemand, createManualClock } from '@aim-gpu/core/testing';
import { createEngineSimulation, createStepModel, toPartitionSpeed } from '@aim-gpu/performance';
import { describe, expect, it } from 'vitest';
import { createEngineRunner } from '../../src/simulated-engine/engine-runner.js';

const product = findProduct('MI300X');
if (product === null) throw new Error('MI300X is not in the catalogue');
const model = createStepModel({
  step: aStepDemand(),
  speed: toPartitionSpeed({ product, xcds: 8, layout: { compute: 'SPX', memory: 'NPS1' } }),
});

function setUp(options: { clock?: Clock; slowdown?: () => number; kvBlocks?: number } = {}) {
  const manual = createManualClock();
  const clock = options.clock ?? manual;
  const simulation = createEngineSimulation({
    model,
    kvBlocks: options.kvBlocks ?? 10_000,
    maxNumSeqs: 8,
    maxNumBatchedTokens: 2048,
  });
  const runner = createEngineRunner({ clock, simulation, slowdown: options.slowdown ?? (() => 1) });
  let count = 0;
  const submit = (promptTokens: number, outputTokens: number) => {
    const events = {
      scheduledMs: null as number | null,
      tokensMs: [] as number[],
      wokenMs: [] as number[],
      last: false,
    };
    count += 1;
    const drop = runner.submit({
      id: `r${count}`,
      promptTokens,
      outputTokens,
      blockKeys: [],
      onScheduled: (atMs) => {
        events.scheduledMs = atMs;
      },
      onToken: (index, atMs, last) => {
        expect(index).toBe(events.tokensMs.length);
        events.tokensMs.push(atMs);
        events.wokenMs.push(clock.monoMs());
        events.last = last;
      },
    });
    return { events, drop };
  };
  return { clock: manual, runner, submit };
}

describe('time', () => {
  it('a lone request takes its prompt and then a decode step a token', async () => {
    const { clock, submit } = setUp();
    const { events } = submit(1000, 3);
    await clock.advance(10_000);
    expect(events.scheduledMs).toBe(0);
    const prefill = model.prefillMs(1000);
    const second = prefill + model.decodeMs(1, 1001);
    expect(events.tokensMs).toEqual(
      [prefill, second, second + model.decodeMs(1, 1002)].map((ms) => expect.closeTo(ms, 9)),
    );
    expect(events.last).toBe(true);
  });

  it('late timers do not add up: the mean interval stays that of the model', async () => {
    const manual = createManualClock();
    // A timer on whole milliseconds that is late by 0 to 2 ms, as a busy host's are.
    let calls = 0;
    const clock: Clock = {
      ...manual,
      timer: (ms, callback) => {
        calls += 1;
        return manual.timer(Math.max(1, Math.trunc(ms)) + (calls % 3), callback);
      },
    };
    const { submit } = setUp({ clock });
    const { events } = submit(100, 400);
    await manual.advance(10_000);
    const woken = events.wokenMs;
    const mean = ((woken.at(-1) ?? 0) - (woken[0] ?? 0)) / (woken.length - 1);
    const expected = model.decodeMs(1, 300);
    expect(woken).toHaveLength(400);
    expect(Math.abs(mean / expected - 1)).toBeLessThan(0.02);
  });

  it('a process that stood still does not make up for it in a burst', async () => {
    const manual = createManualClock();
    let offset = 0;
    const clock: Clock = { ...manual, monoMs: () => (manual.monoMs() + offset) as MonoMs };
    const { submit } = setUp({ clock });
    const { events } = submit(100, 2000);
    await manual.advance(1000);
    const before = events.tokensMs.length;
    offset = 5000;
    await manual.advance(100);
    const burst = events.tokensMs.length - before;
    expect(burst).toBeLessThan(100 / model.decodeMs(1, 100) + 2);
  });

  it('neighbours stretch every step', async () => {
    const { clock, submit } = setUp({ slowdown: () => 1.9 });
    const { events } = submit(1000, 2);
    await clock.advance(10_000);
    expect((events.tokensMs[1] ?? 0) - (events.tokensMs[0] ?? 0)).toBeCloseTo(
      1.9 * model.decodeMs(1, 1001),
      6,
    );
  });

  it('is counted while it passes', async () => {
    const { clock, runner, submit } = setUp();
    expect(runner.busyMs()).toBe(0);
    submit(1000, 1);
    const prefill = model.prefillMs(1000);
    await clock.advance(prefill / 2);
    expect(runner.busyMs()).toBeCloseTo(prefill / 2, 6);
    await clock.advance(10_000);
    expect(runner.busyMs()).toBeCloseTo(prefill, 6);
  });
});

describe('requests', () => {
  it('that come together start in one step', async () => {
    const { clock, submit } = setUp();
    const first = submit(100, 1);
    const second = submit(100, 1);
    await clock.advance(10_000);
    expect(first.events.tokensMs).toEqual(second.events.tokensMs);
  });

  it('count as running until their last token is out', async () => {
    const { clock, runner, submit } = setUp();
    submit(1000, 1);
    await clock.advance(model.prefillMs(1000) - 1);
    expect(runner.counters()).toMatchObject({ running: 1, waiting: 0 });
    await clock.advance(10);
    expect(runner.counters()).toMatchObject({ running: 0, waiting: 0, kvBlocksUsed: 0 });
  });

  it('that are dropped free their seat and blocks at once and emit nothing more', async () => {
    const { clock, runner, submit } = setUp();
    const kept = submit(100, 50);
    const dropped = submit(1000, 50);
    await clock.advance(model.prefillMs(1100) + 20);
    const before = dropped.events.tokensMs.length;
    const used = runner.counters().kvBlocksUsed;
    dropped.drop();
    expect(runner.counters().running).toBe(1);
    expect(runner.counters().kvBlocksUsed).toBeLessThan(used - 60);
    await clock.advance(10_000);
    expect(dropped.events.tokensMs).toHaveLength(before);
    expect(kept.events.last).toBe(true);
    dropped.drop();
    kept.drop();
    expect(runner.counters()).toMatchObject({ running: 0, waiting: 0 });
  });

  it('that do not fit together are preempted and all the same answered whole', async () => {
    const { clock, runner, submit } = setUp({ kvBlocks: 30 });
    const all = [submit(200, 150), submit(200, 150)];
    await clock.advance(60_000);
    expect(runner.counters().preemptions).toBeGreaterThan(0);
    for (const { events } of all) {
      expect(events.tokensMs).toHaveLength(150);
      expect(events.last).toBe(true);
    }
  });

  it('are forgotten when the runner closes', async () => {
    const { clock, runner, submit } = setUp();
    const { events } = submit(100, 50);
    await clock.advance(50);
    const before = events.tokensMs.length;
    runner.close();
    await clock.advance(10_000);
    expect(events.tokensMs).toHaveLength(before);
    expect(clock.pending()).toBe(0);
  });
});

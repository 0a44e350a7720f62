import { AimError } from '@aim-gpu/core';
import { describe, expect, test } from 'vitest';
import {
  createEngineSimulation,
  createStepModel,
  type EngineSimulation,
  type EngineSimulationOptions,
} from '../src/index.js';
import { aPartition, aStep } from './models.js';

const model = createStepModel({ step: aStep('Llama-3-8B'), speed: aPartition('SPX') });

function anEngine(overrides: Partial<EngineSimulationOptions> = {}): EngineSimulation {
  return createEngineSimulation({
    model,
    kvBlocks: 101,
    blockSize: 16,
    maxNumSeqs: 8,
    maxNumBatchedTokens: 512,
    ...overrides,
  });
}

function codeOf(action: () => unknown): string | null {
  try {
    action();
    return null;
  } catch (error) {
    return AimError.is(error) ? error.code : String(error);
  }
}

describe('one request', () => {
  test('emits its first token after its prompt and then one a step', () => {
    const engine = anEngine();
    const sequence = engine.enqueue({ id: 'a', promptTokens: 100, outputTokens: 3 });
    const first = engine.step();
    expect(first).toMatchObject({ kind: 'prefill', prefillTokens: 100, decodes: 0 });
    expect(first.durationMs).toBeCloseTo(model.prefillMs(100), 9);
    expect(first.first).toEqual([sequence]);
    const second = engine.step();
    expect(second).toMatchObject({ kind: 'decode', decodes: 1 });
    expect(second.durationMs).toBeCloseTo(model.decodeMs(1, 101), 9);
    const third = engine.step();
    expect(third.finished).toEqual([sequence]);
    expect(sequence).toMatchObject({ state: 'finished', generatedTokens: 3 });
    expect(engine.step()).toMatchObject({ kind: 'idle', durationMs: 0 });
    expect(engine.counters()).toMatchObject({
      running: 0,
      waiting: 0,
      kvBlocksUsed: 0,
      steps: 3,
      generatedTokens: 3,
      promptTokens: 100,
    });
  });

  test('a long prompt is computed in chunks that cost together what the prompt costs', () => {
    const engine = anEngine();
    engine.enqueue({ id: 'a', promptTokens: 1200, outputTokens: 1 });
    const steps = [engine.step(), engine.step(), engine.step()];
    expect(steps.map((step) => step.prefillTokens)).toEqual([512, 512, 176]);
    expect(steps.map((step) => step.emitted.length)).toEqual([0, 0, 1]);
    const sum = steps.reduce((total, step) => total + step.durationMs, 0);
    expect(sum).toBeCloseTo(model.prefillMs(1200), 6);
  });

  test('the slowdown multiplies the whole step', () => {
    const alone = anEngine();
    const shared = anEngine();
    for (const engine of [alone, shared])
      engine.enqueue({ id: 'a', promptTokens: 64, outputTokens: 2 });
    expect(shared.step(1.9).durationMs).toBeCloseTo(1.9 * alone.step().durationMs, 9);
    expect(shared.counters().busyMs).toBeCloseTo(1.9 * alone.counters().busyMs, 9);
    expect(codeOf(() => shared.step(0.5))).toBe('ERR_PREDICT_INVALID');
    expect(codeOf(() => shared.step(Number.NaN))).toBe('ERR_PREDICT_INVALID');
  });
});

describe('scheduling', () => {
  test('prompts join the running decodes within the token budget, first come first served', () => {
    const engine = anEngine();
    engine.enqueue({ id: 'a', promptTokens: 100, outputTokens: 50 });
    engine.step();
    engine.enqueue({ id: 'b', promptTokens: 500, outputTokens: 5 });
    engine.enqueue({ id: 'c', promptTokens: 100, outputTokens: 5 });
    const mixed = engine.step();
    expect(mixed).toMatchObject({ kind: 'mixed', decodes: 1, prefillTokens: 511 });
    expect(mixed.first.map((sequence) => sequence.id)).toEqual(['b']);
    const next = engine.step();
    expect(next).toMatchObject({ kind: 'mixed', decodes: 2, prefillTokens: 89 });
    expect(next.first.map((sequence) => sequence.id)).toEqual(['c']);
  });

  test('no more sequences run than there are seats', () => {
    const engine = anEngine({ maxNumSeqs: 2 });
    for (const id of ['a', 'b', 'c']) engine.enqueue({ id, promptTokens: 16, outputTokens: 2 });
    engine.step();
    expect(engine.counters()).toMatchObject({ running: 2, waiting: 1 });
    engine.step();
    engine.step();
    expect(engine.counters()).toMatchObject({ running: 1, waiting: 0 });
  });

  test('one block is the null block', () => {
    expect(anEngine({ kvBlocks: 11 }).counters().kvBlocksTotal).toBe(10);
  });

  test('a waiting request is admitted only when its whole prompt has blocks', () => {
    const engine = anEngine({ kvBlocks: 11 });
    engine.enqueue({ id: 'a', promptTokens: 96, outputTokens: 8 });
    engine.enqueue({ id: 'b', promptTokens: 96, outputTokens: 8 });
    engine.step();
    expect(engine.counters()).toMatchObject({ running: 1, waiting: 1, kvBlocksUsed: 6 });
  });

  test('the latest arrived is preempted and computed again when blocks run out', () => {
    const engine = anEngine({ kvBlocks: 9 });
    const a = engine.enqueue({ id: 'a', promptTokens: 60, outputTokens: 40 });
    const b = engine.enqueue({ id: 'b', promptTokens: 60, outputTokens: 40 });
    const preempted: string[] = [];
    for (let step = 0; step < 500 && (a.state !== 'finished' || b.state !== 'finished'); step += 1)
      preempted.push(...engine.step().preempted.map((sequence) => sequence.id));
    expect(preempted).toEqual(['b']);
    expect(a).toMatchObject({ state: 'finished', preemptions: 0, generatedTokens: 40 });
    expect(b).toMatchObject({ state: 'finished', preemptions: 1, generatedTokens: 40 });
    // The recompute covers prompt and answer so far.
    expect(engine.counters().promptTokens).toBeGreaterThan(120);
    expect(engine.counters()).toMatchObject({ kvBlocksUsed: 0, preemptions: 1 });
  });
});

describe('cancel', () => {
  test('frees the blocks of a running request at once', () => {
    const engine = anEngine();
    const a = engine.enqueue({ id: 'a', promptTokens: 160, outputTokens: 50 });
    engine.step();
    expect(engine.counters().kvBlocksUsed).toBe(10);
    expect(engine.cancel('a')).toBe(true);
    expect(a.state).toBe('cancelled');
    expect(engine.counters()).toMatchObject({ kvBlocksUsed: 0, running: 0 });
    expect(engine.cancel('a')).toBe(false);
    expect(engine.step().kind).toBe('idle');
  });

  test('drops a waiting request without disturbing the order', () => {
    const engine = anEngine({ maxNumSeqs: 1 });
    for (const id of ['a', 'b', 'c']) engine.enqueue({ id, promptTokens: 16, outputTokens: 1 });
    expect(engine.cancel('b')).toBe(true);
    expect(engine.counters().waiting).toBe(2);
    expect(engine.step().finished.map((sequence) => sequence.id)).toEqual(['a']);
    expect(engine.step().finished.map((sequence) => sequence.id)).toEqual(['c']);
  });
});

describe('prefix cache', () => {
  const keys = ['k1', 'k2', 'k3', 'k4'];

  test('a common prefix is computed once, all but the last token', () => {
    const engine = anEngine();
    engine.enqueue({ id: 'a', promptTokens: 64, outputTokens: 1, blockKeys: keys });
    engine.step();
    const b = engine.enqueue({ id: 'b', promptTokens: 64, outputTokens: 1, blockKeys: keys });
    expect(engine.step().prefillTokens).toBe(16);
    expect(b.cachedTokens).toBe(48);
    expect(engine.counters()).toMatchObject({ prefixHitTokens: 48, prefixQueriedTokens: 128 });
  });

  test('running sequences share blocks instead of copying them', () => {
    const engine = anEngine();
    engine.enqueue({ id: 'a', promptTokens: 70, outputTokens: 20, blockKeys: keys });
    engine.step();
    expect(engine.counters().kvBlocksUsed).toBe(5);
    engine.enqueue({ id: 'b', promptTokens: 70, outputTokens: 20, blockKeys: keys });
    engine.step();
    expect(engine.counters().kvBlocksUsed).toBe(6);
    engine.cancel('a');
    expect(engine.counters().kvBlocksUsed).toBe(5);
    engine.cancel('b');
    expect(engine.counters().kvBlocksUsed).toBe(0);
  });

  test('cached blocks give way to what needs them', () => {
    const engine = anEngine({ kvBlocks: 6 });
    engine.enqueue({ id: 'a', promptTokens: 64, outputTokens: 1, blockKeys: keys });
    engine.step();
    engine.enqueue({ id: 'b', promptTokens: 80, outputTokens: 1 });
    engine.step();
    const c = engine.enqueue({ id: 'c', promptTokens: 64, outputTokens: 1, blockKeys: keys });
    engine.step();
    expect(c).toMatchObject({ cachedTokens: 0, state: 'finished' });
  });

  test('can be turned off', () => {
    const engine = anEngine({ prefixCache: false });
    for (const id of ['a', 'b']) {
      engine.enqueue({ id, promptTokens: 64, outputTokens: 1, blockKeys: keys });
      expect(engine.step().prefillTokens).toBe(64);
    }
  });
});

test.each([
  ['no prompt', { id: 'x', promptTokens: 0, outputTokens: 1 }, 'ERR_PREDICT_INVALID'],
  ['a negative answer', { id: 'x', promptTokens: 1, outputTokens: -1 }, 'ERR_PREDICT_INVALID'],
  ['half a token', { id: 'x', promptTokens: 1.5, outputTokens: 1 }, 'ERR_PREDICT_INVALID'],
  [
    'more than the pool',
    { id: 'x', promptTokens: 1500, outputTokens: 200 },
    'ERR_REQUEST_TOO_LONG',
  ],
  ['an id in use', { id: 'used', promptTokens: 1, outputTokens: 1 }, 'ERR_REQUEST_DUPLICATE'],
])('refuses %s', (_name, request, code) => {
  const engine = anEngine();
  engine.enqueue({ id: 'used', promptTokens: 1, outputTokens: 1 });
  expect(codeOf(() => engine.enqueue(request))).toBe(code);
});

test.each([
  { kvBlocks: 1 },
  { kvBlocks: 0.5 },
  { blockSize: 0 },
  { maxNumSeqs: 0 },
  { maxNumBatchedTokens: -1 },
])('refuses an engine with %o', (options) => {
  expect(codeOf(() => anEngine(options))).toBe('ERR_PREDICT_INVALID');
});

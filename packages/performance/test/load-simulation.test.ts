import { createRng } from '@aim-gpu/core';
import { expect, test } from 'vitest';
import { createStepModel, type LoadSimulationOptions, simulateLoad } from '../src/index.js';
import { toPercentiles } from '../src/load-simulation.js';
import { aPartition, aStep } from './models.js';

const model = createStepModel({ step: aStep('Llama-3-8B'), speed: aPartition('SPX') });

function aLoad(overrides: Partial<LoadSimulationOptions> = {}): LoadSimulationOptions {
  return {
    model,
    kvBlocks: 5000,
    maxNumSeqs: 32,
    maxNumBatchedTokens: 4096,
    traffic: { promptTokens: 200, outputTokens: 50, arrivals: { kind: 'closed', concurrency: 4 } },
    requests: 200,
    rng: createRng(1),
    ...overrides,
  };
}

test('one client alone measures the step costs', () => {
  const run = simulateLoad(
    aLoad({
      traffic: {
        promptTokens: 200,
        outputTokens: 50,
        arrivals: { kind: 'closed', concurrency: 1 },
      },
      requests: 10,
    }),
  );
  expect(run.ttftMs.mean).toBeCloseTo(model.frontEndMs + model.prefillMs(200), 6);
  expect(run.tpotMs.mean).toBeCloseTo(model.decodeMs(1, 226), 1);
  expect(run.busy).toBeLessThan(1);
  expect(run.preemptions).toBe(0);
});

test('same generator, same answer; other arrivals with another', () => {
  const open = {
    promptTokens: 200,
    outputTokens: 50,
    arrivals: { kind: 'open', requestsPerSecond: 5 },
  } as const;
  const run = (seed: number): unknown =>
    simulateLoad(aLoad({ traffic: open, rng: createRng(seed) }));
  expect(run(1)).toEqual(run(1));
  expect(run(1)).not.toEqual(run(2));
});

test('an open loop answers at the rate requests come', () => {
  const run = simulateLoad(
    aLoad({
      traffic: {
        promptTokens: 200,
        outputTokens: 50,
        arrivals: { kind: 'open', requestsPerSecond: 5 },
      },
      requests: 5000,
    }),
  );
  expect(run.requestsPerSecond).toBeGreaterThan(4.8);
  expect(run.requestsPerSecond).toBeLessThan(5.2);
});

test('answers of one token have no pace', () => {
  const run = simulateLoad(
    aLoad({
      traffic: { promptTokens: 200, outputTokens: 1, arrivals: { kind: 'closed', concurrency: 2 } },
      requests: 20,
    }),
  );
  expect(run.tpotMs.mean).toBe(0);
  expect(run.endToEndMs.mean).toBeCloseTo(run.ttftMs.mean, 9);
});

test('percentiles by nearest rank', () => {
  expect(toPercentiles(Float64Array.from([4, 1, 3, 2]))).toEqual({
    mean: 2.5,
    p50: 2,
    p90: 4,
    p99: 4,
  });
});

/** Bench: how fast the discrete-event form runs, and how fast one prediction is. */
import { createRng } from '@aim-gpu/core';
import type { Bench } from '../../../tools/bench.js';
import { createStepModel, predict, simulateLoad, type Traffic } from '../src/index.js';
import { wholeCard } from './row-prediction.js';
import { readArchitectures, toStepDemand } from './serving-rows.js';

const LIMIT_S = 30;

export const bench: Bench = {
  name: 'performance-speed',
  summary:
    '1,000,000 requests through the discrete-event engine core on one core, and predictions a second',
  run: async ({ values, log }) => {
    const requests = Number(values['requests'] ?? 1_000_000);
    const architecture = readArchitectures()['Llama-3-8B'];
    if (architecture === undefined) throw new Error('Llama-3-8B is missing');
    const step = toStepDemand('Llama-3-8B', architecture, 'fp16', 2);
    const speed = wholeCard('MI300X');
    const model = createStepModel({ step, speed });
    const results: Record<string, unknown>[] = [];
    const loads: readonly (readonly [string, Traffic])[] = [
      [
        'open, moderate',
        {
          promptTokens: 600,
          outputTokens: 150,
          lengths: { kind: 'uniform', from: 0.5 },
          arrivals: { kind: 'open', requestsPerSecond: 8 },
        },
      ],
      [
        'closed, saturated',
        {
          promptTokens: 256,
          outputTokens: 200,
          lengths: { kind: 'uniform', from: 0.5 },
          arrivals: { kind: 'closed', concurrency: 128 },
        },
      ],
    ];
    for (const [load, traffic] of loads) {
      log(`${requests} requests, ${load}`);
      const startMs = performance.now();
      const startCpu = process.cpuUsage();
      const measured = simulateLoad({
        model,
        traffic,
        requests,
        kvBlocks: 60_000,
        maxNumSeqs: 256,
        maxNumBatchedTokens: 8192,
        rng: createRng(1),
      });
      const seconds = (performance.now() - startMs) / 1000;
      // What others do on the machine meanwhile is no cost of ours.
      const { user, system } = process.cpuUsage(startCpu);
      const cpuSeconds = (user + system) / 1e6;
      results.push({
        load,
        requests,
        seconds,
        cpuSeconds,
        requestsPerSecond: requests / cpuSeconds,
        steps: measured.steps,
        simulatedHours: measured.durationMs / 3.6e6,
      });
    }
    const startMs = performance.now();
    const predictions = 2000;
    for (let index = 0; index < predictions; index += 1) {
      predict({
        step,
        speed,
        kvCapacityTokens: 900_000,
        maxNumSeqs: 256,
        traffic: {
          promptTokens: 600 + index,
          outputTokens: 150,
          arrivals: { kind: 'open', requestsPerSecond: 2 },
        },
      });
    }
    const seconds = (performance.now() - startMs) / 1000;
    results.push({
      load: 'predict, open loop',
      requests: predictions,
      seconds,
      requestsPerSecond: predictions / seconds,
    });
    const failures =
      requests === 1_000_000
        ? results
            .slice(0, 2)
            .filter((row) => Number(row['cpuSeconds']) >= LIMIT_S)
            .map((row) => `${String(row['load'])}: ${String(row['cpuSeconds'])} s of one core`)
        : [];
    return { results, failures };
  },
};

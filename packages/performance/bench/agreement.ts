/**
 * The grid on which the closed form and the discrete-event form are held together: models × partitions × lengths ×
 * loads. Deterministic; a thinner grid is the gate's, the whole one the bench's.
 */
import { createRng, type Layout } from '@aim-gpu/core';
import { findProduct } from '@aim-gpu/core/products';
import {
  createStepModel,
  predict,
  simulateLoad,
  type Traffic,
  toPartitionSpeed,
} from '../src/index.js';
import { openLoopMeans } from '../src/open-loop.js';
import { trafficMeans } from '../src/traffic.js';
import { readArchitectures, toStepDemand } from './serving-rows.js';

/** One setting with the relative difference of the closed form from the discrete-event one. */
export interface Agreement {
  readonly setting: string;
  readonly tpot: number;
  readonly ttft: number;
  readonly throughput: number;
  readonly busy: number;
  readonly preemptions: number;
}

interface Engine {
  readonly model: string;
  readonly precision: 'fp16' | 'fp8';
  readonly layout: Layout;
  readonly xcds: number;
}

const ENGINES: readonly Engine[] = [
  { model: 'Llama-3-8B', precision: 'fp16', layout: { compute: 'SPX', memory: 'NPS1' }, xcds: 8 },
  { model: 'Llama-3-8B', precision: 'fp16', layout: { compute: 'CPX', memory: 'NPS4' }, xcds: 1 },
  { model: 'Llama-3-70B', precision: 'fp8', layout: { compute: 'SPX', memory: 'NPS1' }, xcds: 8 },
  {
    model: 'Ministral-3-3B',
    precision: 'fp8',
    layout: { compute: 'QPX', memory: 'NPS4' },
    xcds: 2,
  },
];
const LENGTHS: readonly (readonly [number, number])[] = [
  [128, 128],
  [1024, 1024],
  [600, 150],
  [2048, 256],
];
/** Closed loops: clients, seats, sequences that the KV pool holds at full length. */
const CLOSED: readonly (readonly [number, number, number])[] = [
  [1, 256, 200],
  [2, 256, 200],
  [4, 256, 200],
  [16, 256, 200],
  [64, 256, 200],
  [64, 16, 200],
  [64, 256, 12],
];
/** Open loops: share of the capacity, seats, sequences that the KV pool holds. */
const OPEN: readonly (readonly [number, number, number])[] = [
  [0.02, 256, 200],
  [0.2, 256, 200],
  [0.5, 256, 200],
  [0.5, 16, 200],
  [0.5, 256, 12],
  [0.7, 256, 200],
];

const BLOCK = 16;
const BUDGET = 8192;

/** Compares the two forms; `every` keeps each so-manieth setting. */
export function compareForms(every: number): readonly Agreement[] {
  const architectures = readArchitectures();
  const product = findProduct('MI300X');
  if (product === null) throw new Error('MI300X is missing from the catalogue');
  const results: Agreement[] = [];
  let index = 0;
  for (const engine of ENGINES) {
    const architecture = architectures[engine.model];
    if (architecture === undefined) throw new Error(engine.model);
    const step = toStepDemand(engine.model, architecture, engine.precision, 2);
    const speed = toPartitionSpeed({ product, xcds: engine.xcds, layout: engine.layout });
    const model = createStepModel({ step, speed });
    for (const [promptTokens, outputTokens] of LENGTHS) {
      for (const kind of ['closed', 'open'] as const) {
        for (const [load, maxNumSeqs, sequences] of kind === 'closed' ? CLOSED : OPEN) {
          index += 1;
          if (index % every !== 0) continue;
          const kvBlocks = Math.ceil((sequences * (promptTokens + outputTokens)) / BLOCK) + 1;
          const kvCapacityTokens = (kvBlocks - 1) * BLOCK;
          const limits = { kvCapacityTokens, maxNumSeqs, maxNumBatchedTokens: BUDGET };
          const lengths =
            index % 2 === 0
              ? ({ kind: 'uniform', from: 0.8 } as const)
              : ({ kind: 'fixed' } as const);
          const base = { promptTokens, outputTokens, lengths };
          const closed: Traffic = { ...base, arrivals: { kind: 'closed', concurrency: load } };
          const overload = openLoopMeans(model, trafficMeans(closed), limits, 1e6, 1);
          if (!('capacityPerSecond' in overload)) throw new Error('no capacity');
          const traffic: Traffic =
            kind === 'closed'
              ? closed
              : {
                  ...base,
                  arrivals: { kind, requestsPerSecond: load * overload.capacityPerSecond },
                };
          const predicted = predict({ step, speed, traffic, ...limits });
          if (!predicted.ok) throw new Error(JSON.stringify(predicted.reasons));
          const simulated = simulateLoad({
            model,
            traffic,
            kvBlocks,
            blockSize: BLOCK,
            maxNumSeqs,
            maxNumBatchedTokens: BUDGET,
            ...(kind === 'closed'
              ? { requests: 10 * load, warmUpRequests: 0 }
              : { requests: 6000 }),
            rng: createRng(7),
          });
          results.push({
            setting: `${engine.model} ${engine.layout.compute}/${engine.layout.memory} ${promptTokens}/${outputTokens} ${lengths.kind} ${kind} ${load} seats ${maxNumSeqs} kv ${sequences}`,
            tpot: predicted.tpotMs.mean / simulated.tpotMs.mean - 1,
            ttft: predicted.ttftMs.mean / simulated.ttftMs.mean - 1,
            throughput:
              kind === 'closed'
                ? predicted.outputTokensPerSecond.mean / simulated.outputTokensPerSecond - 1
                : 0,
            busy: predicted.busy / simulated.busy - 1,
            preemptions: simulated.preemptions,
          });
        }
      }
    }
  }
  return results;
}

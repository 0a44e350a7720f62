/**
 * Predicts a measured row with given constants: the product's own step model and closed form, with the engine's KV
 * pool estimated from the card's memory as nothing else is published with the rows.
 */
import { findProduct } from '@aim-gpu/core/products';
import { closedLoopMeans } from '../src/closed-loop.js';
import { createStepModel, type EngineConstants, toPartitionSpeed } from '../src/index.js';
import { trafficMeans } from '../src/traffic.js';
import type { ServingRow } from './serving-rows.js';

/** Predicted values of a row. */
export interface RowPrediction {
  readonly ttftMs: number;
  readonly tpotMs: number;
  readonly outputTokensPerSecond: number;
}

/** Share of memory given to weights and KV, and the least share left for KV, in the absence of published pools. */
const POOL_SHARE = 0.88;
const POOL_FLOOR = 0.02;

const speeds = new Map<string, ReturnType<typeof toPartitionSpeed>>();

/** What a whole card of a product can do. */
export function wholeCard(gpu: string): ReturnType<typeof toPartitionSpeed> {
  const known = speeds.get(gpu);
  if (known !== undefined) return known;
  const product = findProduct(gpu);
  if (product === null) throw new Error(`unknown product ${gpu}`);
  const speed = toPartitionSpeed({
    product,
    xcds: product.xcds,
    layout: { compute: 'SPX', memory: 'NPS1' },
  });
  speeds.set(gpu, speed);
  return speed;
}

/** Tokens of the KV pool of a row's engine, by the rule of thumb of the fit. */
export function estimatedKvTokens(row: ServingRow): number {
  const product = findProduct(row.gpu);
  const memory = (product?.soldMemoryGb ?? 0) * 1e9 * row.tensorParallel;
  const replication = row.step.latentAttention
    ? row.tensorParallel
    : Math.max(1, row.tensorParallel / row.step.kvHeads);
  const bytes = Math.max(POOL_SHARE * memory - row.weightBytes, POOL_FLOOR * memory);
  return bytes / (row.step.kvBytesPerToken * replication);
}

/** Predicts a row. */
export function predictRow(row: ServingRow, constants: EngineConstants): RowPrediction {
  const model = createStepModel({
    step: row.step,
    speed: wholeCard(row.gpu),
    engine: row.engine,
    tensorParallel: row.tensorParallel,
    constants,
  });
  const means = trafficMeans({
    promptTokens: row.promptTokens,
    outputTokens: row.outputTokens,
    arrivals: { kind: 'closed', concurrency: row.concurrency },
    lengths: row.uniform ? { kind: 'uniform', from: 0.8 } : { kind: 'fixed' },
  });
  const kvCapacityTokens = estimatedKvTokens(row);
  const { promptTokens: prompt, outputTokens: output } = means;
  if (row.offline) {
    const seats = Math.max(1, kvCapacityTokens / (prompt + output / 2));
    const batch = Math.min(row.concurrency, seats);
    const waves = Math.max(1, row.concurrency / batch);
    const prefill = Math.max(batch * model.prefillMarginalMs(prompt), model.prefillMs(prompt));
    const whole = waves * (prefill + output * model.decodeMs(batch, prompt + output / 2));
    return {
      ttftMs: prefill,
      tpotMs: whole / output,
      outputTokensPerSecond: (1000 * row.concurrency * output) / whole,
    };
  }
  return closedLoopMeans(
    model,
    means,
    { kvCapacityTokens, maxNumSeqs: 1024, maxNumBatchedTokens: 16_384 },
    row.concurrency,
    10,
    1,
  );
}

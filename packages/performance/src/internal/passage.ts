/**
 * A request's way through an engine in a steady state: the costs of a load and what prompts that come at random do to
 * each other. Shared by the closed and the open loop; owns neither.
 */
import type { EngineLimits } from '../load-means.js';
import type { StepModel } from '../step-model.js';
import type { TrafficMeans } from '../traffic.js';

export interface Costs {
  readonly output: number;
  /** Decode steps of a request after its first token. */
  readonly gaps: number;
  readonly frontMs: number;
  readonly prefillMs: number;
  /** Prompts that one step's token budget holds; below 1 a prompt takes several steps. */
  readonly group: number;
  /** Steps that a prompt's chunks take. */
  readonly pieces: number;
  readonly seats: number;
  /** Preemptions of a request while others wait for KV blocks. */
  readonly preemptions: number;
  /** Time to compute a preempted sequence again, all of a request's preemptions together. */
  readonly recomputeMs: number;
  /** Preempted sequences that wait at any time, per seat. */
  readonly evicted: number;
  /** Whether KV blocks rather than seats limit the sequences that run together. */
  readonly kvBound: boolean;
  decodeMs(batch: number): number;
}

export function toCosts(
  model: StepModel,
  means: TrafficMeans,
  limits: EngineLimits,
  slowdown: number,
): Costs {
  const { promptTokens, outputTokens, cachedTokens } = means;
  const context = promptTokens + outputTokens / 2;
  const kvSeats = limits.kvCapacityTokens / context;
  // A pool is never filled to the last block: half a sequence on average finds no room (discrete-event runs).
  const seats = Math.max(1, Math.min(limits.maxNumSeqs, kvSeats - 0.5));
  const kvBound = kvSeats - 0.5 < limits.maxNumSeqs;
  // Fitted to discrete-event runs over output/prompt ratios of 1/16 to 8 and pools of 2 to 64 sequences.
  const growth = outputTokens / Math.max(1, promptTokens);
  const preemptions = kvBound ? (0.85 * growth) / (1 + 0.1 * growth) : 0;
  const spread = means.varied ? 0.13 / (1 + 0.1 * growth) : 0.2 / (1 + 0.13 * growth);
  const group = limits.maxNumBatchedTokens / Math.max(1, promptTokens - cachedTokens);
  return {
    output: outputTokens,
    gaps: Math.max(0, outputTokens - 1),
    frontMs: model.frontEndMs,
    prefillMs: slowdown * model.prefillMs(promptTokens, cachedTokens),
    group,
    pieces: Math.max(1, 1 / group),
    seats,
    preemptions,
    recomputeMs: preemptions === 0 ? 0 : preemptions * slowdown * model.prefillMs(context),
    evicted: kvBound && growth > 0.5 ? growth * spread : 0,
    kvBound,
    decodeMs: (batch) =>
      batch >= 1
        ? slowdown * model.decodeMs(batch, context)
        : slowdown * Math.max(0, batch) * model.decodeMs(1, context),
  };
}

/** A request's way through an engine in a steady state, apart from waiting for a seat. */
export interface Passage {
  /** From entering the engine with a free seat to the first token. */
  readonly firstMs: number;
  readonly tpotMs: number;
  readonly batch: number;
}

/**
 * Prompts that come at random at `rate` a millisecond: they join the next step, lengthen it for everybody, and
 * gather while a long step lasts. Steps follow T = d + K·p with K Poisson of mean rate × previous T.
 */
export function randomPassage(
  costs: Costs,
  batch: number,
  othersBatch: number,
  rate: number,
): Passage {
  const decode = costs.decodeMs(Math.max(1, batch));
  const besides = costs.decodeMs(othersBatch);
  const work = costs.prefillMs + costs.recomputeMs;
  const longest = decode + Math.max(1, costs.group) * costs.prefillMs + costs.recomputeMs;
  const load = Math.min(0.999, rate * work);
  const step = Math.min(longest, decode / (1 - load));
  const variance = (costs.prefillMs * costs.prefillMs * rate * step) / (1 - load * load);
  const biased = Math.min(longest, step + variance / step);
  const joined = Math.min(
    Math.max(0, costs.group - 1) * costs.prefillMs,
    rate * costs.prefillMs * biased,
  );
  const occupied = Math.min(1, othersBatch);
  return {
    firstMs: costs.prefillMs + besides * costs.pieces + joined + (occupied * biased) / 2,
    tpotMs: step,
    batch,
  };
}

/** Finds the rate at which a closed population is in balance; the need grows with the rate. */
export function balance(limit: number, need: (rate: number) => number, population: number): number {
  let low = 0;
  let high = limit;
  for (let round = 0; round < 60; round += 1) {
    const middle = (low + high) / 2;
    if (middle * need(middle) < population) low = middle;
    else high = middle;
  }
  return low;
}

/**
 * The inverse of a prediction: the largest load within an SLO, and the smallest of several partitions for one. Owns
 * the search; the answers are predict.ts's.
 */
import { type PredictOptions, predict } from './predict.js';
import type { Prediction } from './prediction.js';
import { invalidInput, requireNumber } from './validation.js';

/** What must hold. At least one limit; means unless `pessimistic`. */
export interface LatencyTarget {
  readonly ttftMs?: number;
  readonly tpotMs?: number;
  /** Compare the upper end of the 90 % band instead of the mean. */
  readonly pessimistic?: boolean;
}

/** The largest load that an engine serves within a target. */
export interface LargestLoad {
  /** Requests a second in an open loop, clients in a closed one; 0 when not even the lightest load holds. */
  readonly load: number;
  /** The prediction at that load; null when the load is 0. */
  readonly prediction: Prediction | null;
}

function requireTarget(target: LatencyTarget): void {
  if (target.ttftMs === undefined && target.tpotMs === undefined)
    throw invalidInput('target', 'neither', 'a limit of ttftMs, tpotMs or both');
  if (target.ttftMs !== undefined) requireNumber('target.ttftMs', target.ttftMs, 1e-6, 1e9);
  if (target.tpotMs !== undefined) requireNumber('target.tpotMs', target.tpotMs, 1e-6, 1e9);
}

/** Whether a prediction holds a target. */
export function holdsTarget(prediction: Prediction, target: LatencyTarget): boolean {
  const end = target.pessimistic === true ? 'high' : 'mean';
  return (
    (target.ttftMs === undefined || prediction.ttftMs[end] <= target.ttftMs) &&
    (target.tpotMs === undefined || prediction.tpotMs[end] <= target.tpotMs)
  );
}

function holding(options: PredictOptions, target: LatencyTarget, load: number): Prediction | null {
  const arrivals =
    options.traffic.arrivals.kind === 'open'
      ? ({ kind: 'open', requestsPerSecond: load } as const)
      : { ...options.traffic.arrivals, concurrency: load };
  const result = predict({ ...options, traffic: { ...options.traffic, arrivals } });
  return result.ok && holdsTarget(result, target) ? result : null;
}

/** Lightest rate that is asked for: one request in about three hours. */
const LIGHTEST_RATE = 1e-4;
const MOST_CLIENTS = 65_536;

/**
 * Finds the largest load of the traffic's kind that holds a target: doubles until it breaks, then halves the gap (to
 * a client, or 0.1 % of a rate). The load in `options.traffic` is ignored but for its kind. Throws
 * `ERR_PREDICT_INVALID` without a limit and for what predict refuses.
 */
export function largestLoad(options: PredictOptions, target: LatencyTarget): LargestLoad {
  requireTarget(target);
  const open = options.traffic.arrivals.kind === 'open';
  let low = open ? LIGHTEST_RATE : 1;
  let best = holding(options, target, low);
  if (best === null) return { load: 0, prediction: null };
  const most = open ? 1e6 : MOST_CLIENTS;
  let high = low;
  while (high < most) {
    high = Math.min(most, high * 2);
    const next = holding(options, target, high);
    if (next === null) break;
    low = high;
    best = next;
  }
  while (open ? high - low > 1e-3 * low : high - low > 1) {
    const middle = open ? (low + high) / 2 : Math.floor((low + high) / 2);
    const next = holding(options, target, middle);
    if (next === null) high = middle;
    else {
      low = middle;
      best = next;
    }
  }
  return { load: low, prediction: best };
}

/**
 * Finds the rate of an open loop that keeps an engine alone on its partition busy for a share of the time, for
 * workloads whose load nobody declared. The arrivals in `options.traffic` are ignored. Where even the highest rate it
 * can serve keeps it less busy, that rate. Throws `ERR_PREDICT_INVALID` for shares outside 0 to 1 and for what
 * predict refuses; null when one request does not fit.
 */
export function loadAtBusy(options: PredictOptions, busy: number): number | null {
  requireNumber('busy', busy, 1e-6, 1);
  const at = (requestsPerSecond: number): number | null => {
    const result = predict({
      ...options,
      traffic: { ...options.traffic, arrivals: { kind: 'open', requestsPerSecond } },
    });
    if (result.ok) return result.busy;
    return result.capacityPerSecond === undefined ? null : Number.POSITIVE_INFINITY;
  };
  let low = 1e-9;
  let high = 1e6;
  if (at(low) === null) return null;
  // Halving the gap between logarithms: the answer may lie anywhere in fifteen orders of magnitude.
  for (let round = 0; round < 60; round += 1) {
    const middle = Math.sqrt(low * high);
    if ((at(middle) ?? 0) < busy) low = middle;
    else high = middle;
  }
  return low;
}

/** A partition that could take the engine. */
export interface PartitionCandidate extends Pick<PredictOptions, 'speed' | 'kvCapacityTokens'> {
  readonly name: string;
  readonly maxNumSeqs?: number;
  readonly tensorParallel?: number;
}

/** The smallest partition that holds a target, or why each one does not. */
export type SmallestPartition =
  | { readonly ok: true; readonly candidate: PartitionCandidate; readonly prediction: Prediction }
  | {
      readonly ok: false;
      /** Codes: predict's, and `TARGET_MISSED`. */
      readonly reasons: readonly { readonly code: string; readonly message: string }[];
    };

/**
 * Finds the candidate with the least share of a card, and the least bandwidth among equals, that serves the traffic
 * within the target. Throws `ERR_PREDICT_INVALID` without candidates or limits.
 */
export function smallestPartition(
  options: Omit<PredictOptions, 'speed' | 'kvCapacityTokens'>,
  candidates: readonly PartitionCandidate[],
  target: LatencyTarget,
): SmallestPartition {
  requireTarget(target);
  if (candidates.length === 0) throw invalidInput('candidates', 0, 'at least one partition');
  const size = (candidate: PartitionCandidate): number =>
    candidate.speed.share * candidate.speed.cuShare * (candidate.tensorParallel ?? 1);
  const sorted = [...candidates].sort(
    (a, b) => size(a) - size(b) || a.speed.memoryBytesPerSecond - b.speed.memoryBytesPerSecond,
  );
  const reasons: { code: string; message: string }[] = [];
  for (const candidate of sorted) {
    const { name, ...given } = candidate;
    const result = predict({ ...options, ...given });
    if (!result.ok) {
      for (const reason of result.reasons)
        reasons.push({ code: reason.code, message: `${name}: ${reason.message}` });
    } else if (holdsTarget(result, target)) return { ok: true, candidate, prediction: result };
    else {
      reasons.push({
        code: 'TARGET_MISSED',
        message: `${name}: TTFT ${result.ttftMs.mean.toFixed(0)} ms, TPOT ${result.tpotMs.mean.toFixed(1)} ms`,
      });
    }
  }
  return { ok: false, reasons };
}

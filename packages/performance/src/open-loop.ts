/**
 * The closed form of an open loop: what the discrete-event engine core does on average under independent requests,
 * without taking its steps. Pure; bands, grades and co-tenants are added elsewhere.
 */
import { balance, type Passage, randomPassage, toCosts } from './internal/passage.js';
import type { EngineLimits, LoadMeans } from './load-means.js';
import type { StepModel } from './step-model.js';
import type { TrafficMeans } from './traffic.js';

/** An open loop above what the engine can serve: the rate at which it would just keep up. */
export interface Overload {
  readonly capacityPerSecond: number;
}

/**
 * An open loop of independent requests. The number of requests inside follows the birth-death chain of a processor
 * that is shared by all of them, slower the more there are, with a queue beyond the seats.
 */
export function openLoopMeans(
  model: StepModel,
  means: TrafficMeans,
  limits: EngineLimits,
  requestsPerSecond: number,
  slowdown: number,
): LoadMeans | Overload {
  const costs = toCosts(model, means, limits, slowdown);
  const rate = requestsPerSecond / 1000;
  const seats = costs.seats;
  const passages = new Map<number, Passage>();
  const inside = (count: number, at: number): number => {
    const decoding = costs.gaps / (costs.gaps + costs.pieces);
    const now = randomPassage(
      count >= seats ? costs : { ...costs, recomputeMs: 0, preemptions: 0 },
      count * decoding,
      Math.max(0, count - 1) * decoding,
      at,
    );
    if (at === rate) passages.set(count, now);
    return now.firstMs + costs.gaps * now.tpotMs;
  };
  // The engine keeps up while full seats turn over faster than requests come.
  const capacity = balance(
    Math.max(1, costs.group) /
      (costs.decodeMs(1) + Math.max(1, costs.group) * (costs.prefillMs + costs.recomputeMs)),
    (at) => inside(seats, at),
    seats,
  );
  const load = rate / capacity;
  if (load >= 0.98) return { capacityPerSecond: 1000 * capacity };

  // Prompts that gather behind long steps widen the distribution of requests inside (discrete-event runs).
  const bunching = 1 + 0.15 * load * Math.min(1, rate * costs.prefillMs);
  const whole = Math.max(1, Math.floor(seats));
  let weight = 1;
  let total = 1;
  let idle = 1;
  let firstMs = 0;
  let paceMs = 0;
  let batch = 0;
  let seen = 0;
  for (let count = 1; count <= whole; count += 1) {
    const time = inside(count, rate);
    weight *= (rate * time * bunching) / count;
    if (weight < 1e-12 && count > rate * time) break;
    const passage = passages.get(count) as Passage;
    total += weight;
    seen += count * weight;
    paceMs += count * weight * passage.tpotMs;
    batch += weight * passage.batch;
    firstMs += count * weight * passage.firstMs;
    if (total > 1e200) {
      weight /= total;
      idle /= total;
      seen /= total;
      paceMs /= total;
      batch /= total;
      firstMs /= total;
      total = 1;
    }
  }
  const ratio = Math.min(0.98, load);
  // Beyond the seats the chain is geometric; lengths that vary little shorten the wait (discrete-event runs).
  const queueWeight = weight * (ratio / (1 - ratio));
  const queued = (weight * ratio) / ((1 - ratio) * (1 - ratio));
  const full = passages.get(whole);
  if (full !== undefined && queueWeight > 0) {
    total += queueWeight;
    seen += whole * queueWeight;
    paceMs += whole * queueWeight * full.tpotMs;
    firstMs += whole * queueWeight * full.firstMs;
    batch += queueWeight * full.batch;
  }
  const queueMs = (queued / total / rate) * Math.min(1, 0.62 + 0.38 * means.outputVariation);
  const tpotMs = seen > 0 ? paceMs / seen : costs.decodeMs(1);
  return {
    ttftMs: costs.frontMs + (seen > 0 ? firstMs / seen : costs.prefillMs) + queueMs,
    tpotMs,
    requestsPerSecond,
    outputTokensPerSecond: requestsPerSecond * costs.output,
    busy: Math.min(1, 1 - idle / total),
    batch: batch / Math.max(1e-12, total - idle),
    seats,
    queueMs,
  };
}

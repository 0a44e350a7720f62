/**
 * The closed form: what the discrete-event engine core does on average, without taking its steps. Two loops, closed
 * and open. Pure; bands, grades and co-tenants are added elsewhere.
 */
import type { StepModel } from './step-model.js';
import type { TrafficMeans } from './traffic.js';

/** Limits of an engine that decide how many sequences run together. */
export interface EngineLimits {
  /** Tokens that the KV pool holds. */
  readonly kvCapacityTokens: number;
  readonly maxNumSeqs: number;
  /** Tokens of one step, prompts and decodes together. */
  readonly maxNumBatchedTokens: number;
}

/** Means of a load on an engine. */
export interface LoadMeans {
  readonly ttftMs: number;
  readonly tpotMs: number;
  readonly requestsPerSecond: number;
  readonly outputTokensPerSecond: number;
  /** Share of the time inside steps, 0 to 1. */
  readonly busy: number;
  /** Mean sequences in a decode step. */
  readonly batch: number;
  /** Sequences that the engine can run together at these lengths. */
  readonly seats: number;
  /** Mean time a request waits for a seat. */
  readonly queueMs: number;
}

interface Costs {
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

function toCosts(
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
interface Passage {
  /** From entering the engine with a free seat to the first token. */
  readonly firstMs: number;
  readonly tpotMs: number;
  readonly batch: number;
}

/**
 * Prompts that come at random at `rate` a millisecond: they join the next step, lengthen it for everybody, and
 * gather while a long step lasts. Steps follow T = d + K·p with K Poisson of mean rate × previous T.
 */
function randomPassage(costs: Costs, batch: number, othersBatch: number, rate: number): Passage {
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

/**
 * Clients with equal lengths that started together stay in step: their prompts are computed in groups as large as a
 * step's token budget, one group a step, and their answers end in the same order one step apart.
 */
function synchronisedPassage(
  costs: Costs,
  inside: number,
  queued: boolean,
): Passage & { cycleMs: number } {
  const size = Math.min(inside, Math.max(1, costs.group));
  const filled = Math.max(1, Math.ceil(inside / size - 0.05));
  // Where blocks are short they come free by and by, which scatters the groups (discrete-event runs).
  const groups = queued && costs.kvBound ? Math.max(filled, Math.min(2.2, inside)) : filled;
  const decode = costs.decodeMs(inside);
  const share = inside / groups;
  const groupMs = share * costs.prefillMs;
  if (queued) {
    // Seats are taken again at once, so every request meets each other group exactly once.
    const firstMs = groupMs + costs.decodeMs(inside - share) * costs.pieces;
    const stallMs = (groups - 1) * groupMs + inside * costs.recomputeMs;
    const tpotMs = decode + (costs.gaps > 0 ? stallMs / costs.gaps : 0);
    return { firstMs, tpotMs, batch: inside, cycleMs: firstMs + costs.gaps * tpotMs };
  }
  const stepsBack = Math.ceil(
    costs.frontMs / (costs.decodeMs(Math.max(1, inside - share)) * costs.pieces),
  );
  const emptied = groups - 1 < stepsBack;
  const back = emptied ? costs.frontMs : Math.min(stepsBack * decode, costs.frontMs + decode);
  let first = 0;
  let stalls = 0;
  for (let group = 1; group <= groups; group += 1) {
    const besides = emptied ? costs.decodeMs((group - 1) * share) : costs.decodeMs(inside - share);
    first += back + Math.min(group, stepsBack + 1) * groupMs + besides * costs.pieces;
    stalls += (groups - group + Math.max(0, group - 1 - stepsBack)) * groupMs;
  }
  const firstMs = first / groups;
  const tpotMs = decode + (costs.gaps > 0 ? stalls / groups / costs.gaps : 0);
  return {
    firstMs: firstMs - costs.frontMs,
    tpotMs,
    batch: inside,
    cycleMs: firstMs + costs.gaps * tpotMs,
  };
}

/** Finds the rate at which a closed population is in balance; the need grows with the rate. */
function balance(limit: number, need: (rate: number) => number, population: number): number {
  let low = 0;
  let high = limit;
  for (let round = 0; round < 60; round += 1) {
    const middle = (low + high) / 2;
    if (middle * need(middle) < population) low = middle;
    else high = middle;
  }
  return low;
}

/**
 * A closed loop of `concurrency` clients that start together and send `rounds` requests each. Means over all of
 * their requests, the first burst and the ragged end included, as a benchmark measures them.
 */
export function closedLoopMeans(
  model: StepModel,
  means: TrafficMeans,
  limits: EngineLimits,
  concurrency: number,
  rounds: number,
  slowdown: number,
): LoadMeans {
  const costs = toCosts(model, means, limits, slowdown);
  const inside = Math.min(concurrency, costs.seats);
  const queued = concurrency > costs.seats;
  const limited: Costs = queued ? costs : { ...costs, preemptions: 0, recomputeMs: 0, evicted: 0 };
  let rate: number;
  let passage: Passage;
  if (means.varied) {
    const others = (inside - 1) / inside;
    const size = Math.max(1, costs.group);
    const fastest = size / (limited.decodeMs(1) + size * (limited.prefillMs + limited.recomputeMs));
    const at = (candidate: number): Passage => {
      const present = queued ? inside : Math.max(0, inside - candidate * costs.frontMs);
      const batch = (present * costs.gaps) / (costs.gaps + costs.pieces);
      return randomPassage(limited, batch, batch * others, candidate * others);
    };
    const need = (candidate: number): number => {
      const now = at(candidate);
      const outside = queued ? 0 : costs.frontMs;
      return outside + now.firstMs + (costs.gaps + limited.preemptions) * now.tpotMs;
    };
    rate = balance(inside === 1 ? 1 / costs.prefillMs : fastest, need, inside);
    passage = at(rate);
  } else {
    const together = synchronisedPassage(limited, inside, queued);
    rate = inside / together.cycleMs;
    passage = together;
  }
  const evicted = Math.min(limited.evicted * inside, (concurrency - inside) / 2);
  const tpotMs = passage.tpotMs + (costs.gaps > 0 ? evicted / (rate * costs.gaps) : 0);
  // Little's law over the whole population gives what no local view does: the wait for a seat.
  const steadyMs = Math.max(
    costs.frontMs + passage.firstMs,
    concurrency / rate - costs.gaps * tpotMs,
  );
  const queueMs = Math.max(0, steadyMs - costs.frontMs - passage.firstMs);
  const groups = Math.max(1, inside / Math.max(1, Math.min(costs.group, inside)));
  const burstMs =
    costs.frontMs +
    ((inside * (1 + 1 / groups)) / 2) * costs.prefillMs +
    ((groups - 1) / 2) * costs.decodeMs(inside / 2) +
    (queued ? ((concurrency - inside) / concurrency) * (steadyMs / 2) : 0);
  // Short answers that vary a little keep some of the first burst together for another round.
  const spreadSteps = Math.sqrt(means.outputVariation) * costs.gaps;
  const kept =
    means.varied && !queued
      ? 0.5 * Math.max(0, 1 - rate * costs.prefillMs) * Math.max(0, 1 - spreadSteps / 16)
      : 0;
  const first = Math.min(1, (1 + kept) / rounds);
  const ttftMs = (1 - first) * steadyMs + first * burstMs;
  const tail = means.varied ? rounds / (rounds + 0.25) : 1;
  return {
    ttftMs,
    tpotMs,
    requestsPerSecond: 1000 * rate * tail,
    outputTokensPerSecond: 1000 * rate * costs.output * tail,
    busy: Math.max(0, 1 - Math.min(1, (costs.frontMs * rate) / concurrency) ** concurrency),
    batch: passage.batch,
    seats: costs.seats,
    queueMs,
  };
}

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

/**
 * The closed form of a closed loop: what the discrete-event engine core does on average under so many clients, without
 * taking its steps. Pure; bands, grades and co-tenants are added elsewhere.
 */
import { balance, type Costs, type Passage, randomPassage, toCosts } from './internal/passage.js';
import type { EngineLimits, LoadMeans } from './load-means.js';
import type { StepModel } from './step-model.js';
import type { TrafficMeans } from './traffic.js';

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
  const groups = queued && costs.kvBound ? Math.max(filled, Math.min(2, inside)) : filled;
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

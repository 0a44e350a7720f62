/**
 * Bench: what fairness and Retry-After promise, in 10,000 random runs each. Deterministic from `--seed N`.
 */
import { createRng, type Rng } from '@aim-gpu/core';
import type { Bench } from '../../../tools/bench.js';
import { createFairQueue, createLimits } from '../src/index.js';

const RUNS = 10_000;
const MOST_COST = 1_000;

const whole = (rng: Rng, from: number, to: number): number =>
  from + Math.floor(rng.next() * (to - from + 1));

/** Largest gap of two backlogged tenants, as a share of the bound of Sheng et al. with costs learned late. */
function gapOfRun(rng: Rng): number {
  const queue = createFairQueue<'a' | 'b'>();
  const weights = { a: whole(rng, 1, 5), b: whole(rng, 1, 5) };
  const left = { a: whole(rng, 30, 60), b: whole(rng, 30, 60) };
  const served = { a: 0, b: 0 };
  for (const tenant of ['a', 'b'] as const) {
    for (let index = 0; index < left[tenant]; index += 1) {
      const cost = whole(rng, 1, MOST_COST);
      queue.offer({ value: tenant, tenant, band: 'standard', cost, weight: weights[tenant] }, 0);
    }
  }
  let worst = 0;
  while (left.a > 0 && left.b > 0) {
    const ticket = queue.next(1);
    if (ticket === null) break;
    const actual = ticket.cost * (0.5 + 1.5 * rng.next());
    queue.take(ticket, 1);
    queue.settle(ticket, actual, 1);
    left[ticket.value] -= 1;
    served[ticket.value] += actual / weights[ticket.value];
    worst = Math.max(worst, Math.abs(served.a - served.b));
  }
  return worst / ((2 * 2 * MOST_COST) / Math.min(weights.a, weights.b));
}

/** Jain index of the tokens of ten equal tenants of whom one asks for most, while all of them wait. */
function jainOfRun(rng: Rng): number {
  const queue = createFairQueue<number>({ total: { count: null }, perBand: { count: null } });
  const elephant = whole(rng, 0, 9);
  for (let tenant = 0; tenant < 10; tenant += 1) {
    const copies = tenant === elephant ? 500 : 50;
    for (let copy = 0; copy < copies; copy += 1) {
      const cost = whole(rng, 50, 500);
      queue.offer({ value: tenant, tenant: `t${tenant}`, band: 'standard', cost }, 0);
    }
  }
  const served = new Array<number>(10).fill(0);
  for (let step = 0; step < 300; step += 1) {
    const ticket = queue.next(1);
    if (ticket === null) break;
    queue.take(ticket, 1);
    const actual = ticket.cost * (0.5 + rng.next());
    queue.settle(ticket, actual, 1);
    served[ticket.value] = (served[ticket.value] ?? 0) + actual;
  }
  const sum = served.reduce((total, value) => total + value, 0);
  return sum ** 2 / (served.length * served.reduce((total, value) => total + value * value, 0));
}

/** Whether a retry at the promised time is admitted and one a tenth earlier is not; null when nothing was refused. */
function isExact(rng: Rng): boolean | null {
  const limits = {
    requestsPerMinute: rng.next() < 0.3 ? null : whole(rng, 1, 600),
    inputTokensPerMinute: whole(rng, 100, 1e6),
    outputTokensPerMinute: rng.next() < 0.5 ? null : whole(rng, 100, 1e6),
    concurrent: null,
    burst: 0.1 + rng.next(),
  };
  const most = limits.inputTokensPerMinute * limits.burst;
  const cost = (): { inputTokens: number; outputTokens: number } => ({
    inputTokens: rng.next() * most,
    outputTokens: rng.next() * 0.5 * (limits.outputTokensPerMinute ?? 1) * limits.burst,
  });
  const account = createLimits();
  const subjects = [{ account: 'a', limits }];
  let nowMs = rng.next() * 1e6;
  for (let step = 0; step < 200; step += 1) {
    nowMs += rng.next() * 2_000;
    const wanted = cost();
    const result = account.reserve(subjects, wanted, nowMs);
    if (result.ok) continue;
    const { retryAfterMs } = result;
    if (retryAfterMs === Number.POSITIVE_INFINITY) continue;
    if (account.reserve(subjects, wanted, nowMs + 0.9 * retryAfterMs).ok) return false;
    return account.reserve(subjects, wanted, nowMs + retryAfterMs).ok;
  }
  return null;
}

export const bench: Bench = {
  name: 'qos-fairness',
  summary:
    '10,000 random runs: the gap of two tenants, Jain index with an elephant, exact Retry-After',
  run: async ({ values, log }) => {
    const { seed: text = '1', ...unknown } = values;
    const [surplus] = Object.keys(unknown);
    if (surplus !== undefined) throw new Error(`there is no option --${surplus}`);
    const seed = Number(text);
    const rng = createRng(seed);
    let worstGap = 0;
    let leastJain = 1;
    let refused = 0;
    let inexact = 0;
    for (let run = 0; run < RUNS; run += 1) {
      worstGap = Math.max(worstGap, gapOfRun(rng));
      if (run % 10 === 0) leastJain = Math.min(leastJain, jainOfRun(rng));
      const exact = isExact(rng);
      if (exact !== null) refused += 1;
      if (exact === false) inexact += 1;
      if (run % 2_500 === 0) log(`${run} runs`);
    }
    const results = [
      {
        what: 'gap of two backlogged tenants ÷ bound, worst',
        seed,
        runs: RUNS,
        value: worstGap,
        goal: '≤ 1',
      },
      {
        what: 'Jain index of ten tenants, worst',
        seed,
        runs: RUNS / 10,
        value: leastJain,
        goal: '≥ 0.98',
      },
      {
        what: 'Retry-After of limits that was not exact',
        seed,
        runs: refused,
        value: inexact,
        goal: '0',
      },
    ];
    const failures = [
      ...(worstGap <= 1 ? [] : [`the gap reached ${worstGap} of its bound`]),
      ...(leastJain >= 0.98 ? [] : [`the Jain index fell to ${leastJain}`]),
      ...(inexact === 0 ? [] : [`${inexact} of ${refused} retry times were not exact`]),
    ];
    return { results, failures };
  },
};

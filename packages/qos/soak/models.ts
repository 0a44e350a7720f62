/**
 * Random operations on the queue (with its fairness) and on limits, each beside a plain slow oracle that says what must
 * come out. Used with few operations by the tests and with a million by the soak.
 */
import { BANDS, type Band, createRng } from '@aim-gpu/core';
import { BAND_POLICIES, createFairQueue, createLimits, type QueueTicket } from '../src/index.js';
import { type OracleItem, QueueOracle } from './queue-oracle.js';

const TENANTS = 6;
const MOST_WAITING = 40;

/** Options of a comparison. */
export interface ComparisonOptions {
  readonly seed: number;
  readonly operations: number;
  /** Ends it early. */
  readonly signal?: AbortSignal;
}

/** What did not come out as the oracle said; empty when all did. */
export function compareQueue({ seed, operations, signal }: ComparisonOptions): readonly string[] {
  const rng = createRng(seed);
  const below = (n: number): number => Math.floor(rng.next() * n);
  // Escapes from starvation and minimum shares are the order's, not the queue's; they have tests of their own.
  const quiet = { minimumShare: 0, starvationAfterMs: Number.POSITIVE_INFINITY };
  const queue = createFairQueue<OracleItem>({
    bands: Object.fromEntries(BANDS.map((band) => [band, quiet])),
    forgetAfterMs: Number.POSITIVE_INFINITY,
  });
  const oracle = new QueueOracle();
  const waiting = new Map<number, QueueTicket<OracleItem>>();
  const running: QueueTicket<OracleItem>[] = [];
  const failures: string[] = [];
  let nowMs = 0;
  let id = 0;

  const offer = (): void => {
    id += 1;
    const rank = below(BANDS.length);
    const band = BANDS[rank] as Band;
    const tenant = `t${below(TENANTS)}`;
    const weight = 1 + below(3);
    const { targets, ttlMs } = BAND_POLICIES[band];
    const deadlineMs = below(3) === 0 ? nowMs + below(5_000) : undefined;
    const expiresMs = below(3) === 0 ? nowMs + below(2_000) : undefined;
    const item: OracleItem = {
      id,
      rank,
      tenant,
      cost: below(500),
      deadlineMs: deadlineMs ?? nowMs + (targets.ttftMs ?? ttlMs),
      expiresMs: expiresMs ?? nowMs + ttlMs,
    };
    const { cost } = item;
    const entry = { value: item, band, tenant, weight, cost, deadlineMs, expiresMs };
    const result = queue.offer(entry, nowMs);
    if (!result.ok) {
      failures.push(`an offer was refused by ${result.bound} of ${result.of}`);
      return;
    }
    waiting.set(id, result.ticket);
    oracle.offer(item, weight);
  };
  const end = (): void => {
    const ticket = running.splice(below(running.length), 1)[0];
    if (ticket === undefined) return;
    if (below(5) === 0) {
      queue.restore(ticket, nowMs);
      oracle.restore(ticket.value);
      waiting.set(ticket.value.id, ticket);
      return;
    }
    const actual = below(3) === 0 ? ticket.value.cost : below(700);
    queue.settle(ticket, actual, nowMs);
    oracle.settle(ticket.value, actual);
  };

  for (let step = 0; step < operations && failures.length < 10 && !signal?.aborted; step += 1) {
    nowMs += below(4);
    const action = rng.next();
    if (action < 0.42 && waiting.size < MOST_WAITING) offer();
    else if (action < 0.75) {
      const ticket = queue.next(nowMs);
      if (ticket !== null && queue.take(ticket, nowMs)) {
        oracle.take(ticket.value);
        waiting.delete(ticket.value.id);
        running.push(ticket);
      }
    } else if (action < 0.93) end();
    else if (action < 0.97) {
      const ticket = [...waiting.values()][below(waiting.size)];
      if (ticket !== undefined && queue.cancel(ticket, nowMs)) {
        oracle.remove(ticket.value);
        waiting.delete(ticket.value.id);
      }
    } else {
      nowMs += below(500);
      const due = oracle.expired(nowMs);
      const gone = queue.expire(nowMs).map(({ value }) => value);
      if (gone.length !== due.length || due.some((item) => !gone.includes(item))) {
        failures.push(`step ${step}: ${gone.length} expired, ${due.length} should have`);
      }
      // In the queue's own order: who leaves last says where a band's virtual time stands.
      for (const item of gone) {
        oracle.remove(item);
        waiting.delete(item.id);
      }
    }
    const next = queue.next(nowMs)?.value.id ?? null;
    const expected = oracle.waiting.length === 0 ? null : oracle.next();
    if (next !== expected) failures.push(`step ${step}: ${next} is next, should be ${expected}`);
    if (queue.size !== oracle.waiting.length) {
      failures.push(`step ${step}: ${queue.size} wait, should be ${oracle.waiting.length}`);
    }
  }
  return failures;
}

/** A bucket that fills all the time and is looked at with plain arithmetic. */
class Bucket {
  readonly limit: number;
  level: number;
  #atMs: number = 0;

  constructor(limit: number) {
    this.limit = limit;
    this.level = limit;
  }

  /** How long until n are there; 0 when they are. */
  waitMs(n: number, nowMs: number): number {
    this.level = Math.min(this.limit, this.level + ((nowMs - this.#atMs) * this.limit) / 60_000);
    this.#atMs = nowMs;
    if (n > this.limit) return Number.POSITIVE_INFINITY;
    return this.level + 1e-6 >= n ? 0 : ((n - this.level) * 60_000) / this.limit;
  }
}

const REQUESTS_PER_MINUTE = 30;
const TOKENS_PER_MINUTE = 5_000;
const CONCURRENT = 4;
const ACCOUNTS = 5;

/** The same for limits: requests, tokens and concurrency of one or two accounts at once, all or none. */
export function compareLimits({ seed, operations, signal }: ComparisonOptions): readonly string[] {
  const rng = createRng(seed);
  const below = (n: number): number => Math.floor(rng.next() * n);
  const limits = createLimits();
  const each = {
    requestsPerMinute: REQUESTS_PER_MINUTE,
    inputTokensPerMinute: TOKENS_PER_MINUTE,
    outputTokensPerMinute: null,
    concurrent: CONCURRENT,
  };
  const accounts = Array.from({ length: ACCOUNTS }, (_, index) => {
    const account = `a${index}`;
    // Half of them are asked by a kept subject.
    const subject = index % 2 === 0 ? limits.subject(account, each) : { account, limits: each };
    const requests = new Bucket(REQUESTS_PER_MINUTE);
    return { subject, requests, tokens: new Bucket(TOKENS_PER_MINUTE), running: 0 };
  });
  type Known = (typeof accounts)[number];
  const ends: (() => void)[] = [];
  const failures: string[] = [];
  let nowMs = 0;

  for (let step = 0; step < operations && failures.length < 10 && !signal?.aborted; step += 1) {
    nowMs += below(900);
    if (below(2) === 0 && ends.length > 0) {
      ends.splice(below(ends.length), 1)[0]?.();
      continue;
    }
    const first = below(ACCOUNTS);
    const second = (first + 1 + below(ACCOUNTS - 1)) % ACCOUNTS;
    const chosen = (below(3) === 0 ? [first, second] : [first]).map((at) => accounts[at] as Known);
    const tokens = below(20) === 0 ? 6_000 : below(600);
    const waits = chosen.map(({ requests, tokens: bucket, running }) =>
      Math.max(
        requests.waitMs(1, nowMs),
        bucket.waitMs(tokens, nowMs),
        running < CONCURRENT ? 0 : 1_000,
      ),
    );
    const expectedMs = Math.max(...waits);
    const subjects = chosen.map(({ subject }) => subject);
    const result = limits.reserve(subjects, { inputTokens: tokens, outputTokens: 0 }, nowMs);
    const actualMs = result.ok ? 0 : result.retryAfterMs;
    if (result.ok !== (expectedMs === 0) || Math.abs(actualMs - expectedMs) > 1) {
      failures.push(`step ${step}: wait ${actualMs} ms, should be ${expectedMs} ms`);
    }
    if (!result.ok) continue;
    const change = (sign: number): void => {
      for (const known of chosen) {
        known.requests.level -= sign;
        known.tokens.level -= sign * tokens;
      }
    };
    const run = (count: number): void => {
      for (const known of chosen) known.running += count;
    };
    change(1);
    const { reservation } = result;
    if (below(4) === 0) {
      reservation.cancel();
      change(-1);
      continue;
    }
    run(1);
    ends.push(() => {
      if (below(2) === 0) reservation.settle({ inputTokens: tokens, outputTokens: 0 });
      else reservation.abandon();
      // Only the first end counts.
      reservation.cancel();
      run(-1);
    });
  }
  return failures;
}

/**
 * Rate limits in two phases: reserve what a request is expected to take, settle what it took. Owns the accounts of
 * every (tenant, key, model, band) the caller names and the rule "check all, then commit all"; must not wait or queue.
 */
import { advance, conformsInMs, type Rate, remaining, resetMs, toRate } from './gcra.js';
import { toCost } from './internal/cost.js';

/** Limits of one account; null is unlimited. */
export interface AccountLimits {
  readonly requestsPerMinute: number | null;
  readonly inputTokensPerMinute: number | null;
  readonly outputTokensPerMinute: number | null;
  /** Requests at the same time, waiting or running. */
  readonly concurrent: number | null;
  /** Tokens, input and output together, in each window; spent ones come back only when the window ends. */
  readonly budget?: { readonly tokens: number; readonly windowMs: number } | null;
  /** Size of a burst as a share of a minute's limit; 1 unless given. */
  readonly burst?: number;
}

/** What is limited. */
export type LimitKind = 'requests' | 'input_tokens' | 'output_tokens' | 'concurrency' | 'budget';

/** What one request is expected to take. */
export interface LimitCost {
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** An account and its limits; resolve it once and keep it, the lookup is half the price of a check. */
export interface LimitSubject {
  /** Unique name of the account, for example `tenant/model`. */
  readonly account: string;
  readonly limits: AccountLimits;
}

/** Units taken from accounts, to be settled once. */
export interface Reservation {
  /** Replaces the expected cost by the actual one and gives the concurrency back. Only the first call counts. */
  settle(actual: LimitCost): void;
  /** Gives everything back, as if the request had never been. Only the first call counts. */
  cancel(): void;
  /** Gives the concurrency back and keeps the debit, for a stream whose usage will never be known. */
  abandon(): void;
}

/** Whether a reservation was made. */
export type LimitResult =
  | { readonly ok: true; readonly reservation: Reservation }
  | {
      readonly ok: false;
      readonly kind: LimitKind;
      readonly account: string;
      /** Milliseconds until a retry is admitted; Infinity when it never will be. */
      readonly retryAfterMs: number;
    };

/** State of one limit of an account, for response headers. */
export interface LimitState {
  readonly limit: number;
  readonly remaining: number;
  readonly resetMs: number;
}

/** Rate limits of any number of accounts. */
export interface Limits {
  /** Takes a request's expected cost from every account, or from none. */
  reserve(subjects: readonly LimitSubject[], cost: LimitCost, nowMs: number): LimitResult;
  /** State of an account's limits; null for those it does not have. */
  state(
    subject: LimitSubject,
    nowMs: number,
  ): Readonly<Record<'requests' | 'inputTokens' | 'outputTokens', LimitState | null>>;
  /** Accounts remembered. */
  readonly size: number;
  /** Accounts that are not at rest, for snapshots: milliseconds each limit is ahead of now, and what is spent. */
  dump(nowMs: number): readonly AccountDump[];
  /** Puts back what a snapshot holds. */
  restore(accounts: readonly AccountDump[], nowMs: number): void;
}

/** One account in a snapshot. */
export interface AccountDump {
  readonly account: string;
  readonly aheadMs: readonly [requests: number, input: number, output: number];
  readonly spent: { readonly tokens: number; readonly windowLeftMs: number } | null;
}

const MINUTE_MS = 60_000;
/** Retry time after a refusal for concurrency: nothing says when a running request ends. */
const CONCURRENCY_RETRY_MS = 1_000;

const REQUESTS = 0;
const INPUT = 1;
const OUTPUT = 2;

interface Rates {
  readonly requests: Rate | null;
  readonly input: Rate | null;
  readonly output: Rate | null;
}

/** One account's state: three TATs, how many run, what is spent. */
class Account {
  readonly name: string;
  readonly tats: Float64Array = new Float64Array(3);
  /** When each limit was last found at rest by a new request: what was taken before has flowed back in full. */
  readonly restedMs: Float64Array = new Float64Array(3).fill(Number.NEGATIVE_INFINITY);
  rates: Rates = { requests: null, input: null, output: null };
  limits: AccountLimits | null = null;
  concurrent: number = 0;
  spent: number = 0;
  windowStartMs: number = 0;
  windowEndMs: number = 0;

  constructor(name: string) {
    this.name = name;
  }

  /** Whether forgetting the account changes nothing. */
  atRest(nowMs: number): boolean {
    return (
      this.concurrent === 0 &&
      (this.tats[REQUESTS] as number) <= nowMs &&
      (this.tats[INPUT] as number) <= nowMs &&
      (this.tats[OUTPUT] as number) <= nowMs &&
      (this.spent === 0 || this.windowEndMs <= nowMs)
    );
  }
}

function rateOf(limit: number | null, burst: number): Rate | null {
  return limit === null ? null : toRate({ limit, periodMs: MINUTE_MS, burst: limit * burst });
}

/** Makes limits without accounts. The caller tells the time, in monotonic milliseconds. */
export function createLimits(): Limits {
  const accounts = new Map<string, Account>();
  let sweep: IterableIterator<Account> = accounts.values();

  /** Looks at two accounts for each new one, so that memory follows the accounts in use without a timer. */
  const forgetSome = (nowMs: number): void => {
    for (let looked = 0; looked < 2; looked += 1) {
      const { value, done } = sweep.next();
      if (done) {
        sweep = accounts.values();
        return;
      }
      if (value.atRest(nowMs)) accounts.delete(value.name);
    }
  };
  /** An account was added since the last look. Looking waits until it is charged: before, it is at rest itself. */
  let grown = false;
  const forgetAfterGrowth = (nowMs: number): void => {
    if (grown) forgetSome(nowMs);
    grown = false;
  };
  const open = (subject: LimitSubject): Account => {
    let account = accounts.get(subject.account);
    if (account === undefined) {
      account = new Account(subject.account);
      accounts.set(subject.account, account);
      grown = true;
    }
    if (account.limits !== subject.limits) {
      const burst = subject.limits.burst ?? 1;
      account.limits = subject.limits;
      account.rates = {
        requests: rateOf(subject.limits.requestsPerMinute, burst),
        input: rateOf(subject.limits.inputTokensPerMinute, burst),
        output: rateOf(subject.limits.outputTokensPerMinute, burst),
      };
    }
    return account;
  };
  const tatOf = (account: Account, index: number): number => account.tats[index] as number;

  /** The kind that refuses and for how long, or null. */
  const refusal = (
    account: Account,
    limits: AccountLimits,
    input: number,
    output: number,
    nowMs: number,
  ): { kind: LimitKind; retryAfterMs: number } | null => {
    const { rates } = account;
    let kind: LimitKind | null = null;
    let wait = 0;
    const consider = (candidate: LimitKind, ms: number): void => {
      if (ms > wait) {
        wait = ms;
        kind = candidate;
      }
    };
    if (rates.requests !== null) {
      consider('requests', conformsInMs(tatOf(account, REQUESTS), nowMs, 1, rates.requests));
    }
    if (rates.input !== null) {
      consider('input_tokens', conformsInMs(tatOf(account, INPUT), nowMs, input, rates.input));
    }
    if (rates.output !== null) {
      consider('output_tokens', conformsInMs(tatOf(account, OUTPUT), nowMs, output, rates.output));
    }
    if (limits.budget) {
      if (account.windowEndMs <= nowMs) account.spent = 0;
      if (input + output > limits.budget.tokens) consider('budget', Number.POSITIVE_INFINITY);
      else if (account.spent + input + output > limits.budget.tokens) {
        consider('budget', account.windowEndMs - nowMs);
      }
    }
    if (limits.concurrent !== null && account.concurrent + 1 > limits.concurrent) {
      consider(
        'concurrency',
        limits.concurrent > 0 ? CONCURRENCY_RETRY_MS : Number.POSITIVE_INFINITY,
      );
    }
    return kind === null ? null : { kind, retryAfterMs: wait };
  };

  const takeOne = (
    account: Account,
    index: number,
    n: number,
    rate: Rate | null,
    nowMs: number,
  ): void => {
    if (rate === null) return;
    const tat = tatOf(account, index);
    if (n > 0 && tat <= nowMs) account.restedMs[index] = nowMs;
    account.tats[index] = advance(tat, nowMs, n, rate);
  };
  const take = (account: Account, input: number, output: number, nowMs: number): void => {
    const { rates } = account;
    takeOne(account, REQUESTS, 1, rates.requests, nowMs);
    takeOne(account, INPUT, input, rates.input, nowMs);
    takeOne(account, OUTPUT, output, rates.output, nowMs);
    const budget = account.limits?.budget;
    if (budget) {
      if (account.windowEndMs <= nowMs) {
        account.windowStartMs = nowMs;
        account.windowEndMs = nowMs + budget.windowMs;
        account.spent = 0;
      }
      account.spent += input + output;
    }
  };

  /**
   * A late debit counts from the reservation: an account that rested since must not owe time it has waited. A refund
   * of what has flowed back already, or was spent in a window that has ended, would be paid twice.
   */
  const correctOne = (
    account: Account,
    index: number,
    n: number,
    rate: Rate | null,
    atMs: number,
  ): void => {
    if (rate === null || (n < 0 && (account.restedMs[index] as number) > atMs)) return;
    account.tats[index] = advance(tatOf(account, index), atMs, n, rate);
  };
  const correct = (
    account: Account,
    input: number,
    output: number,
    requests: number,
    atMs: number,
  ): void => {
    const { rates } = account;
    correctOne(account, REQUESTS, requests, rates.requests, atMs);
    correctOne(account, INPUT, input, rates.input, atMs);
    correctOne(account, OUTPUT, output, rates.output, atMs);
    const tokens = input + output;
    if (account.limits?.budget && (tokens > 0 || account.windowStartMs <= atMs)) {
      account.spent = Math.max(0, account.spent + tokens);
    }
  };

  class Held implements Reservation {
    #accounts: readonly Account[] | null;
    readonly #input: number;
    readonly #output: number;
    readonly #atMs: number;

    constructor(held: readonly Account[], input: number, output: number, nowMs: number) {
      this.#accounts = held;
      this.#input = input;
      this.#output = output;
      this.#atMs = nowMs;
    }

    settle(actual: LimitCost): void {
      this.#end(
        toCost(actual.inputTokens) - this.#input,
        toCost(actual.outputTokens) - this.#output,
        0,
      );
    }

    cancel(): void {
      this.#end(-this.#input, -this.#output, -1);
    }

    abandon(): void {
      this.#end(0, 0, 0);
    }

    #end(input: number, output: number, requests: number): void {
      const held = this.#accounts;
      if (held === null) return;
      this.#accounts = null;
      for (const account of held) {
        account.concurrent = Math.max(0, account.concurrent - 1);
        if (input !== 0 || output !== 0 || requests !== 0) {
          correct(account, input, output, requests, this.#atMs);
        }
      }
    }
  }

  const states = (
    tat: number,
    rate: Rate | null,
    limit: number | null,
    nowMs: number,
  ): LimitState | null =>
    rate === null || limit === null
      ? null
      : { limit, remaining: remaining(tat, nowMs, rate), resetMs: resetMs(tat, nowMs) };

  return {
    get size() {
      return accounts.size;
    },
    reserve: (subjects, cost, nowMs) => {
      const input = toCost(cost.inputTokens);
      const output = toCost(cost.outputTokens);
      const held: Account[] = [];
      let worst: Extract<LimitResult, { ok: false }> | null = null;
      for (const subject of subjects) {
        const account = open(subject);
        const refused = refusal(account, subject.limits, input, output, nowMs);
        // The slowest account decides when a retry is admitted, so all are asked.
        if (refused !== null && (worst === null || refused.retryAfterMs > worst.retryAfterMs)) {
          worst = { ok: false, account: subject.account, ...refused };
        }
        held.push(account);
      }
      if (worst !== null) {
        forgetAfterGrowth(nowMs);
        return worst;
      }
      for (const account of held) {
        account.concurrent += 1;
        take(account, input, output, nowMs);
      }
      forgetAfterGrowth(nowMs);
      return { ok: true, reservation: new Held(held, input, output, nowMs) };
    },
    state: (subject, nowMs) => {
      const account = open(subject);
      const { rates } = account;
      const { limits } = subject;
      return {
        requests: states(tatOf(account, REQUESTS), rates.requests, limits.requestsPerMinute, nowMs),
        inputTokens: states(tatOf(account, INPUT), rates.input, limits.inputTokensPerMinute, nowMs),
        outputTokens: states(
          tatOf(account, OUTPUT),
          rates.output,
          limits.outputTokensPerMinute,
          nowMs,
        ),
      };
    },
    dump: (nowMs) => {
      const dumps: AccountDump[] = [];
      for (const account of accounts.values()) {
        const ahead = (index: number): number => Math.max(0, tatOf(account, index) - nowMs);
        const spent =
          account.spent > 0 && account.windowEndMs > nowMs
            ? { tokens: account.spent, windowLeftMs: account.windowEndMs - nowMs }
            : null;
        const aheadMs = [ahead(REQUESTS), ahead(INPUT), ahead(OUTPUT)] as const;
        if (spent !== null || aheadMs.some((ms) => ms > 0)) {
          dumps.push({ account: account.name, aheadMs, spent });
        }
      }
      return dumps;
    },
    restore: (dumps, nowMs) => {
      for (const dump of dumps) {
        const account = accounts.get(dump.account) ?? new Account(dump.account);
        accounts.set(dump.account, account);
        dump.aheadMs.forEach((ms, index) => {
          account.tats[index] = nowMs + toCost(ms);
        });
        if (dump.spent !== null) {
          account.spent = toCost(dump.spent.tokens);
          account.windowStartMs = nowMs;
          account.windowEndMs = nowMs + toCost(dump.spent.windowLeftMs);
        }
      }
    },
  };
}

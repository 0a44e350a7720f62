/**
 * Rate limits in two phases: reserve what a request is expected to take, settle what it took. Owns the accounts of
 * every (tenant, key, model, band) the caller names and the rule "check all, then commit all"; must not wait or queue.
 */
import { remaining, resetMs } from './gcra.js';
import { type AccountPlace, KeptSubject } from './internal/account.js';
import { AccountTable, INPUT, OUTPUT, REQUESTS } from './internal/account-table.js';
import { toCost } from './internal/cost.js';
import type {
  AccountDump,
  LimitCost,
  LimitResult,
  LimitState,
  LimitSubject,
  Limits,
  Reservation,
} from './limits-interface.js';

const NOBODY: readonly AccountPlace[] = [];

// Fields are declared and assigned, and not `#`: initialisers and private names double the price of making an object.

/** What was taken, and at once the answer that says so: one object a request instead of two. */
class Held implements Reservation {
  declare private readonly table: AccountTable;
  declare private readonly first: AccountPlace;
  declare private readonly others: readonly AccountPlace[];
  declare private readonly input: number;
  declare private readonly output: number;
  declare private readonly atMs: number;
  declare private readonly rates: boolean;
  declare private isOpen: boolean;

  constructor(
    table: AccountTable,
    first: AccountPlace,
    others: readonly AccountPlace[],
    input: number,
    output: number,
    atMs: number,
    rates: boolean,
  ) {
    this.table = table;
    this.first = first;
    this.others = others;
    this.input = input;
    this.output = output;
    this.atMs = atMs;
    this.rates = rates;
    this.isOpen = true;
  }

  get ok(): true {
    return true;
  }

  get reservation(): Reservation {
    return this;
  }

  settle(actual: LimitCost): void {
    const input = toCost(actual.inputTokens) - this.input;
    const output = toCost(actual.outputTokens) - this.output;
    this.#end(input, output, 0);
  }

  cancel(): void {
    this.#end(-this.input, -this.output, -1);
  }

  abandon(): void {
    this.#end(0, 0, 0);
  }

  #end(input: number, output: number, requests: number): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#endOne(this.first, input, output, requests);
    for (const account of this.others) this.#endOne(account, input, output, requests);
  }

  #endOne(account: AccountPlace, input: number, output: number, requests: number): void {
    this.table.leave(account);
    if (input === 0 && output === 0 && requests === 0) return;
    this.table.correct(account, input, output, requests, this.atMs, this.rates);
  }
}

function nameOf({ owner }: AccountPlace): string {
  return owner === null ? '' : owner.name;
}

/** Nothing was asked of anybody. */
const FREE: Reservation = {
  settle: () => undefined,
  cancel: () => undefined,
  abandon: () => undefined,
};

/** Makes limits without accounts. The caller tells the time, in monotonic milliseconds. */
export function createLimits(): Limits {
  const table = new AccountTable();

  const reserve: Limits['reserve'] = (subjects, cost, nowMs, options): LimitResult => {
    const rates = options === undefined || options.rates !== false;
    const input = toCost(cost.inputTokens);
    const output = toCost(cost.outputTokens);
    // By index: taking an array apart runs its iterator, which costs more than the check.
    const subject = subjects[0];
    if (subject === undefined) return { ok: true, reservation: FREE };
    table.tick(nowMs);
    const first = table.open(subject);
    let others = NOBODY as AccountPlace[];
    let slowest = first;
    let waitMs = table.ask(first, input, output, nowMs, rates);
    let kind = table.askedKind;
    for (let index = 1; index < subjects.length; index += 1) {
      if (others === NOBODY) others = [];
      const account = table.open(subjects[index] as LimitSubject);
      others.push(account);
      const ms = table.ask(account, input, output, nowMs, rates);
      // The slowest account decides when a retry is admitted, so all are asked.
      if (ms > waitMs) {
        waitMs = ms;
        kind = table.askedKind;
        slowest = account;
      }
    }
    if (waitMs > 0) {
      table.forgetAfterGrowth(nowMs);
      return { ok: false, account: nameOf(slowest), kind, retryAfterMs: waitMs };
    }
    table.take(first, input, output, nowMs, rates);
    for (let index = 0; index < others.length; index += 1) {
      table.take(others[index] as AccountPlace, input, output, nowMs, rates);
    }
    table.forgetAfterGrowth(nowMs);
    return new Held(table, first, others, input, output, nowMs, rates);
  };

  const stateOf = (
    subject: LimitSubject,
    account: AccountPlace,
    index: number,
    nowMs: number,
  ): LimitState | null => {
    const { plan } = account;
    const rate = [plan.requests, plan.input, plan.output][index] ?? null;
    const { limits } = subject;
    const limit = [
      limits.requestsPerMinute,
      limits.inputTokensPerMinute,
      limits.outputTokensPerMinute,
    ][index];
    if (rate === null || limit == null) return null;
    const tat = table.tat(account, index);
    return { limit, remaining: remaining(tat, nowMs, rate), resetMs: resetMs(tat, nowMs) };
  };

  return {
    get size() {
      return table.size;
    },
    reserve,
    subject: (account, limits) => new KeptSubject(table, account, limits),
    state: (subject, nowMs) => {
      const account = table.open(subject);
      return {
        requests: stateOf(subject, account, REQUESTS, nowMs),
        inputTokens: stateOf(subject, account, INPUT, nowMs),
        outputTokens: stateOf(subject, account, OUTPUT, nowMs),
      };
    },
    dump: (nowMs): readonly AccountDump[] => table.dump(nowMs),
    restore: (dumps, nowMs, agoMs = 0) => table.restore(dumps, nowMs, Math.max(0, agoMs) || 0),
  };
}

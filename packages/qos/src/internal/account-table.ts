/**
 * The figures of every account, side by side in one array: a check touches one cache line of it however many accounts
 * there are. Owns the arithmetic on one account; which accounts go together is limits.ts.
 */
import { advance, conformsInMs, type Rate } from '../gcra.js';
import type { AccountDump, LimitKind, LimitSubject } from '../limits-interface.js';
import { Account, type AccountPlace, KeptSubject, LimitPlans, NO_LIMITS } from './account.js';
import { toCost } from './cost.js';

/** Retry time after a refusal for concurrency: nothing says when a running request ends. */
const CONCURRENCY_RETRY_MS = 1_000;

export const REQUESTS = 0;
export const INPUT = 1;
export const OUTPUT = 2;
/** When each limit was last found at rest by a new request: what was taken before has flowed back in full. */
const RESTED = 3;
const CONCURRENT = 6;
const SPENT = 7;
const CELLS = 8;
const FIRST_ACCOUNTS = 64;
const KEPT_ACCOUNTS = 4_096;
/** Callers may be out of order by less than this. */
const STEP_MS = 1_000;

export class AccountTable {
  /** The kind that the last {@link AccountTable.ask} refused for. */
  askedKind: LimitKind = 'requests';
  readonly #accounts: Map<string, Account> = new Map();
  readonly #plans: LimitPlans = new LimitPlans();
  readonly #free: number[] = [];
  #cells: Float64Array = new Float64Array(FIRST_ACCOUNTS * CELLS);
  #nextSlot: number = 0;
  #sweep: IterableIterator<Account> = this.#accounts.values();
  #grown: boolean = false;
  /** Grows when an account is forgotten or takes other limits. */
  #epoch: number = 0;
  #latestMs: number = Number.NEGATIVE_INFINITY;

  get size(): number {
    return this.#accounts.size;
  }

  /**
   * Takes note of the time. A clock that was set back takes every account with it: else whoever was charged at the
   * later time would be locked out until the clock is there again.
   */
  tick(nowMs: number): void {
    if (nowMs < this.#latestMs - STEP_MS) this.#shift(nowMs - this.#latestMs);
    this.#latestMs = nowMs;
  }

  /** The place of a subject's account, made when new. */
  open(subject: LimitSubject): AccountPlace {
    // Another table's subject would be led astray: what it holds there is given back by its place.
    if (!(subject instanceof KeptSubject) || subject.table !== this) return this.#find(subject);
    if (subject.epoch === this.#epoch) return subject;
    const account = this.#find(subject);
    subject.epoch = this.#epoch;
    subject.slot = account.slot;
    subject.plan = account.plan;
    subject.owner = account;
    return subject;
  }

  #find(subject: LimitSubject): Account {
    const account = this.#accounts.get(subject.account) ?? this.#add(subject.account);
    if (account.limits !== subject.limits) {
      account.limits = subject.limits;
      account.plan = this.#plans.of(subject.limits);
      this.#epoch += 1;
    }
    return account;
  }

  tat(account: AccountPlace, index: number): number {
    return this.#cells[account.slot * CELLS + index] as number;
  }

  /** How long until the account could take this, in milliseconds; 0 when it can now. */
  ask(account: AccountPlace, input: number, output: number, nowMs: number, rates: boolean): number {
    const { plan } = account;
    const cells = this.#cells;
    const base = account.slot * CELLS;
    let waitMs = 0;
    if (rates) {
      const { requests, input: inputs, output: outputs } = plan;
      if (requests !== null) {
        const ms = conformsInMs(cells[base] as number, nowMs, 1, requests);
        if (ms > waitMs) {
          waitMs = ms;
          this.askedKind = 'requests';
        }
      }
      if (inputs !== null) {
        const ms = conformsInMs(cells[base + INPUT] as number, nowMs, input, inputs);
        if (ms > waitMs) {
          waitMs = ms;
          this.askedKind = 'input_tokens';
        }
      }
      if (outputs !== null) {
        const ms = conformsInMs(cells[base + OUTPUT] as number, nowMs, output, outputs);
        if (ms > waitMs) {
          waitMs = ms;
          this.askedKind = 'output_tokens';
        }
      }
    }
    if (plan.budgetTokens !== Number.POSITIVE_INFINITY) {
      const ms = this.#budgetMs(account, input + output, nowMs);
      if (ms > waitMs) {
        waitMs = ms;
        this.askedKind = 'budget';
      }
    }
    if ((cells[base + CONCURRENT] as number) + 1 > plan.concurrent) {
      const ms = plan.concurrent > 0 ? CONCURRENCY_RETRY_MS : Number.POSITIVE_INFINITY;
      if (ms > waitMs) {
        waitMs = ms;
        this.askedKind = 'concurrency';
      }
    }
    return waitMs;
  }

  take(account: AccountPlace, input: number, output: number, nowMs: number, rates: boolean): void {
    const { plan } = account;
    const base = account.slot * CELLS;
    this.#cells[base + CONCURRENT] = (this.#cells[base + CONCURRENT] as number) + 1;
    if (rates) {
      const { requests, input: inputs, output: outputs } = plan;
      if (requests !== null) this.#takeOne(base, 1, requests, nowMs);
      if (inputs !== null && input > 0) this.#takeOne(base + INPUT, input, inputs, nowMs);
      if (outputs !== null && output > 0) this.#takeOne(base + OUTPUT, output, outputs, nowMs);
    }
    if (plan.budgetTokens !== Number.POSITIVE_INFINITY) {
      const owner = account.owner as Account;
      if (owner.windowEndMs <= nowMs) {
        owner.windowStartMs = nowMs;
        owner.windowEndMs = nowMs + plan.budgetWindowMs;
        this.#cells[base + SPENT] = 0;
      }
      this.#cells[base + SPENT] = (this.#cells[base + SPENT] as number) + input + output;
    }
  }

  /** One request fewer at the same time. */
  leave(account: AccountPlace): void {
    const at = account.slot * CELLS + CONCURRENT;
    this.#cells[at] = Math.max(0, (this.#cells[at] as number) - 1);
  }

  /**
   * A late debit counts from the reservation: an account that rested since must not owe time it has waited. A refund
   * of what has flowed back already, or was spent in a window that has ended, would be paid twice.
   */
  correct(
    account: AccountPlace,
    input: number,
    output: number,
    requests: number,
    atMs: number,
    rates: boolean,
  ): void {
    const base = account.slot * CELLS;
    if (rates) {
      const { plan } = account;
      this.#correctOne(base, requests, plan.requests, atMs);
      this.#correctOne(base + INPUT, input, plan.input, atMs);
      this.#correctOne(base + OUTPUT, output, plan.output, atMs);
    }
    const tokens = input + output;
    const hasBudget = account.plan.budgetTokens !== Number.POSITIVE_INFINITY;
    if (hasBudget && (tokens > 0 || (account.owner as Account).windowStartMs <= atMs)) {
      this.#cells[base + SPENT] = Math.max(0, (this.#cells[base + SPENT] as number) + tokens);
    }
  }

  /** Looks at two accounts for each new one, so that memory follows the accounts in use without a timer. */
  forgetAfterGrowth(nowMs: number): void {
    // Looking waits until the new one is charged: before, it is at rest itself.
    if (!this.#grown) return;
    this.#grown = false;
    // A few are kept for good: forgetting and making them again would cost more than their memory.
    if (this.#accounts.size <= KEPT_ACCOUNTS) return;
    for (let looked = 0; looked < 2; looked += 1) {
      const { value, done } = this.#sweep.next();
      if (done) {
        this.#sweep = this.#accounts.values();
        return;
      }
      if (this.#atRest(value, nowMs)) {
        this.#accounts.delete(value.name);
        value.table = null;
        this.#epoch += 1;
        this.#free.push(value.slot);
      }
    }
  }

  dump(nowMs: number): readonly AccountDump[] {
    const dumps: AccountDump[] = [];
    for (const account of this.#accounts.values()) {
      const ahead = (index: number): number => Math.max(0, this.tat(account, index) - nowMs);
      const tokens = this.tat(account, SPENT);
      const spent =
        tokens > 0 && account.windowEndMs > nowMs
          ? { tokens, windowLeftMs: account.windowEndMs - nowMs }
          : null;
      const aheadMs = [ahead(REQUESTS), ahead(INPUT), ahead(OUTPUT)] as const;
      if (spent !== null || aheadMs.some((ms) => ms > 0)) {
        dumps.push({ account: account.name, aheadMs, spent });
      }
    }
    return dumps;
  }

  restore(dumps: readonly AccountDump[], nowMs: number, agoMs: number): void {
    for (const { account: name, aheadMs, spent } of dumps) {
      const account = this.#accounts.get(name) ?? this.#add(name);
      const base = account.slot * CELLS;
      aheadMs.forEach((ms, index) => {
        this.#cells[base + index] = nowMs + toCost(toCost(ms) - agoMs);
      });
      const leftMs = spent === null ? 0 : toCost(spent.windowLeftMs) - agoMs;
      if (spent === null || leftMs <= 0) continue;
      this.#cells[base + SPENT] = toCost(spent.tokens);
      account.windowStartMs = nowMs;
      account.windowEndMs = nowMs + leftMs;
    }
  }

  #add(name: string): Account {
    const slot = this.#free.pop() ?? this.#nextSlot++;
    if ((slot + 1) * CELLS > this.#cells.length) {
      const cells = new Float64Array(this.#cells.length * 2);
      cells.set(this.#cells);
      this.#cells = cells;
    }
    const base = slot * CELLS;
    this.#cells.fill(0, base, base + CELLS);
    this.#cells.fill(Number.NEGATIVE_INFINITY, base + RESTED, base + RESTED + 3);
    const account = new Account(this, name, slot, NO_LIMITS, this.#plans.of(NO_LIMITS));
    this.#accounts.set(name, account);
    this.#grown = true;
    return account;
  }

  #shift(byMs: number): void {
    for (const account of this.#accounts.values()) {
      const base = account.slot * CELLS;
      for (let at = base; at < base + CONCURRENT; at += 1) {
        this.#cells[at] = (this.#cells[at] as number) + byMs;
      }
      account.windowStartMs += byMs;
      account.windowEndMs += byMs;
    }
  }

  #budgetMs(account: AccountPlace, tokens: number, nowMs: number): number {
    const { budgetTokens } = account.plan;
    const at = account.slot * CELLS + SPENT;
    const { windowEndMs } = account.owner as Account;
    if (windowEndMs <= nowMs) this.#cells[at] = 0;
    if (tokens > budgetTokens) return Number.POSITIVE_INFINITY;
    const isSpent = (this.#cells[at] as number) + tokens > budgetTokens;
    return isSpent ? windowEndMs - nowMs : 0;
  }

  #takeOne(at: number, n: number, rate: Rate, nowMs: number): void {
    const tat = this.#cells[at] as number;
    if (tat <= nowMs) this.#cells[at + RESTED] = nowMs;
    this.#cells[at] = advance(tat, nowMs, n, rate);
  }

  #correctOne(at: number, n: number, rate: Rate | null, atMs: number): void {
    if (rate === null || n === 0) return;
    if (n < 0 && (this.#cells[at + RESTED] as number) > atMs) return;
    this.#cells[at] = advance(this.#cells[at] as number, atMs, n, rate);
  }

  /** Whether forgetting the account changes nothing. */
  #atRest(account: Account, nowMs: number): boolean {
    const cells = this.#cells;
    const base = account.slot * CELLS;
    return (
      cells[base + CONCURRENT] === 0 &&
      (cells[base] as number) <= nowMs &&
      (cells[base + INPUT] as number) <= nowMs &&
      (cells[base + OUTPUT] as number) <= nowMs &&
      (cells[base + SPENT] === 0 || account.windowEndMs <= nowMs)
    );
  }
}

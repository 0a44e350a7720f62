/**
 * One account, its limits worked out, and the subjects that know where it is. Owns no figures: those are side by side in
 * account-table.ts.
 */
import { type Rate, toRate } from '../gcra.js';
import type { AccountLimits, LimitSubject } from '../limits-interface.js';
import type { AccountTable } from './account-table.js';

const MINUTE_MS = 60_000;

/** Limits worked out once: accounts with the same limits share it. */
interface LimitPlan {
  readonly requests: Rate | null;
  readonly input: Rate | null;
  readonly output: Rate | null;
  readonly concurrent: number;
  readonly budgetTokens: number;
  readonly budgetWindowMs: number;
}

export const NO_LIMITS: AccountLimits = {
  requestsPerMinute: null,
  inputTokensPerMinute: null,
  outputTokensPerMinute: null,
  concurrent: null,
};

/** Works limits out. */
function toPlan(limits: AccountLimits): LimitPlan {
  const burst = limits.burst ?? 1;
  const rate = (limit: number | null): Rate | null =>
    limit === null ? null : toRate({ limit, periodMs: MINUTE_MS, burst: limit * burst });
  return {
    requests: rate(limits.requestsPerMinute),
    input: rate(limits.inputTokensPerMinute),
    output: rate(limits.outputTokensPerMinute),
    concurrent: limits.concurrent ?? Number.POSITIVE_INFINITY,
    budgetTokens: limits.budget?.tokens ?? Number.POSITIVE_INFINITY,
    budgetWindowMs: limits.budget?.windowMs ?? 0,
  };
}

/** Plans of limits that were seen before. */
export class LimitPlans {
  readonly #plans: WeakMap<AccountLimits, LimitPlan> = new WeakMap();

  of(limits: AccountLimits): LimitPlan {
    let plan = this.#plans.get(limits);
    if (plan === undefined) {
      plan = toPlan(limits);
      this.#plans.set(limits, plan);
    }
    return plan;
  }
}

const NO_PLAN: LimitPlan = toPlan(NO_LIMITS);

/** Where an account's figures are and by which limits they are judged. */
export interface AccountPlace {
  readonly slot: number;
  readonly plan: LimitPlan;
  readonly owner: Account | null;
}

/** An account; forgotten ones have no table. */
export class Account implements AccountPlace {
  readonly name: string;
  table: AccountTable | null;
  readonly slot: number;
  limits: AccountLimits;
  plan: LimitPlan;
  windowStartMs: number = 0;
  windowEndMs: number = 0;

  constructor(
    table: AccountTable,
    name: string,
    slot: number,
    limits: AccountLimits,
    plan: LimitPlan,
  ) {
    this.table = table;
    this.name = name;
    this.slot = slot;
    this.limits = limits;
    this.plan = plan;
  }

  get owner(): Account {
    return this;
  }
}

/**
 * A subject that knows the place of its account: while no account is forgotten or changed, a check with it touches
 * neither the table's map nor the account.
 */
export class KeptSubject implements LimitSubject, AccountPlace {
  readonly account: string;
  readonly limits: AccountLimits;
  readonly table: AccountTable;
  /** The table's epoch in which the place was found. */
  epoch: number = -1;
  slot: number = -1;
  plan: LimitPlan = NO_PLAN;
  owner: Account | null = null;

  constructor(table: AccountTable, account: string, limits: AccountLimits) {
    this.table = table;
    this.account = account;
    this.limits = limits;
  }
}

/**
 * What each tenant has open, and how much of its traffic are repeats. Owns the counts and their bounds.
 */
import { createRetryBudget, type RetryBudget } from './retry-budget.js';

/** Counts of every tenant. */
export interface TenantTraffic {
  /** Counts an open request; false when the tenant has as many as anybody may. */
  open(tenant: string): boolean;
  closed(tenant: string): void;
  /** Takes note of a first try. */
  first(tenant: string, nowMs: number): void;
  /** Whether a repeat is still within the tenant's share; it is taken then. */
  mayRepeat(tenant: string, nowMs: number): boolean;
}

/** Clients repeat on their own; above this share they get in the way of those that ask for the first time. */
const REPEATS = { share: 0.2, least: 5, windowMs: 60_000 } as const;
const MAX_TENANTS = 10_000;

/** Makes empty counts. */
export function createTenantTraffic(
  /** Looked at for each request: they may be changed. */
  limits: { readonly maxOpenPerTenant: number },
): TenantTraffic {
  const open = new Map<string, number>();
  const budgets = new Map<string, RetryBudget>();
  const budgetOf = (tenant: string): RetryBudget => {
    let budget = budgets.get(tenant);
    if (budget === undefined) {
      if (budgets.size >= MAX_TENANTS) budgets.clear();
      budget = createRetryBudget(REPEATS);
      budgets.set(tenant, budget);
    }
    return budget;
  };
  return {
    open: (tenant) => {
      const count = open.get(tenant) ?? 0;
      if (count >= limits.maxOpenPerTenant) return false;
      open.set(tenant, count + 1);
      return true;
    },
    closed: (tenant) => {
      const count = (open.get(tenant) ?? 1) - 1;
      if (count <= 0) open.delete(tenant);
      else open.set(tenant, count);
    },
    first: (tenant, nowMs) => budgetOf(tenant).note(nowMs),
    mayRepeat: (tenant, nowMs) => budgetOf(tenant).take(nowMs),
  };
}

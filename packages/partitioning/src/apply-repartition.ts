/**
 * Applies a repartition as a transaction, and takes up one that a crash left open. Owns what may begin: the lease, the
 * compare-and-set on the generation, and the answer to a plan that was applied before. The transaction itself is
 * transaction-runner.ts.
 */
import { AimError, type Inventory } from '@aim-gpu/core';
import { toCardLayouts } from './assert-layout.js';
import { hasReached } from './next-step.js';
import {
  appendRecord,
  readRepartitionHistory,
  takeRepartitionLease,
  unfinishedError,
} from './repartition-journal.js';
import type { RepartitionPlan } from './repartition-plan.js';
import type { RepartitionOptions, RepartitionResult } from './repartition-result.js';
import { openTransaction, outcomeOf, type RecordedError } from './transaction.js';
import { finishTransaction } from './transaction-runner.js';

/**
 * Applies a plan. Repeating it is safe: a plan that was applied and still holds is answered at once, one that a crash
 * interrupted is taken up where it was. The signal is heeded between steps: what was changed is rolled back first.
 *
 * Throws before any change `ERR_STATE_LOCKED` (conflict; another process holds the lease), `ERR_GENERATION_STALE`
 * (conflict; the machine is not what the plan was made against), `ERR_REPARTITION_UNFINISHED` (conflict; another plan
 * was interrupted, recover it first), `ERR_STATE_CORRUPT` (internal), and the signal's reason. Failures of the machine
 * are values.
 */
export async function applyRepartition(
  options: RepartitionOptions & { readonly plan: RepartitionPlan },
): Promise<RepartitionResult> {
  const { plan, driver, store, clock } = options;
  options.signal?.throwIfAborted();
  await using _lease = await takeRepartitionLease(store, options);
  const records = await readRepartitionHistory(store);
  const open = openTransaction(records);
  if (open !== null && open.plan.id !== plan.id) throw unfinishedError(open.plan.id);
  if (open !== null) return await finishTransaction(options, open);

  const startedAt = clock.monoMs();
  const inventory = await driver.discover(options);
  const holds = hasReached(toCardLayouts(inventory), plan.to);
  if (holds && (plan.steps.length === 0 || outcomeOf(records, plan.id) === 'applied')) {
    return {
      ok: true,
      outcome: 'already-applied',
      inventory,
      tookMs: clock.monoMs() - startedAt,
      warnings: [],
    };
  }
  if (inventory.generation !== plan.generation) throw staleError(plan, inventory);
  const hooks = options.hooks?.hooks ?? [];
  await appendRecord(store, {
    type: 'begin',
    plan,
    at: clock.epochMs(),
    ...(hooks.length === 0 ? {} : { hooks }),
  });
  return await finishTransaction(options, {
    plan,
    drained: false,
    direction: 'forward',
    error: null,
    hooks,
  });
}

/**
 * Finishes a repartition that a crash interrupted: forward when its instances had been stopped, else, and when it was
 * already going back, to the layouts before it. Null when none was interrupted. Throws as {@link applyRepartition}.
 */
export async function recoverRepartition(
  options: RepartitionOptions,
): Promise<RepartitionResult | null> {
  options.signal?.throwIfAborted();
  await using _lease = await takeRepartitionLease(options.store, options);
  const open = openTransaction(await readRepartitionHistory(options.store));
  if (open === null) return null;
  const error = open.error ?? INTERRUPTED;
  return await finishTransaction(
    options,
    open.drained ? open : { ...open, direction: 'back', error },
  );
}

const INTERRUPTED: RecordedError = {
  code: 'ERR_REPARTITION_INTERRUPTED',
  message: 'the process ended before anything was changed',
};

function staleError(plan: RepartitionPlan, inventory: Inventory): AimError {
  return new AimError({
    code: 'ERR_GENERATION_STALE',
    kind: 'conflict',
    message: 'the machine has changed since the repartition was planned',
    details: { expected: plan.generation, actual: inventory.generation },
    hint: 'plan again',
  });
}

/**
 * Drives an open transaction to its end: drain, step by step with read-back, and back again when that fails. Writes each
 * record before what it announces. Effects go through the driver, the state store and the caller's `drain` alone; the
 * order of steps is next-step.ts.
 */
import {
  AimError,
  type CardId,
  type Inventory,
  type PlanId,
  type Reason,
  type StateStore,
  silentLogger,
} from '@aim-gpu/core';
import { toCardLayouts } from './assert-layout.js';
import { joinHooks, type OwedHooks, runHooksAfter, runHooksBefore } from './hooks.js';
import { xcdsOf } from './load-mode.js';
import { type CardTarget, hiveKey, nextStep } from './next-step.js';
import { appendRecord, readRepartitionHistory, shortenHistory } from './repartition-journal.js';
import type { RepartitionPlan } from './repartition-plan.js';
import {
  type DegradedState,
  degradedState,
  nextCommandFor,
  type RepartitionOptions,
  type RepartitionProgress,
  type RepartitionResult,
} from './repartition-result.js';
import { doubt, settledInventory } from './settled-inventory.js';
import { DEFAULT_LIMITS, readOrNull, runStep, type StepContext } from './step-runner.js';
import type {
  Direction,
  OpenTransaction,
  RecordedError,
  RepartitionRecord,
} from './transaction.js';

/** Drives an open transaction to its end, under the lease that the caller holds. */
export async function finishTransaction(
  options: RepartitionOptions,
  open: OpenTransaction,
): Promise<RepartitionResult> {
  const { driver, store, clock } = options;
  const { plan } = open;
  const owed: OwedHooks = {
    hooks: joinHooks(open.hooks, options.hooks?.hooks ?? []),
    runner: options.hooks?.runner ?? options.hookRunner ?? null,
  };
  const startedAt = clock.monoMs();
  let failure: unknown = open.error === null ? null : toError(open.error);
  if (open.direction === 'forward') {
    const applied = await tryForward(options, open, owed, startedAt);
    if ('inventory' in applied) {
      const { inventory, warnings } = applied;
      report(options, plan, { phase: 'done', change: null, begun: plan.steps.length, startedAt });
      const tookMs = clock.monoMs() - startedAt;
      return { ok: true, outcome: 'applied', inventory, tookMs, warnings };
    }
    failure = applied.failure;
    const record = { type: 'rolling-back', id: plan.id, at: clock.epochMs() } as const;
    await appendRecord(store, { ...record, error: describeError(failure) });
  }
  const error = AimError.is(failure) ? failure : toError(describeError(failure));
  const reasons = [{ code: error.code, message: error.message }];
  let inventory: Inventory;
  try {
    inventory = await converge(options, plan, 'back', startedAt);
  } catch (backError) {
    const seen = await readOrNull(driver);
    const failedHooks = await runHooksAfter(owed, options);
    await end(options, plan, 'degraded', seen, backError);
    const back = describeError(backError);
    const state = degradedState(seen);
    const nextCommand = (options.resumeCommand ?? nextCommandFor)(state);
    return {
      ok: false,
      outcome: 'degraded',
      state,
      inventory: seen,
      reasons: [
        ...reasons,
        { code: back.code, message: `rolling back: ${back.message}` },
        ...failedHooks,
      ],
      error: degradedError(AimError.is(backError) ? backError : error, state, nextCommand),
      nextCommand,
    };
  }
  const failedHooks = await runHooksAfter(owed, options);
  await end(options, plan, 'rolled-back', inventory, error);
  if (options.signal?.aborted && failure === options.signal.reason) throw failure;
  const staged = stagedLeftOver(await readRepartitionHistory(store), plan.id);
  const all = [...reasons, ...staged, ...failedHooks];
  return { ok: false, outcome: 'rolled-back', inventory, reasons: all, error };
}

/** What stopped it, with the name of the state and what to type, for callers that can only throw. */
function degradedError(cause: AimError, state: DegradedState, nextCommand: string): AimError {
  return new AimError({
    code: cause.code,
    kind: cause.kind,
    message: cause.message,
    details: { ...cause.details, state },
    hint: `type \`${nextCommand}\``,
    cause,
  });
}

/** Goes forward and closes the transaction; what stopped it is a value, so that nothing after the end can undo it. */
async function tryForward(
  options: RepartitionOptions,
  { plan, drained }: OpenTransaction,
  owed: OwedHooks,
  startedAt: number,
): Promise<
  | { readonly inventory: Inventory; readonly warnings: readonly Reason[] }
  | { readonly failure: unknown }
> {
  try {
    if (!drained) await drain(options, plan, owed);
    const inventory = await converge(options, plan, 'forward', startedAt);
    // Before the end is written: a crash between the two runs them once more, instead of never.
    const warnings = await runHooksAfter(owed, options);
    await end(options, plan, 'applied', inventory, null);
    return { inventory, warnings };
  } catch (failure) {
    return { failure };
  }
}

/** A staged memory mode cannot be seen or taken back; only a reload that came after it is known to have used it up. */
function stagedLeftOver(records: readonly RepartitionRecord[], id: PlanId): readonly Reason[] {
  const steps = records.flatMap((record) =>
    record.type === 'step' && record.id === id ? [record] : [],
  );
  const asked = steps.some(
    (step) => step.direction === 'forward' && step.change.kind === 'stage-memory',
  );
  const reloadedBack = steps.some(
    (step) => step.direction === 'back' && step.change.kind === 'reload',
  );
  if (!asked || reloadedBack) return [];
  const message =
    'a memory mode was asked for and may take effect when the driver is reloaded for another reason';
  return [{ code: 'MEMORY_MODE_MAY_BE_STAGED', message }];
}

async function drain(
  options: RepartitionOptions,
  plan: RepartitionPlan,
  owed: OwedHooks,
): Promise<void> {
  const { store, clock, signal } = options;
  report(options, plan, { phase: 'draining', change: null, begun: 0, startedAt: clock.monoMs() });
  const request = { node: plan.node, instances: plan.stops };
  await options.drain(signal === undefined ? request : { ...request, signal });
  signal?.throwIfAborted();
  // A crash from here to the record runs the hooks once more: they have to be repeatable, as draining has.
  await runHooksBefore(owed, options);
  await appendRecord(store, { type: 'drained', id: plan.id, at: clock.epochMs() });
}

/** Takes step after step until the wanted layouts are read back. */
async function converge(
  options: RepartitionOptions,
  plan: RepartitionPlan,
  direction: Direction,
  startedAt: number,
): Promise<Inventory> {
  const { driver, store, clock } = options;
  const wanted = direction === 'forward' ? plan.to : plan.from;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  let inventory = await settledInventory(options, wanted, limits);
  const context: StepContext = {
    driver,
    clock,
    logger: options.logger ?? silentLogger,
    limits,
    xcds: new Map(inventory.cards.map((card) => [card.id, xcdsOf(card)])),
  };
  const staged = new Set<string>();
  const touched = direction === 'back' ? await switchedCards(store, plan.id) : new Set<CardId>();
  let reloads = 0;
  for (let begun = 1; ; begun += 1) {
    const change = nextStep(doubt(inventory, touched), wanted, staged);
    if (change === null) return inventory;
    if (direction === 'forward') options.signal?.throwIfAborted();
    if (change.kind === 'reload') reloads += 1;
    if (reloads > limits.attempts) throw memoryMismatch(wanted, inventory);
    const phase = direction === 'forward' ? 'changing' : 'rolling-back';
    report(options, plan, { phase, change, begun, startedAt });
    await appendRecord(store, {
      type: 'step',
      id: plan.id,
      at: clock.epochMs(),
      direction,
      change,
    });
    inventory = await runStep(context, change, inventory);
    if (change.kind === 'stage-memory') staged.add(hiveKey(change));
    if (change.kind === 'reload') staged.clear();
    if (change.kind === 'set-compute') touched.delete(change.card);
  }
}

/** The cards that a repartition has begun to switch, by its journal. */
async function switchedCards(store: StateStore, id: PlanId): Promise<Set<CardId>> {
  const records = await readRepartitionHistory(store);
  return new Set(
    records.flatMap((record) =>
      record.type === 'step' && record.id === id && record.change.kind === 'set-compute'
        ? [record.change.card]
        : [],
    ),
  );
}

async function end(
  options: RepartitionOptions,
  plan: RepartitionPlan,
  outcome: 'applied' | 'rolled-back' | 'degraded',
  inventory: Inventory | null,
  error: unknown,
): Promise<void> {
  const { store, clock, logger = silentLogger } = options;
  const observed = inventory === null ? null : toCardLayouts(inventory);
  const recorded = error === null ? null : describeError(error);
  await appendRecord(store, {
    type: 'end',
    id: plan.id,
    at: clock.epochMs(),
    outcome,
    observed,
    error: recorded,
  });
  try {
    await shortenHistory(store);
  } catch (cause) {
    // The transaction has ended; a journal that stays long is no reason to undo it.
    logger.warn('repartition-history-kept', { error: String(cause) });
  }
  logger.info('repartition-end', { plan: plan.id, outcome, error: recorded });
}

function report(
  options: RepartitionOptions,
  plan: RepartitionPlan,
  state: Pick<RepartitionProgress, 'phase' | 'change' | 'begun'> & { readonly startedAt: number },
): void {
  const { startedAt, ...rest } = state;
  const elapsedMs = options.clock.monoMs() - startedAt;
  options.onProgress?.({
    plan: plan.id,
    ...rest,
    expected: plan.steps.length,
    elapsedMs,
    remainingMs: state.phase === 'done' ? 0 : Math.max(0, plan.expectedMs - elapsedMs),
  });
}

function memoryMismatch(wanted: readonly CardTarget[], inventory: Inventory): AimError {
  return new AimError({
    code: 'ERR_READBACK_MISMATCH',
    kind: 'unavailable',
    message: 'the driver was reloaded and the memory modes are not those asked for',
    details: { wanted, observed: toCardLayouts(inventory) },
  });
}

function describeError(error: unknown): RecordedError {
  if (AimError.is(error)) return { code: error.code, message: error.message };
  return {
    code: 'ERR_REPARTITION_STOPPED',
    message: error instanceof Error ? error.message : String(error),
  };
}

function toError(error: RecordedError): AimError {
  return new AimError({ ...error, kind: 'unavailable' });
}

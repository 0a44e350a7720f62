/**
 * Applies a repartition as a transaction: lease, journal, drain, then step by step with read-back; on failure back to
 * the layouts before it, or a stop in a named degraded state. A transaction that a crash left open is taken up again.
 * Effects go through the driver, the state store and the caller's `drain` alone. The order of steps is next-step.ts.
 */
import {
  AimError,
  type CallOptions,
  type Clock,
  type GpuDriver,
  type InstanceId,
  type Inventory,
  type Logger,
  type NodeName,
  type PlanId,
  type Reason,
  type StateStore,
  silentLogger,
} from '@aim-gpu/core';
import { toCardLayouts } from './assert-layout.js';
import { xcdsOf } from './load-mode.js';
import { type CardTarget, hasReached, hiveKey, type LayoutStep, nextStep } from './next-step.js';
import {
  appendRecord,
  readRepartitionHistory,
  shortenHistory,
  takeRepartitionLease,
  unfinishedError,
} from './repartition-journal.js';
import type { RepartitionPlan } from './repartition-plan.js';
import {
  DEFAULT_LIMITS,
  type RepartitionLimits,
  readOrNull,
  runStep,
  type StepContext,
} from './step-runner.js';
import {
  type Direction,
  type OpenTransaction,
  openTransaction,
  outcomeOf,
  type RecordedError,
  type RepartitionRecord,
} from './transaction.js';

/** What has to stop before the first change. */
export interface DrainRequest extends CallOptions {
  readonly node: NodeName;
  readonly instances: readonly InstanceId[];
}

/** How far a repartition is. */
export interface RepartitionProgress {
  readonly plan: PlanId;
  readonly phase: 'draining' | 'changing' | 'rolling-back' | 'done';
  /** The change under way; null between changes. */
  readonly change: LayoutStep | null;
  /** Changes begun in this direction. */
  readonly begun: number;
  readonly expected: number;
  readonly elapsedMs: number;
  /** By the plan's expectation; 0 when that is used up. */
  readonly remainingMs: number;
}

/** What applying and recovering need. */
export interface RepartitionOptions extends CallOptions {
  readonly driver: GpuDriver;
  readonly store: StateStore;
  readonly clock: Clock;
  readonly logger?: Logger;
  /** Stops the instances and resolves when they are gone; must be repeatable. */
  readonly drain: (request: DrainRequest) => Promise<void>;
  readonly onProgress?: (progress: RepartitionProgress) => void;
  readonly limits?: Partial<RepartitionLimits>;
  /** The command by which a person goes on after a degraded stop. */
  readonly resumeCommand?: string;
}

/** Why a machine is neither in the old nor in the new layouts. */
export type DegradedState =
  /** A card's layout cannot be read. */
  | 'unreadable'
  /** Cards of one hive differ in memory mode. */
  | 'memory-split'
  /** Every layout is readable and legal, but some are old and some are new. */
  | 'between';

/** How a repartition ended. */
export type RepartitionResult =
  | {
      readonly ok: true;
      /** `already-applied`: the plan had been applied before and its layouts are still there. */
      readonly outcome: 'applied' | 'already-applied';
      readonly inventory: Inventory;
      readonly tookMs: number;
    }
  | {
      readonly ok: false;
      /** The layouts are those before the plan, read back. */
      readonly outcome: 'rolled-back';
      readonly inventory: Inventory;
      readonly reasons: readonly Reason[];
      /** What went wrong, to be thrown by callers that have no other way on. */
      readonly error: AimError;
    }
  | {
      readonly ok: false;
      readonly outcome: 'degraded';
      readonly state: DegradedState;
      readonly inventory: Inventory | null;
      readonly reasons: readonly Reason[];
      readonly error: AimError;
      /** What to type next. */
      readonly nextCommand: string;
    };

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
  if (open !== null) return finish(options, open);

  const startedAt = clock.monoMs();
  const inventory = await driver.discover(options);
  const holds = hasReached(toCardLayouts(inventory), plan.to);
  if (holds && (plan.steps.length === 0 || outcomeOf(records, plan.id) === 'applied')) {
    return { ok: true, outcome: 'already-applied', inventory, tookMs: clock.monoMs() - startedAt };
  }
  if (inventory.generation !== plan.generation) throw staleError(plan, inventory);
  await appendRecord(store, { type: 'begin', plan, at: clock.epochMs() });
  return finish(options, { plan, drained: false, direction: 'forward', error: null });
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
  return finish(options, open.drained ? open : { ...open, direction: 'back', error });
}

const INTERRUPTED: RecordedError = {
  code: 'ERR_REPARTITION_INTERRUPTED',
  message: 'the process ended before anything was changed',
};

/** Drives an open transaction to its end. */
async function finish(
  options: RepartitionOptions,
  open: OpenTransaction,
): Promise<RepartitionResult> {
  const { driver, store, clock } = options;
  const { plan } = open;
  const startedAt = clock.monoMs();
  let failure: unknown = open.error === null ? null : toError(open.error);
  if (open.direction === 'forward') {
    try {
      if (!open.drained) await drain(options, plan);
      const inventory = await converge(options, plan, 'forward', startedAt);
      await end(options, plan, 'applied', inventory, null);
      report(options, plan, { phase: 'done', change: null, begun: plan.steps.length, startedAt });
      return { ok: true, outcome: 'applied', inventory, tookMs: clock.monoMs() - startedAt };
    } catch (error) {
      failure = error;
      const error_ = describeError(error);
      await appendRecord(store, {
        type: 'rolling-back',
        id: plan.id,
        at: clock.epochMs(),
        error: error_,
      });
    }
  }
  const error = AimError.is(failure) ? failure : toError(describeError(failure));
  const reasons = [{ code: error.code, message: error.message }];
  let inventory: Inventory;
  try {
    inventory = await converge(options, plan, 'back', startedAt);
  } catch (backError) {
    const seen = await readOrNull(driver);
    await end(options, plan, 'degraded', seen, backError);
    const back = describeError(backError);
    return {
      ok: false,
      outcome: 'degraded',
      state: degradedState(seen),
      inventory: seen,
      reasons: [...reasons, { code: back.code, message: `rolling back: ${back.message}` }],
      error: AimError.is(backError) ? backError : error,
      nextCommand: options.resumeCommand ?? 'aim-gpu up',
    };
  }
  await end(options, plan, 'rolled-back', inventory, error);
  if (options.signal?.aborted && failure === options.signal.reason) throw failure;
  const staged = stagedLeftOver(await readRepartitionHistory(store), plan.id);
  return { ok: false, outcome: 'rolled-back', inventory, reasons: [...reasons, ...staged], error };
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

async function drain(options: RepartitionOptions, plan: RepartitionPlan): Promise<void> {
  const { store, clock, signal } = options;
  report(options, plan, { phase: 'draining', change: null, begun: 0, startedAt: clock.monoMs() });
  const request = { node: plan.node, instances: plan.stops };
  await options.drain(signal === undefined ? request : { ...request, signal });
  signal?.throwIfAborted();
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
  let reloads = 0;
  for (let begun = 1; ; begun += 1) {
    const change = nextStep(toCardLayouts(inventory), wanted, staged);
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
  }
}

/** The machine when no change is under way any more: an interrupted one may still be finishing. */
async function settledInventory(
  options: RepartitionOptions,
  wanted: readonly CardTarget[],
  limits: RepartitionLimits,
): Promise<Inventory> {
  const { driver, clock } = options;
  const deadline = clock.monoMs() + limits.busyWaitMs;
  for (;;) {
    const read = await readOrNull(driver);
    const readable = wanted.every(({ card }) => {
      const layout = read?.cards.find((entry) => entry.id === card)?.layout;
      return layout !== undefined && layout.compute !== null && layout.memory !== null;
    });
    if (read !== null && readable) return read;
    if (clock.monoMs() >= deadline) return read ?? driver.discover();
    await clock.sleep(limits.settlePollMs);
  }
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
  await shortenHistory(store);
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

function degradedState(inventory: Inventory | null): DegradedState {
  if (inventory === null || inventory.cards.length === 0) return 'unreadable';
  const memory = new Map<string, string>();
  for (const { id, hive, layout } of inventory.cards) {
    if (layout.compute === null || layout.memory === null) return 'unreadable';
    const key = hiveKey({ card: id, hive });
    if ((memory.get(key) ?? layout.memory) !== layout.memory) return 'memory-split';
    memory.set(key, layout.memory);
  }
  return 'between';
}

function memoryMismatch(wanted: readonly CardTarget[], inventory: Inventory): AimError {
  return new AimError({
    code: 'ERR_READBACK_MISMATCH',
    kind: 'unavailable',
    message: 'the driver was reloaded and the memory modes are not those asked for',
    details: { wanted, observed: toCardLayouts(inventory) },
  });
}

function staleError(plan: RepartitionPlan, inventory: Inventory): AimError {
  return new AimError({
    code: 'ERR_GENERATION_STALE',
    kind: 'conflict',
    message: 'the machine has changed since the repartition was planned',
    details: { expected: plan.generation, actual: inventory.generation },
    hint: 'plan again',
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

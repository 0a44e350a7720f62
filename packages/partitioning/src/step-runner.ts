/**
 * Does one step of a repartition on a driver and reads back until it can be seen. Owns retries of a busy or flaky
 * device and the waiting for partitions to appear; knows neither plan nor journal.
 */
import {
  AimError,
  type CardId,
  type Clock,
  type GpuDriver,
  type Inventory,
  type Logger,
  type ObservedCard,
  partitionCount,
} from '@aim-gpu/core';
import { describeLayout } from './assert-layout.js';
import type { LayoutStep } from './next-step.js';

/** How long and how often things are tried. */
export interface RepartitionLimits {
  /** Between two tries of a busy device, and how long in all. */
  readonly busyRetryMs: number;
  readonly busyWaitMs: number;
  /** Between two reads after a change, and how long in all. */
  readonly settlePollMs: number;
  readonly settleWaitMs: number;
  /** How often a change that failed or had no effect is tried. */
  readonly attempts: number;
}

/**
 * The limits unless told otherwise: a drained device is retried every 2 s for 120 s, new partitions appear within 5 s
 * (AMD-AGI/Hyperloom; here twice that); two tries are this package's choice.
 */
export const DEFAULT_LIMITS: RepartitionLimits = {
  busyRetryMs: 2000,
  busyWaitMs: 120_000,
  settlePollMs: 500,
  settleWaitMs: 10_000,
  attempts: 2,
};

/** What a step runs on. */
export interface StepContext {
  readonly driver: GpuDriver;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: RepartitionLimits;
  /** XCDs of each card that must be there after a reload; null where unknown. */
  readonly xcds: ReadonlyMap<CardId, number | null>;
}

/**
 * Does a step and returns what was read afterwards. For a reload that is any settled machine: whether the memory modes
 * came true is for the caller to see. Throws what the driver throws, and `ERR_READBACK_MISMATCH` (unavailable) when a
 * change that was reported as done cannot be seen.
 */
export async function runStep(
  context: StepContext,
  change: LayoutStep,
  before: Inventory,
): Promise<Inventory> {
  let inventory = before;
  let last: unknown;
  for (let attempt = 1; attempt <= context.limits.attempts; attempt += 1) {
    try {
      inventory = await callUntilFree(context, change, inventory);
      last = mismatch(change, inventory);
    } catch (error) {
      if (!AimError.is(error, 'ERR_SWITCH_TIMEOUT', 'ERR_DRIVER_IO')) throw error;
      last = error;
    }
    const settled = await readSettled(context, change, inventory);
    if (settled !== null) inventory = settled;
    // What was staged cannot be seen, nor that a reload happened: there a failed call is a failed step.
    const failed = AimError.is(last, 'ERR_DRIVER_IO') && change.kind !== 'set-compute';
    if (!failed && settled !== null && isDone(context, change, settled)) return settled;
    context.logger.warn('repartition-retry', { change, attempt, error: String(last) });
  }
  throw last;
}

/** Makes the call, again and again while the device is busy; a stale generation is read anew once. */
async function callUntilFree(
  context: StepContext,
  change: LayoutStep,
  before: Inventory,
): Promise<Inventory> {
  const { driver, clock, limits, logger } = context;
  const deadline = clock.monoMs() + limits.busyWaitMs;
  let inventory = before;
  let staleAllowed = true;
  for (;;) {
    try {
      return await call(driver, change, inventory.generation);
    } catch (error) {
      const stale = AimError.is(error, 'ERR_GENERATION_STALE') && staleAllowed;
      const busy = AimError.is(error, 'ERR_DEVICE_BUSY') && clock.monoMs() < deadline;
      if (!stale && !busy) throw error;
      if (busy) {
        logger.info('repartition-busy', {
          change,
          holders: AimError.is(error) ? error.details['holders'] : [],
        });
        await clock.sleep(limits.busyRetryMs);
      }
      const read = await driver.discover();
      if (change.kind === 'set-compute' && isDone(context, change, read)) return read;
      // Somebody else changing layouts is not to be overrun; a card that comes back from a reset may be read anew.
      staleAllowed = sameLayouts(read, inventory) || inventory.cards.some(isUnread);
      inventory = staleAllowed ? read : inventory;
    }
  }
}

function call(driver: GpuDriver, change: LayoutStep, expect: string): Promise<Inventory> {
  switch (change.kind) {
    case 'stage-memory':
      return driver.stageMemoryMode(change.card, change.to, { expect });
    case 'reload':
      return driver.reload({ expect });
    case 'set-compute':
      return driver.setComputeMode(change.card, change.to, { expect });
  }
}

/** Reads until the step can be seen or the time is up; the last reading, or null when the machine could not be read. */
async function readSettled(
  context: StepContext,
  change: LayoutStep,
  first: Inventory,
): Promise<Inventory | null> {
  const { driver, clock, limits } = context;
  if (isDone(context, change, first)) return first;
  const deadline = clock.monoMs() + limits.settleWaitMs;
  for (;;) {
    const read = await readOrNull(driver);
    if (read !== null && isDone(context, change, read)) return read;
    if (clock.monoMs() >= deadline) return read;
    await clock.sleep(limits.settlePollMs);
  }
}

/** Reads the machine; null when it cannot be read now. */
export async function readOrNull(driver: GpuDriver): Promise<Inventory | null> {
  try {
    return await driver.discover();
  } catch (error) {
    if (AimError.is(error, 'ERR_DRIVER_IO')) return null;
    throw error;
  }
}

function isDone(context: StepContext, change: LayoutStep, inventory: Inventory): boolean {
  switch (change.kind) {
    case 'stage-memory':
      // The machine does not show what is staged.
      return true;
    case 'reload':
      return [...context.xcds.keys()].every((card) => isWhole(context, card, inventory));
    case 'set-compute':
      return (
        modeOf(inventory, change.card) === change.to && isWhole(context, change.card, inventory)
      );
  }
}

/** Whether a card's mode and all the partitions of that mode can be read. */
function isWhole(context: StepContext, card: CardId, inventory: Inventory): boolean {
  const observed = inventory.cards.find((entry) => entry.id === card);
  const mode = observed?.layout.compute ?? null;
  const xcds = context.xcds.get(card) ?? null;
  if (observed === undefined || mode === null) return false;
  return xcds === null || observed.partitions.length === partitionCount(mode, xcds);
}

function modeOf(inventory: Inventory, card: CardId): string | null {
  return inventory.cards.find((entry) => entry.id === card)?.layout.compute ?? null;
}

function mismatch(change: LayoutStep, inventory: Inventory): AimError {
  const what =
    change.kind === 'set-compute' ? `switching ${change.card} to ${change.to}` : change.kind;
  const observed = inventory.cards.map((card) => `${card.id} ${describeLayout(card.layout)}`);
  return new AimError({
    code: 'ERR_READBACK_MISMATCH',
    kind: 'unavailable',
    message: `${what} was reported as done and cannot be seen`,
    details: { change, observed },
  });
}

function isUnread(card: ObservedCard): boolean {
  return card.layout.compute === null || card.layout.memory === null;
}

/** Whether two readings show the same layouts. */
function sameLayouts(a: Inventory, b: Inventory): boolean {
  const layouts = (inventory: Inventory): string =>
    JSON.stringify(inventory.cards.map((card) => [card.id, card.layout]));
  return layouts(a) === layouts(b);
}

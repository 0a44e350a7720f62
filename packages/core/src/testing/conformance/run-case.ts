/**
 * Runs a conformance case against a subject, step by step, and says what came of it. Owns what each step means; throws
 * only what a subject's own tools throw.
 */
import { AimError } from '../../errors.js';
import type { GpuDriver, InventoryEvent } from '../../gpu-driver.js';
import { cardId } from '../../ids.js';
import type { Inventory } from '../../inventory.js';
import type { Layout } from '../../layout.js';
import type { Lease } from '../../lease.js';
import type {
  ConformanceCase,
  ConformanceChange,
  ConformanceNeed,
  ConformanceResult,
  ConformanceStep,
  ConformanceSubject,
  ExpectedOutcome,
} from './case.js';
import { describe, failedCheck } from './checks.js';

const NO_SUCH_CARD = cardId('ffff:ff:1f.0');
// Time for devices of a new mode to appear, and for a watch to tell: both look every second or faster.
const SETTLE_MS = 8000;

/** What a case keeps from one step to the next. */
interface Progress {
  remembered: Inventory | null;
  readonly leases: Lease[];
  readonly events: InventoryEvent[];
  stopWatch: (() => void) | null;
}

/**
 * Runs one case. `skipped` when the subject lacks what it needs. What the case opened is closed again; the machine
 * stays as the last step left it.
 */
export async function runConformanceCase(
  one: ConformanceCase,
  subject: ConformanceSubject,
): Promise<ConformanceResult> {
  const missing = one.needs.filter((need) => !has(subject, need));
  if (missing.length > 0)
    return { outcome: 'skipped', reason: `this machine has no ${missing.join(', ')}` };
  const progress: Progress = { remembered: null, leases: [], events: [], stopWatch: null };
  try {
    for (const [step, entry] of one.steps.entries()) {
      const message = await runStep(entry, subject, progress);
      if (message !== null) return { outcome: 'failed', step, message };
    }
    return { outcome: 'passed' };
  } finally {
    progress.stopWatch?.();
    for (const lease of progress.leases) await lease.release();
  }
}

function has(subject: ConformanceSubject, need: ConformanceNeed): boolean {
  return subject[need] !== null;
}

/** What went wrong; null when nothing did. */
async function runStep(
  step: ConformanceStep,
  subject: ConformanceSubject,
  progress: Progress,
): Promise<string | null> {
  const { driver, clock } = subject;
  switch (step.do) {
    case 'bring':
      return bringIntoLayout(driver, step.layout);
    case 'change':
      return changeAndCompare(driver, step.change, step.expect);
    case 'change-stale':
      return expectError(call(driver, step.change, 'a generation of yesterday'), [
        'ERR_GENERATION_STALE',
      ]);
    case 'change-unprivileged': {
      const other = (await subject.unprivileged?.()) ?? driver;
      const { generation } = await other.discover();
      const wrong = await expectError(call(other, step.change, generation), [
        'ERR_DRIVER_PERMISSION',
      ]);
      await other.close();
      return wrong;
    }
    case 'change-cancelled':
      return changeCancelled(subject, step.change, step.when);
    case 'change-together':
      return changeTogether(driver, step.changes);
    case 'change-unknown-card': {
      const { generation: expect } = await driver.discover();
      return expectError(driver.setComputeMode(NO_SUCH_CARD, 'SPX', { expect }), [
        'ERR_DEVICE_UNKNOWN',
      ]);
    }
    case 'hold': {
      const card = await cardAt(driver, step.card);
      const lease = await subject.hold?.(card);
      if (lease !== undefined) progress.leases.push(lease);
      return null;
    }
    case 'holders':
      return holdersAre(subject, step.card, step.held);
    case 'release':
      for (const lease of progress.leases.splice(0)) await lease.release();
      return null;
    case 'fault':
      await subject.fault?.(step.fault);
      return null;
    case 'reboot':
      await subject.reboot?.();
      return null;
    case 'wait':
      await clock.sleep(step.ms);
      return null;
    case 'remember':
      progress.remembered = await driver.discover();
      return null;
    case 'watch':
      progress.stopWatch = driver.watch((event) => progress.events.push(event));
      // The first look is what later ones are compared with.
      await clock.sleep(2000);
      return null;
    case 'told':
      return told(subject, progress, step.card, step.to);
    case 'check':
      return failedCheck(step.check, await driver.discover(), progress.remembered);
  }
}

/** A process that has just gone may be shown a little longer. */
async function holdersAre(
  { driver, clock }: ConformanceSubject,
  index: number,
  held: boolean,
): Promise<string | null> {
  const card = await cardAt(driver, index);
  for (let waited = 0; ; waited += 500) {
    const found = await driver.holders(card);
    if (found.length > 0 === held) return null;
    if (waited >= SETTLE_MS)
      return `holders are ${found.map(({ pid }) => pid).join(', ') || 'none'}`;
    await clock.sleep(500);
  }
}

async function cardAt(driver: GpuDriver, index: number): Promise<ReturnType<typeof cardId>> {
  const { cards } = await driver.discover();
  return cards[index]?.id ?? NO_SUCH_CARD;
}

async function call(
  driver: GpuDriver,
  change: ConformanceChange,
  expect: string,
  signal?: AbortSignal,
): Promise<Inventory> {
  const options = { expect, ...(signal === undefined ? {} : { signal }) };
  if (change.call === 'reload') return driver.reload(options);
  const card = await cardAt(driver, change.card);
  return change.call === 'set-compute'
    ? driver.setComputeMode(card, change.to, options)
    : driver.stageMemoryMode(card, change.to, options);
}

/**
 * Brings every card of a driver's node into a layout: memory mode, reload, compute modes, as far as each is needed.
 * Gives a sentence of what is not as it should be then; null when all is. Throws what the driver throws.
 */
export async function bringIntoLayout(driver: GpuDriver, layout: Layout): Promise<string | null> {
  let inventory = await driver.discover();
  if (inventory.cards.some((card) => card.layout.memory !== layout.memory)) {
    for (const { id } of inventory.cards)
      inventory = await driver.stageMemoryMode(id, layout.memory, {
        expect: inventory.generation,
      });
    inventory = await driver.reload({ expect: inventory.generation });
  }
  for (const { id } of inventory.cards)
    inventory = await driver.setComputeMode(id, layout.compute, { expect: inventory.generation });
  return failedCheck({ kind: 'layout', layout }, inventory, null);
}

async function changeAndCompare(
  driver: GpuDriver,
  change: ConformanceChange,
  expected: ExpectedOutcome,
): Promise<string | null> {
  const { generation } = await driver.discover();
  if (expected !== 'ok' && expected !== 'not-there')
    return expectError(call(driver, change, generation), [expected]);
  const after = await call(driver, change, generation);
  if (change.call !== 'set-compute') return null;
  const card = after.cards[change.card];
  const product = card?.layout.compute === change.to && card.layout.memory !== null;
  const wrong = product
    ? failedCheck(
        {
          kind: 'layout',
          layout: { compute: change.to, memory: card.layout.memory ?? 'NPS1' },
          card: change.card,
        },
        after,
        null,
      )
    : `card ${change.card} is in ${card?.layout.compute ?? 'no mode'}`;
  if (expected === 'ok') return wrong;
  return wrong === null ? `the change is shown as done: ${describe(after)}` : null;
}

async function expectError(
  work: Promise<unknown>,
  codes: readonly string[],
): Promise<string | null> {
  try {
    await work;
  } catch (error) {
    if (AimError.is(error) && codes.includes(error.code)) return null;
    const said = AimError.is(error) ? `${error.code}: ${error.message}` : String(error);
    return `it threw ${said}, not ${codes.join(' or ')}`;
  }
  return `it was done, and should have thrown ${codes.join(' or ')}`;
}

async function changeCancelled(
  subject: ConformanceSubject,
  change: ConformanceChange,
  when: 'before' | 'during',
): Promise<string | null> {
  const { driver, clock } = subject;
  const { generation } = await driver.discover();
  const controller = new AbortController();
  const reason = new Error('cancelled by the case');
  if (when === 'before') controller.abort(reason);
  const work = call(driver, change, generation, controller.signal);
  const cancel = when === 'during' ? clock.timer(100, () => controller.abort(reason)) : null;
  try {
    await work;
  } catch (error) {
    return error === reason ? null : `it threw ${String(error)}, not the reason of the signal`;
  } finally {
    cancel?.();
  }
  return 'it was done in spite of being cancelled';
}

async function changeTogether(
  driver: GpuDriver,
  changes: readonly [ConformanceChange, ConformanceChange],
): Promise<string | null> {
  const { generation } = await driver.discover();
  const ends = await Promise.allSettled(changes.map((one) => call(driver, one, generation)));
  const done = ends.filter((end) => end.status === 'fulfilled');
  const refused = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as unknown] : []));
  if (done.length !== 1) return `${done.length} of two changes from one generation were done`;
  const [error] = refused;
  return AimError.is(error) && error.kind === 'conflict'
    ? null
    : `the other one threw ${String(error)}, not a conflict`;
}

async function told(
  { clock }: ConformanceSubject,
  progress: Progress,
  index: number,
  to: string | null,
): Promise<string | null> {
  const seen = (): boolean =>
    progress.events.some(
      ({ before, after }) =>
        after.cards[index]?.layout.compute === to && before.generation !== after.generation,
    );
  for (let waited = 0; to !== null && !seen() && waited < SETTLE_MS; waited += 500)
    await clock.sleep(500);
  if (to === null)
    return progress.events.length === 0 ? null : `${progress.events.length} changes were told`;
  return seen() ? null : `no change to ${to} was told (${progress.events.length} others)`;
}

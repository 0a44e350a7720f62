/**
 * Plans a change of layouts as data: the steps in order, how long they are expected to take, and whom they hit. Pure and
 * deterministic; the order itself is next-step.ts, the arithmetic blast-radius.ts.
 */
import { createHash } from 'node:crypto';
import {
  type Assignment,
  type CardId,
  formatLayout,
  type InstanceId,
  type Inventory,
  type Layout,
  type NodeName,
  type ObservedCard,
  type PlanId,
  planId,
  type Reason,
} from '@aim-gpu/core';
import { type DesiredLayout, describeLayout } from './assert-layout.js';
import { type BlastRadius, measureBlast, type RepartitionCost, stopCause } from './blast-radius.js';
import { forecastSteps } from './forecast.js';
import { judgeLayout } from './layout-rules.js';
import { type CardLayout, type CardTarget, hiveKey, type LayoutStep } from './next-step.js';
import { HARDWARE_TIMING, type SwitchTiming } from './switch-timing.js';

/** A step with what is expected of it. */
export interface RepartitionStep {
  readonly change: LayoutStep;
  readonly expectedMs: number;
  /** Instances that must not run meanwhile. */
  readonly stops: readonly InstanceId[];
  /** Layouts of the node after it, as far as can be foreseen. */
  readonly after: readonly CardTarget[];
}

/** A change of a node's layouts, as data. Same input, same bytes, the id included. */
export interface RepartitionPlan {
  readonly apiVersion: 'aim-gpu/v1alpha1';
  readonly kind: 'RepartitionPlan';
  /** Hash of everything else in the plan. */
  readonly id: PlanId;
  readonly node: NodeName;
  /** What the plan was made against. */
  readonly generation: string;
  /** Every card of the node whose layout could be read, before and after. */
  readonly from: readonly CardTarget[];
  readonly to: readonly CardTarget[];
  /** Empty when nothing has to change. */
  readonly steps: readonly RepartitionStep[];
  readonly expectedMs: number;
  /** Every instance that must stop for it. */
  readonly stops: readonly InstanceId[];
  /** The same with causes, and the cards whose partitions go. */
  readonly blastRadius: BlastRadius;
  readonly cost: RepartitionCost;
  readonly warnings: readonly Reason[];
}

/** Options of {@link planRepartition}. */
export interface PlanRepartitionOptions {
  readonly inventory: Inventory;
  /** Cards left out keep the layout they have. */
  readonly desired: readonly DesiredLayout[];
  /** What runs now. */
  readonly assignments: readonly Assignment[];
  /** What to expect of this machine; real hardware when left out. */
  readonly timing?: SwitchTiming;
  /** What a busy process blocks: its own card (newer kernels, when left out) or every card of the node. */
  readonly busyScope?: 'card' | 'node';
}

/** A plan, or why there is none. */
export type PlanRepartitionResult =
  | { readonly ok: true; readonly plan: RepartitionPlan }
  | { readonly ok: false; readonly reasons: readonly Reason[] };

/**
 * Plans the change of a node to the desired layouts, with the fewest reloads and then the fewest steps that lead there.
 * Reasons of refusal: those of `legalLayouts`, `CARD_UNKNOWN`, `LAYOUT_UNREAD` (a card's layout could not be read),
 * `HIVE_MEMORY_CONFLICT` (cards of one hive would differ in memory mode).
 */
export function planRepartition(options: PlanRepartitionOptions): PlanRepartitionResult {
  const { inventory, desired } = options;
  const reasons = [...refuseUnknown(inventory, desired)];
  const warnings: Reason[] = [];
  const from: CardTarget[] = [];
  const to: CardTarget[] = [];
  const unread: Reason[] = [];
  for (const card of inventory.cards) {
    const current = readLayout(card);
    const wish = desired.find((entry) => entry.card === card.id)?.layout;
    if (current === null) {
      const message = `${card.id} is in ${describeLayout(card.layout)}; what cannot be read cannot be changed`;
      (wish === undefined ? unread : reasons).push({ code: 'LAYOUT_UNREAD', message });
      continue;
    }
    const wanted = wish ?? current;
    const verdict = judgeLayout(card, wanted);
    if (verdict.ok) warnings.push(...verdict.warnings);
    else reasons.push(...verdict.reasons);
    from.push({ card: card.id, hive: card.hive, layout: current });
    to.push({ card: card.id, hive: card.hive, layout: wanted });
  }
  reasons.push(...refuseSplitHives(to));
  if (reasons.length > 0) return { ok: false, reasons };

  const here = options.assignments.filter((entry) =>
    entry.shares.some((share) => share.node === inventory.node),
  );
  const steps = unroll(options, to, here);
  // A reload resets every card, so one that could not be read could not be put back.
  const reloads = steps.some((step) => step.change.kind === 'reload');
  if (reloads && unread.length > 0) return { ok: false, reasons: unread };
  const measured = measureBlast({
    node: inventory.node,
    cards: inventory.cards.map((card) => card.id),
    assignments: here,
    steps,
    busyScope: options.busyScope ?? 'card',
  });
  const plan = {
    apiVersion: 'aim-gpu/v1alpha1',
    kind: 'RepartitionPlan',
    node: inventory.node,
    generation: inventory.generation,
    from,
    to,
    steps,
    expectedMs: measured.cost.expectedMs,
    stops: measured.blastRadius.instances.map((entry) => entry.instance),
    ...measured,
    warnings,
  } as const;
  return { ok: true, plan: { ...plan, id: planId(toPlanHash(plan)) } };
}

/** The id of a plan from everything else in it, in the order it was written. */
export function toPlanHash(plan: object): string {
  return createHash('sha256').update(JSON.stringify(plan)).digest('hex').slice(0, 32);
}

/** The steps, each with the instances that must not run meanwhile. */
function unroll(
  options: PlanRepartitionOptions,
  to: readonly CardTarget[],
  here: readonly Assignment[],
): readonly RepartitionStep[] {
  const { inventory, timing = HARDWARE_TIMING, busyScope = 'card' } = options;
  return forecastSteps({ inventory, to, timing }).map(({ change, expectedMs, after }) => ({
    change,
    expectedMs,
    stops: here
      .filter((entry) => stopCause(entry, change, busyScope) !== null)
      .map((entry) => entry.instance)
      .sort(),
    after: after.filter(isRead),
  }));
}

function isRead(entry: CardLayout): entry is CardTarget {
  return entry.layout.compute !== null && entry.layout.memory !== null;
}

function readLayout(card: ObservedCard): Layout | null {
  const { compute, memory } = card.layout;
  return compute === null || memory === null ? null : { compute, memory };
}

function refuseUnknown(inventory: Inventory, desired: readonly DesiredLayout[]): readonly Reason[] {
  const known = new Set<CardId>(inventory.cards.map((card) => card.id));
  return desired
    .filter((entry) => !known.has(entry.card))
    .map((entry) => ({
      code: 'CARD_UNKNOWN',
      message: `${inventory.node} has no card ${entry.card}`,
    }));
}

function refuseSplitHives(to: readonly CardTarget[]): readonly Reason[] {
  const first = new Map<string, CardTarget>();
  return to.flatMap((entry) => {
    const key = hiveKey(entry);
    const other = first.get(key) ?? entry;
    first.set(key, other);
    if (other.layout.memory === entry.layout.memory) return [];
    const both = `${other.card} would be in ${formatLayout(other.layout)} and ${entry.card} in ${formatLayout(entry.layout)}`;
    return [
      { code: 'HIVE_MEMORY_CONFLICT', message: `cards of one hive have one memory mode: ${both}` },
    ];
  });
}

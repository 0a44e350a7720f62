/**
 * What-if: the plan as it is beside the plan with cards, models or layouts changed, and what differs. Pure; nothing is
 * applied.
 */
import {
  AimError,
  formatLayout,
  type InstanceId,
  type Layout,
  type Plan,
  type Share,
  toLayout,
  type WorkloadName,
} from '@aim-gpu/core';
import { toNewCard, toPartitions } from './card-inventory.js';
import type { FleetProblem } from './fleet-problem.js';
import { planFleet } from './plan-within-rules.js';

/** One change of the question. */
export type WhatIfChange =
  | { readonly kind: 'add-card'; readonly product: string }
  | { readonly kind: 'remove-card'; readonly card: string }
  | { readonly kind: 'remove-model'; readonly model: string }
  /** The card starts in this layout and keeps it. */
  | { readonly kind: 'layout'; readonly card: string; readonly layout: Layout };

/** How two plans differ. */
export interface PlanDifference {
  /** Instances that only the second places, and only the first. */
  readonly gained: readonly InstanceId[];
  readonly lost: readonly InstanceId[];
  /** Instances that both place, but not on the same partitions. */
  readonly moved: readonly InstanceId[];
  /** Cards whose layout differs; null where a card is not in a plan. */
  readonly layouts: readonly {
    readonly card: string;
    readonly before: string | null;
    readonly after: string | null;
  }[];
}

/** Both plans and what differs. */
export interface WhatIf {
  readonly before: Plan;
  readonly after: Plan;
  readonly difference: PlanDifference;
}

/**
 * Reads `add-card:MI300X`, `remove-card:0000:0c:00.0`, `remove-model:coder` or `layout:0000:0c:00.0=QPX/NPS1`. Throws
 * `ERR_USAGE` (invalid) for anything else.
 */
export function parseWhatIfChange(text: string): WhatIfChange {
  const at = text.indexOf(':');
  const kind = text.slice(0, Math.max(0, at));
  const value = text.slice(at + 1);
  if (value !== '') {
    if (kind === 'add-card') return { kind, product: value };
    if (kind === 'remove-card') return { kind, card: value };
    if (kind === 'remove-model') return { kind, model: value };
    const [card = '', name = ''] = value.split('=');
    const layout = toLayout(name);
    if (kind === 'layout' && layout !== null) return { kind, card, layout };
  }
  throw new AimError({
    code: 'ERR_USAGE',
    kind: 'invalid',
    message: `cannot read the change ${text}`,
    hint: 'use add-card:MI300X, remove-card:ID, remove-model:NAME or layout:ID=QPX/NPS1',
  });
}

/** Plans a fleet as it is and as it would be. Throws `ERR_DEVICE_UNKNOWN` and `ERR_MODEL_UNKNOWN` (missing). */
export function whatIf(problem: FleetProblem, changes: readonly WhatIfChange[]): WhatIf {
  const before = planFleet(problem);
  const after = planFleet(changes.reduce(applyChange, problem));
  return { before, after, difference: comparePlans(before, after) };
}

/** How two plans differ. */
export function comparePlans(before: Plan, after: Plan): PlanDifference {
  const first = placesOf(before);
  const second = placesOf(after);
  const layoutsBefore = layoutsOf(before);
  const layoutsAfter = layoutsOf(after);
  const cards = [...new Set([...layoutsBefore.keys(), ...layoutsAfter.keys()])].sort();
  return {
    gained: [...second.keys()].filter((instance) => !first.has(instance)),
    lost: [...first.keys()].filter((instance) => !second.has(instance)),
    moved: [...first].flatMap(([instance, place]) => {
      const now = second.get(instance);
      return now === undefined || now === place ? [] : [instance];
    }),
    layouts: cards.flatMap((card) => {
      const change = {
        card,
        before: layoutsBefore.get(card) ?? null,
        after: layoutsAfter.get(card) ?? null,
      };
      return change.before === change.after ? [] : [change];
    }),
  };
}

function placesOf(plan: Plan): ReadonlyMap<InstanceId, string> {
  const write = ({ node, card, partition }: Share): string => `${node} ${card}/${partition}`;
  return new Map(
    plan.placements.map(({ instance, shares }) => [instance, shares.map(write).join(',')]),
  );
}

function layoutsOf(plan: Plan): ReadonlyMap<string, string> {
  return new Map(
    plan.nodes.flatMap((node) =>
      node.cards.map((card) => [`${node.name} ${card.id}`, formatLayout(card.layout)] as const),
    ),
  );
}

function applyChange(problem: FleetProblem, change: WhatIfChange): FleetProblem {
  switch (change.kind) {
    case 'add-card':
      return addCard(problem, change.product);
    case 'remove-card':
      requireCard(problem, change.card);
      return {
        ...problem,
        inventories: problem.inventories.map((inventory) => ({
          ...inventory,
          cards: inventory.cards.filter(({ id }) => id !== change.card),
        })),
      };
    case 'remove-model':
      return removeModel(problem, change.model);
    case 'layout':
      requireCard(problem, change.card);
      return setLayout(problem, change.card, change.layout);
  }
}

function addCard(problem: FleetProblem, product: string): FleetProblem {
  const [first, ...rest] = problem.inventories;
  if (first === undefined) return problem;
  const card = toNewCard(product, first.cards.length, first.node);
  // A card that joins a hive takes its memory mode; a hive of its own is the simpler truth for a question.
  const joined = { ...card, hive: first.cards[0]?.hive ?? card.hive };
  return { ...problem, inventories: [{ ...first, cards: [...first.cards, joined] }, ...rest] };
}

function removeModel(problem: FleetProblem, model: string): FleetProblem {
  const left = problem.fleet.models.filter(({ name }) => name !== model);
  if (left.length === problem.fleet.models.length) throw unknownModel(problem, model);
  return { ...problem, fleet: { ...problem.fleet, models: left } };
}

function setLayout(problem: FleetProblem, card: string, layout: Layout): FleetProblem {
  return {
    ...problem,
    inventories: problem.inventories.map((inventory) => ({
      ...inventory,
      cards: inventory.cards.map((observed) =>
        observed.id !== card
          ? observed
          : {
              ...observed,
              layout,
              partitions: toPartitions(observed.product ?? '', layout),
              writable: false,
            },
      ),
    })),
  };
}

function requireCard(problem: FleetProblem, card: string): void {
  const known = problem.inventories.flatMap(({ cards }) => cards.map(({ id }) => id as string));
  if (known.includes(card)) return;
  throw new AimError({
    code: 'ERR_DEVICE_UNKNOWN',
    kind: 'missing',
    message: `there is no card ${card}`,
    hint: `there are ${known.join(', ') || 'none'}`,
  });
}

/** The error for a model that the fleet does not have. */
export function unknownModel(problem: FleetProblem, model: WorkloadName | string): AimError {
  const names = problem.fleet.models.map(({ name }) => name).join(', ');
  return new AimError({
    code: 'ERR_MODEL_UNKNOWN',
    kind: 'missing',
    message: `the fleet has no model ${model}`,
    hint: `it has ${names}`,
  });
}

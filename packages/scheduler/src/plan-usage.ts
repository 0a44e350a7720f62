/**
 * What a plan uses of each card, node and the fleet, and what that costs: memory handed out, idle and held back, cards
 * with nobody on them, and prices where the fleet file names them. Pure.
 */
import type { Plan, PlannedCard, WorkloadName } from '@aim-gpu/core';
import type { FleetProblem } from './fleet-problem.js';

/** Use of some cards. */
export interface Usage {
  readonly cards: number;
  /** Cards with nobody on them. */
  readonly emptyCards: number;
  readonly memoryBytes: number;
  /** Handed out as shares. */
  readonly sharedBytes: number;
  /** Handed out ÷ there; 0 when there is none. */
  readonly ratio: number;
  /** Price of the cards for one hour; null when one of them has no price. */
  readonly pricePerHour: number | null;
}

/** Use of a plan on each level, and what each model costs. */
export interface PlanUsage {
  readonly fleet: Usage;
  readonly nodes: readonly (Usage & { readonly node: string })[];
  readonly cards: readonly (Usage & { readonly node: string; readonly card: string })[];
  readonly workloads: readonly WorkloadUsage[];
}

/** Use of one workload's instances, all together. */
export interface WorkloadUsage {
  readonly workload: WorkloadName;
  readonly instances: number;
  readonly sharedBytes: number;
  /**
   * Its part of the prices: of each card what it has of the memory that is handed out there, so that whoever has a card
   * alone pays it whole and prices of all workloads add up to those of all cards in use. Null when a card has no price.
   */
  readonly pricePerHour: number | null;
}

/** Reports the use of a plan. */
export function reportUsage(problem: FleetProblem, plan: Plan): PlanUsage {
  const prices = new Map(
    problem.fleet.nodes.map(({ name, cardPricePerHour = null }) => [name, cardPricePerHour]),
  );
  const cards = plan.nodes.flatMap((node) =>
    node.cards.map((card) => ({
      node: node.name as string,
      card: card.id as string,
      ...usageOf(card, prices.get(node.name) ?? null),
    })),
  );
  const nodes = plan.nodes.map(({ name }) => ({
    node: name as string,
    ...add(cards.filter((card) => card.node === name)),
  }));
  return { fleet: add(cards), nodes, cards, workloads: workloadsOf(plan, cards) };
}

function usageOf(card: PlannedCard, pricePerHour: number | null): Usage {
  const memoryBytes = card.partitions.reduce((sum, partition) => sum + partition.memoryBytes, 0);
  const sharedBytes = card.partitions
    .flatMap(({ shares }) => shares)
    .reduce((sum, share) => sum + share.memoryBytes, 0);
  return {
    cards: 1,
    emptyCards: sharedBytes === 0 ? 1 : 0,
    memoryBytes,
    sharedBytes,
    ratio: ratioOf(sharedBytes, memoryBytes),
    pricePerHour,
  };
}

function add(parts: readonly Usage[]): Usage {
  const sum = (of: (part: Usage) => number): number =>
    parts.reduce((total, part) => total + of(part), 0);
  const memoryBytes = sum((part) => part.memoryBytes);
  const sharedBytes = sum((part) => part.sharedBytes);
  return {
    cards: sum((part) => part.cards),
    emptyCards: sum((part) => part.emptyCards),
    memoryBytes,
    sharedBytes,
    ratio: ratioOf(sharedBytes, memoryBytes),
    pricePerHour: parts.every(({ pricePerHour }) => pricePerHour !== null)
      ? sum(({ pricePerHour }) => pricePerHour ?? 0)
      : null,
  };
}

function workloadsOf(
  plan: Plan,
  cards: readonly (Usage & { readonly node: string; readonly card: string })[],
): readonly WorkloadUsage[] {
  const usage = new Map(cards.map((card) => [`${card.node} ${card.card}`, card]));
  const totals = new Map<WorkloadName, WorkloadUsage>();
  for (const { workload, shares } of plan.placements) {
    const before = totals.get(workload);
    let sharedBytes = before?.sharedBytes ?? 0;
    let pricePerHour = before === undefined ? 0 : before.pricePerHour;
    for (const share of shares) {
      const card = usage.get(`${share.node} ${share.card}`);
      sharedBytes += share.memoryBytes;
      const price = card?.pricePerHour ?? null;
      const part = ratioOf(share.memoryBytes, card?.sharedBytes ?? 0);
      pricePerHour = price === null || pricePerHour === null ? null : pricePerHour + price * part;
    }
    const instances = (before?.instances ?? 0) + 1;
    totals.set(workload, { workload, instances, sharedBytes, pricePerHour });
  }
  return [...totals.values()];
}

function ratioOf(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}

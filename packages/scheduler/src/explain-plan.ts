/**
 * A plan for people: rows of a table and the sentences around it. Text only; colours and widths are the caller's.
 */
import { formatBytes, formatLayout, formatMs, type Placement, type Plan } from '@aim-gpu/core';

/** One row of a plan's table. */
export interface PlanRow {
  readonly instance: string;
  /** `node card/partition`, several for a tensor-parallel instance. */
  readonly place: string;
  readonly layout: string;
  readonly memory: string;
  readonly ttft: string;
  readonly tpot: string;
  /** TPOT against the same share with idle neighbours. */
  readonly slowdown: string;
  readonly why: string;
}

/** A plan as text. */
export interface PlanExplanation {
  readonly rows: readonly PlanRow[];
  /** One sentence for each layout change, in the order they happen; empty when nothing changes. */
  readonly changes: readonly string[];
  /** One sentence for each workload without a place, with the fix. */
  readonly unplaced: readonly string[];
}

/** Explains a plan: a row for each placement with its reasons, and sentences for changes and what has no place. */
export function explainPlan(plan: Plan): PlanExplanation {
  return {
    rows: plan.placements.map((placement) => toRow(plan, placement)),
    changes: plan.changes.map((change) => {
      const what =
        change.card === null
          ? `all cards of ${change.node}`
          : `card ${change.card} of ${change.node}`;
      const stops =
        change.stops.length === 0 ? 'stops nothing' : `stops ${change.stops.join(', ')}`;
      return `${what}: ${formatLayout(change.from)} to ${formatLayout(change.to)}, about ${formatMs(change.expectedMs)}, ${stops}`;
    }),
    unplaced: plan.unplaced.flatMap(({ workload, replicas, reasons }) =>
      reasons.map(
        ({ message, fix }) => `${workload} (${replicas} of its replicas): ${message}; ${fix}`,
      ),
    ),
  };
}

function toRow(plan: Plan, placement: Placement): PlanRow {
  const { predicted, shares } = placement;
  const slowdown = predicted.aloneTpotMs === 0 ? 0 : predicted.tpotMs / predicted.aloneTpotMs - 1;
  return {
    instance: placement.instance,
    place: shares.map((share) => `${share.card}/${share.partition}`).join(', '),
    layout: [...new Set(shares.map((share) => layoutAt(plan, share.node, share.card)))].join(', '),
    memory: [...new Set(shares.map((share) => formatBytes(share.memoryBytes)))].join(', '),
    ttft: formatMs(predicted.ttftMs),
    tpot: formatMs(predicted.tpotMs),
    slowdown: `${(slowdown * 100).toFixed(1)} %`,
    why: placement.reasons.map((reason) => reason.message).join('; '),
  };
}

function layoutAt(plan: Plan, node: string, card: string): string {
  const found = plan.nodes
    .find((entry) => entry.name === node)
    ?.cards.find((entry) => entry.id === card);
  return found === undefined ? '?' : formatLayout(found.layout);
}

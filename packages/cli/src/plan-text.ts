/**
 * A plan as the text that `plan` and `up` print: cards, a row for each instance with its reason, changes, leftovers.
 */
import { formatBytes, formatLayout, type Plan } from '@aim-gpu/core';
import { explainPlan } from '@aim-gpu/scheduler';
import { formatTable } from './table.js';

/** Formats a plan for people. */
export function planToText(plan: Plan): string {
  const { rows, changes, unplaced } = explainPlan(plan);
  const parts = [`plan ${plan.id}`, cardLines(plan).join('\n')];
  if (changes.length > 0) parts.push(`changes\n${changes.map((line) => `  ${line}`).join('\n')}`);
  if (rows.length > 0) {
    parts.push(
      formatTable(
        ['INSTANCE', 'CARD/PARTITION', 'LAYOUT', 'MEMORY', 'TTFT', 'TPOT', 'SLOWDOWN'],
        rows.map((row) => [
          row.instance,
          row.place,
          row.layout,
          row.memory,
          row.ttft,
          row.tpot,
          row.slowdown,
        ]),
      ),
      rows.map((row) => `  ${row.instance}: ${row.why}`).join('\n'),
    );
  }
  if (unplaced.length > 0)
    parts.push(`no place for\n${unplaced.map((line) => `  ${line}`).join('\n')}`);
  return parts.join('\n\n');
}

function cardLines(plan: Plan): readonly string[] {
  return plan.nodes.flatMap((node) =>
    node.cards.map((card) => {
      const used = card.partitions.filter((partition) => partition.shares.length > 0).length;
      const each = card.partitions[0];
      const size =
        each === undefined
          ? ''
          : ` of ${formatBytes(each.memoryBytes)} and ${each.computeUnits} CUs`;
      return `${node.name} ${card.id} ${card.product ?? 'unknown product'}: ${formatLayout(card.layout)}, ${card.partitions.length} partitions${size}, ${used} in use`;
    }),
  );
}

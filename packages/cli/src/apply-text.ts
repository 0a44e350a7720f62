/**
 * What `apply` changed, or would change, as text for 80 columns.
 */
import type {
  AppliedFleet,
  ApplyDiff,
  InstanceChange,
  SettingChange,
  StatusDocument,
} from '@aim-gpu/agent';
import { formatBytes, formatLayout, formatMs } from '@aim-gpu/core';
import { formatTable } from './table.js';

/** Formats it for people. */
export function applyToText(applied: AppliedFleet, status: StatusDocument | null): string {
  const { diff, dryRun } = applied;
  const changed = diff.instances.filter(({ change }) => change !== 'keep');
  const parts: string[] = [`plan ${diff.plan}${dryRun ? ' (dry run: nothing was changed)' : ''}`];
  for (const { node, card, from, to, expectedMs, stops } of diff.layouts) {
    const stopped = stops.length === 0 ? '' : `, stops ${stops.join(', ')}`;
    parts.push(
      `${card ?? node}: ${formatLayout(from)} to ${formatLayout(to)}, about ${formatMs(expectedMs)}${stopped}`,
    );
  }
  if (changed.length > 0) {
    parts.push(
      formatTable(
        ['INSTANCE', 'CHANGE', 'FROM', 'TO', 'MEMORY'],
        changed.map((each) => [
          each.instance,
          each.downtime ? `${each.change}, stops` : each.change,
          placesOf(each.from),
          placesOf(each.to),
          each.to === null ? '' : formatBytes(each.to[0]?.memoryBytes ?? 0),
        ]),
      ),
    );
  }
  parts.push(...diff.settings.map(settingToText), summaryOf(diff));
  if (status !== null) parts.push(`the node is ${status.state}`);
  return parts.join('\n');
}

function summaryOf({ instances, settings }: ApplyDiff): string {
  const kept = instances.filter(({ change }) => change === 'keep').length;
  if (kept === instances.length && settings.length === 0) return 'nothing to change';
  const untouched = `${kept} of ${instances.length} instances untouched`;
  return settings.length === 0
    ? untouched
    : `${untouched}; other settings hold from the next request on`;
}

/** `tenant team-a: limits, bands`. */
function settingToText({ subject, change, keys }: SettingChange): string {
  return `${subject}: ${change === 'change' ? keys.join(', ') : SETTING_CHANGES[change]}`;
}

const SETTING_CHANGES = { add: 'new', remove: 'gone' } as const;

/** `0c/2`: the card's bus and the partition, short enough for a narrow terminal. */
function placesOf(shares: InstanceChange['from']): string {
  if (shares === null) return '';
  return shares.map(({ card, partition }) => `${shortCard(card)}/${partition}`).join(' ');
}

/** A PCI address without domain and function: `0c:00`. */
export function shortCard(card: string): string {
  return card.replace(/^0000:/, '').replace(/\.0$/, '');
}

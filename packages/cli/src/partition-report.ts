/**
 * What the `partition` commands say: a plan, and how a change ended; lines for people, one document with `--json`.
 */
import {
  AimError,
  type DeviceHolder,
  formatLayout,
  type GpuDriver,
  type Reason,
} from '@aim-gpu/core';
import {
  explainTargets,
  type RepartitionPlan,
  type RepartitionResult,
} from '@aim-gpu/partitioning';
import type { CommandContext } from './context.js';

/** Shows a plan, with who holds its cards now. */
export async function showPlan(
  context: CommandContext,
  driver: GpuDriver,
  plan: RepartitionPlan,
): Promise<void> {
  const holders = new Map<number, DeviceHolder>();
  for (const card of plan.blastRadius.cards)
    for (const holder of await driver.holders(card)) holders.set(holder.pid, holder);
  if (context.json) {
    context.print({ ...plan, holders: [...holders.values()] });
    return;
  }
  const seconds = (ms: number): string => `${Math.ceil(ms / 1000)} s`;
  const lines = plan.steps.map(({ change: step, expectedMs }, index) => {
    const what =
      step.kind === 'reload'
        ? 'reload the driver of the node'
        : step.kind === 'set-compute'
          ? `set ${step.card} to ${step.to}`
          : `ask for ${step.to} on the hive of ${step.card}`;
    return `${index + 1}. ${what} (about ${seconds(expectedMs)})`;
  });
  context.say(
    [
      ...(lines.length === 0 ? ['nothing has to change'] : explainTargets(plan)),
      ...lines,
      ...(lines.length === 0 ? [] : [`in all about ${seconds(plan.expectedMs)}`]),
      ...[...holders.values()].map(
        ({ pid, command, device }) => `holds it now: pid ${pid} ${command ?? ''} (${device})`,
      ),
      ...plan.warnings.map(toLine),
    ].join('\n'),
  );
}

/** Shows how a change ended. Throws what stopped it, with what to type next. */
export function showResult(
  context: CommandContext,
  result: RepartitionResult,
  plan: string,
): number {
  if (!result.ok) {
    const { error, outcome, reasons } = result;
    const next = outcome === 'degraded' ? result.nextCommand : null;
    throw new AimError({
      code: error.code,
      kind: error.kind,
      message: `${outcome}: ${reasons.map((reason) => reason.message).join('; ')}`,
      details: { ...error.details, plan, outcome, reasons },
      hint: next === null ? 'the layouts are those before it' : `type \`${next}\``,
      cause: error,
    });
  }
  const layouts = result.inventory.cards.map(({ id, layout: { compute, memory } }) => ({
    id,
    layout: compute === null || memory === null ? null : { compute, memory },
  }));
  if (context.json) {
    const { outcome, tookMs, warnings } = result;
    context.print({ plan, outcome, tookMs, warnings, cards: layouts });
    return 0;
  }
  context.say(
    [
      `${result.outcome} in ${Math.round(result.tookMs / 100) / 10} s`,
      ...layouts.map(
        ({ id, layout }) => `${id} ${layout === null ? 'unread' : formatLayout(layout)}`,
      ),
      ...result.warnings.map(toLine),
    ].join('\n'),
  );
  return 0;
}

function toLine({ code, message }: Reason): string {
  return `${message} [${code}]`;
}

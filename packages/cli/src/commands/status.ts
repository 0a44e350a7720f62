/**
 * `aim-gpu status`: what the running agent of this state directory does.
 */
import { createControlClient, type StatusDocument } from '@aim-gpu/agent';
import { formatBytes, formatMs } from '@aim-gpu/core';
import type { CommandContext } from '../context.js';
import { formatTable } from '../table.js';

/** Runs `status`. Throws `ERR_AGENT_NOT_RUNNING` (missing) when no agent runs. */
export async function status(context: CommandContext): Promise<number> {
  const document = await createControlClient({ socketPath: context.socketPath }).status();
  if (context.json) context.print(document);
  else context.say(statusToText(document, context.clock.epochMs()));
  return 0;
}

/** Formats a status for 80 columns. */
export function statusToText(document: StatusDocument, nowMs: number): string {
  const parts = [
    `node ${document.node} (${document.driver}): ${document.state} for ${formatMs(nowMs - document.since)}, fleet ${document.fleet}`,
  ];
  if (document.gateway !== null)
    parts.push(`gateway ${document.gateway.url}  admin ${document.gateway.adminUrl}`);
  parts.push(
    formatTable(
      ['CARD', 'LAYOUT', 'PARTITION', 'MEMORY', 'RESERVED', 'INSTANCES'],
      document.cards.flatMap((card) =>
        card.partitions.map((partition) => [
          card.id,
          `${card.layout.compute ?? '?'}/${card.layout.memory ?? '?'}`,
          String(partition.index),
          partition.memoryBytes === null ? '?' : formatBytes(partition.memoryBytes),
          formatBytes(partition.reservedBytes),
          partition.shares.map((share) => share.instance).join(', '),
        ]),
      ),
    ),
    formatTable(
      ['INSTANCE', 'BAND', 'ENGINE', 'STATE', 'FOR', 'RESTARTS', 'PORT'],
      document.instances.map((instance) => [
        instance.instance,
        instance.band,
        instance.engine,
        instance.draining ? 'draining' : instance.state,
        formatMs(nowMs - instance.since),
        String(instance.restarts),
        instance.endpoint === null ? '' : String(instance.endpoint.port),
      ]),
    ),
  );
  for (const { instance, trouble } of document.instances) {
    if (trouble !== null) parts.push(`${instance}: ${trouble.message}\n  hint: ${trouble.hint}`);
  }
  for (const { message } of document.degradations) parts.push(`degraded: ${message}`);
  for (const { workload, reasons } of document.unplaced) {
    for (const { message, fix } of reasons)
      parts.push(`${workload} has no place: ${message}\n  hint: ${fix}`);
  }
  return parts.join('\n\n');
}

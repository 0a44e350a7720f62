/**
 * `aim-gpu gpus [F]`: the cards there are, as read back (CONTRACT §4).
 */
import {
  formatBytes,
  type Inventory,
  nodeName,
  type ObservedCard,
  type Problem,
} from '@aim-gpu/core';
import { createSimulatedDriver, readSimulatedNodes } from '@aim-gpu/driver-simulated';
import type { CommandContext } from '../context.js';
import { type DriverOptions, openNode, openRocm } from '../drivers.js';
import { type FleetOptions, readFleet, toDriver } from '../fleet-input.js';
import { noCards } from '../no-cards.js';
import { formatTable } from '../table.js';

/** Runs `gpus`. Throws `ERR_DEVICE_UNKNOWN` (missing) when there is no card. */
export async function gpus(
  context: CommandContext,
  file: string | undefined,
  options: FleetOptions & DriverOptions,
): Promise<number> {
  const inventories = await discover(context, file, options);
  const cards = inventories.flatMap((inventory) => inventory.cards);
  const problems = inventories.flatMap((inventory) => inventory.problems);
  if (cards.length === 0) throw noCards(problems);
  if (context.json) context.print({ cards: cards.map(toCardDocument), problems });
  else context.say(toText(cards, problems));
  return 0;
}

async function discover(
  context: CommandContext,
  file: string | undefined,
  options: FleetOptions & DriverOptions,
): Promise<readonly Inventory[]> {
  if (file !== undefined) {
    const { fleet } = await readFleet(context, file, options);
    return Promise.all(
      fleet.nodes.map((node) => openNode(context, node, options).driver.discover()),
    );
  }
  const driver = toDriver(options.driver ?? 'rocm');
  const here = nodeName(context.io.hostName);
  if (driver === 'rocm') return [await openRocm(context, here, options).discover()];
  const nodes = await readSimulatedNodes(context.store);
  const { store, clock, rng } = context;
  return Promise.all(
    nodes.map((node) =>
      createSimulatedDriver({ node, store, clock, rng, timing: 'short' }).discover(),
    ),
  );
}

/** Exactly the fields of CONTRACT §4. */
function toCardDocument(card: ObservedCard): Record<string, unknown> {
  const { id, product, hive, numaNode, memoryBytes, layout, partitions } = card;
  return { id, product, hive, numaNode, memoryBytes, layout, partitions };
}

function toText(cards: readonly ObservedCard[], problems: readonly Problem[]): string {
  const unknown = '?';
  const rows = cards.flatMap((card) =>
    card.partitions.map((partition) => [
      card.id,
      card.product ?? unknown,
      `${card.layout.compute ?? unknown}/${card.layout.memory ?? unknown}`,
      String(partition.index),
      String(partition.xcds),
      String(partition.computeUnits),
      partition.memoryBytes === null ? unknown : formatBytes(partition.memoryBytes),
      partition.renderMinor === null ? unknown : `renderD${partition.renderMinor}`,
    ]),
  );
  const head = ['CARD', 'PRODUCT', 'LAYOUT', 'PARTITION', 'XCDS', 'CUS', 'MEMORY', 'RENDER NODE'];
  const notes = problems.map((problem) => `problem: ${problem.message} (${problem.where})`);
  return [formatTable(head, rows), ...notes].join('\n');
}

/**
 * `aim-gpu partitions list` and `watch`: the partitions of every card with their capacity, use and separation, and
 * every change of them as it happens. Reads only.
 */
import {
  formatBytes,
  formatLayout,
  type GpuDriver,
  type Inventory,
  nodeName,
  type ObservedCard,
} from '@aim-gpu/core';
import type { CardHealth } from '@aim-gpu/driver-rocm';
import { createSimulatedDriver, readSimulatedNodes } from '@aim-gpu/driver-simulated';
import { createClosers } from '../closers.js';
import type { CommandContext } from '../context.js';
import { type DriverOptions, openNode, openRocm } from '../drivers.js';
import { type FleetOptions, readFleet, toDriver } from '../fleet-input.js';
import { noCards } from '../no-cards.js';
import { formatTable } from '../table.js';

/** Options of both. */
export interface PartitionsOptions extends FleetOptions, DriverOptions {
  /** Ends a watch after so many changes. */
  readonly count?: number;
}

interface Opened {
  readonly driver: GpuDriver;
  readonly health: () => Promise<readonly CardHealth[]>;
}

/** Runs `partitions list`. Throws as `gpus` does when there is no card. */
export async function listPartitions(
  context: CommandContext,
  file: string | undefined,
  options: PartitionsOptions,
): Promise<number> {
  const nodes = await Promise.all(
    (await openNodes(context, file, options)).map(async ({ driver, health }) => ({
      inventory: await driver.discover(),
      health: await health(),
    })),
  );
  const cards = nodes.flatMap(({ inventory, health }) =>
    inventory.cards.map((card) => ({
      card,
      health: health.find((entry) => entry.card === card.id) ?? null,
    })),
  );
  const problems = nodes.flatMap(({ inventory }) => inventory.problems);
  if (cards.length === 0) throw noCards(problems);
  if (context.json) {
    context.print({ cards: cards.map(({ card, health }) => toDocument(card, health)), problems });
  } else {
    context.say(toTable(cards));
    for (const problem of problems) context.say(`problem: ${problem.message} (${problem.where})`);
  }
  return 0;
}

/** Runs `partitions watch` until it is stopped or has told `count` changes. */
export async function watchPartitions(
  context: CommandContext,
  file: string | undefined,
  options: PartitionsOptions,
): Promise<number> {
  const closers = createClosers();
  let left = options.count ?? Number.POSITIVE_INFINITY;
  try {
    const opened = await openNodes(context, file, options);
    await new Promise<void>((resolve) => {
      closers.add(context.io.onStopSignal(() => resolve()));
      for (const { driver } of opened) {
        closers.add(
          driver.watch(({ before, after }) => {
            if (left <= 0) return;
            left -= 1;
            tell(context, before, after);
            if (left <= 0) resolve();
          }),
        );
      }
    });
  } finally {
    await closers.closeAll();
  }
  return 0;
}

async function openNodes(
  context: CommandContext,
  file: string | undefined,
  options: PartitionsOptions,
): Promise<readonly Opened[]> {
  const none = (): Promise<readonly CardHealth[]> => Promise.resolve([]);
  if (file !== undefined) {
    const { fleet } = await readFleet(context, file, options);
    return fleet.nodes.map((node) => {
      const { driver, rocm } = openNode(context, node, options);
      return { driver, health: rocm === null ? none : () => rocm.health() };
    });
  }
  if (toDriver(options.driver ?? 'rocm') === 'rocm') {
    const driver = openRocm(context, nodeName(context.io.hostName), options);
    return [{ driver, health: () => driver.health() }];
  }
  const { store, clock, rng } = context;
  const nodes = await readSimulatedNodes(store);
  return nodes.map((node) => ({
    driver: createSimulatedDriver({ node, store, clock, rng, timing: 'short' }),
    health: none,
  }));
}

function toDocument(card: ObservedCard, health: CardHealth | null): Record<string, unknown> {
  const { id, product, layout, offered, writable, partitions } = card;
  return {
    id,
    product,
    layout,
    offered: offered?.map(formatLayout) ?? null,
    writable,
    resetting: health?.resetting ?? null,
    memoryUsedBytes: health?.memoryUsedBytes ?? null,
    memoryAllocation: health?.memoryAllocation ?? null,
    ras: health?.ras ?? null,
    partitions: partitions.map((partition) => {
      const own = health?.partitions.find((entry) => entry.index === partition.index);
      return {
        ...partition,
        memoryUsedBytes: own?.memoryUsedBytes ?? null,
        isolated: own?.isolated ?? null,
      };
    }),
  };
}

function toTable(
  cards: readonly { readonly card: ObservedCard; readonly health: CardHealth | null }[],
): string {
  const orUnknown = (value: string | number | null | undefined): string => String(value ?? '?');
  const toSize = (value: number | null | undefined): string =>
    value == null ? '?' : formatBytes(value);
  const rows = cards.flatMap(({ card, health }) =>
    card.partitions.map((partition) => {
      const own = health?.partitions.find((entry) => entry.index === partition.index);
      return [
        `${card.id}/${partition.index}`,
        `${orUnknown(card.layout.compute)}/${orUnknown(card.layout.memory)}`,
        String(partition.computeUnits),
        toSize(partition.memoryBytes),
        toSize(own?.memoryUsedBytes),
        own?.isolated == null ? '?' : own.isolated ? 'yes' : 'no',
        partition.renderMinor === null ? '?' : `renderD${partition.renderMinor}`,
        orUnknown(partition.uuid),
      ];
    }),
  );
  return formatTable(
    ['PARTITION', 'LAYOUT', 'CUS', 'MEMORY', 'USED', 'ISOLATED', 'RENDER NODE', 'UUID'],
    rows,
  );
}

/** One line for each card that differs; with `--json` one object a line. */
function tell(context: CommandContext, before: Inventory, after: Inventory): void {
  const ids = new Set([...before.cards, ...after.cards].map((card) => card.id));
  for (const id of ids) {
    const old = before.cards.find((card) => card.id === id);
    const now = after.cards.find((card) => card.id === id);
    if (JSON.stringify(old) === JSON.stringify(now)) continue;
    if (context.json) {
      context.print({
        event: 'changed',
        node: after.node,
        card: id,
        before: toState(old),
        after: toState(now),
      });
    } else {
      context.say(`${after.node} ${id}: ${describe(old)} -> ${describe(now)}`);
    }
  }
}

function toState(card: ObservedCard | undefined): Record<string, unknown> | null {
  return card === undefined ? null : { layout: card.layout, partitions: card.partitions.length };
}

function describe(card: ObservedCard | undefined): string {
  if (card === undefined) return 'absent';
  const { compute, memory } = card.layout;
  return `${compute ?? '?'}/${memory ?? '?'} with ${card.partitions.length} partitions`;
}

/**
 * Watching: an idle look reads little, and no change is missed.
 */
import { type InventoryEvent, nodeName } from '@aim-gpu/core';
import { createManualClock, type ManualClock } from '@aim-gpu/core/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createHostFiles, createRocmDriver, type RocmDriver } from '../src/index.js';
import { driverDirectory, writeFullNode } from './support/full-node.js';
import { createTree, type TestTree } from './support/trees.js';

const TOPOLOGY = 'sys/class/kfd/kfd/topology';

let tree: TestTree;
let clock: ManualClock;
let driver: RocmDriver;
let reads = 0;
let events: InventoryEvent[] = [];

beforeEach(() => {
  tree = createTree();
  writeFullNode(tree);
  clock = createManualClock();
  const files = createHostFiles(tree.root);
  reads = 0;
  events = [];
  driver = createRocmDriver({
    node: nodeName('n'),
    clock,
    files: {
      ...files,
      read: (file) => {
        reads += 1;
        return files.read(file);
      },
    },
  });
});
afterEach(async () => {
  await driver.close();
  tree.remove();
});

/** Lets one look happen and end; gives how many files it read. */
async function look(): Promise<number> {
  const before = reads;
  await clock.advance(1000);
  await expect.poll(() => clock.pending(), { timeout: 5000, interval: 2 }).toBe(1);
  return reads - before;
}

async function start(): Promise<void> {
  driver.watch((event) => void events.push(event));
  await expect.poll(() => clock.pending(), { timeout: 5000, interval: 2 }).toBe(1);
  // Looks stay full while devices may still be appearing.
  for (let turn = 0; turn < 6; turn += 1) await look();
}

it('reads a file for the topology and two for each card while nothing changes', async () => {
  await start();
  for (let turn = 0; turn < 10; turn += 1) expect(await look()).toBe(1 + 2 * 8);
  expect(events).toEqual([]);
});

it('reads everything again once a minute: a generation number need not tell everything', async () => {
  await start();
  tree.write(`${driverDirectory(0)}/numa_node`, '7\n');
  const counts: number[] = [];
  for (let turn = 0; turn < 60; turn += 1) counts.push(await look());
  expect(counts.filter((count) => count > 100)).toHaveLength(1);
  expect(events).toHaveLength(1);
  expect(events[0]?.after.cards[0]?.numaNode).toBe(7);
});

it('sees a mode change, and the partitions that appear after it', async () => {
  await start();
  tree.write(`${driverDirectory(0)}/current_compute_partition`, 'SPX\n');
  await look();
  expect(events.map((event) => event.after.cards[0]?.layout.compute)).toEqual(['SPX']);
  // Two seconds later, and without the kernel raising its number.
  await look();
  tree.write(
    `${TOPOLOGY}/nodes/2/mem_banks/0/properties`,
    'heap_type 1\nsize_in_bytes 206141652992\n',
  );
  await look();
  expect(events.at(-1)?.after.cards[0]?.partitions[0]?.memoryBytes).toBe(206_141_652_992);
});

it('sees a change of the topology by its number', async () => {
  await start();
  tree.removeFile(`${TOPOLOGY}/nodes/65/properties`);
  expect(await look()).toBeLessThan(20);
  expect(events).toEqual([]);
  tree.write(`${TOPOLOGY}/generation_id`, '3\n');
  expect(await look()).toBeGreaterThan(100);
  expect(events.map((event) => event.after.cards.at(-1)?.partitions.length)).toEqual([7]);
});

it('reads everything at each look where there is no such number', async () => {
  tree.removeFile(`${TOPOLOGY}/generation_id`);
  await start();
  expect(await look()).toBeGreaterThan(100);
  tree.removeFile(`${TOPOLOGY}/nodes/65/properties`);
  await look();
  expect(events).toHaveLength(1);
});

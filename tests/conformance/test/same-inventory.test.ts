/**
 * What the driver of real cards discovers in a materialized tree is what the simulated driver says of the same machine:
 * every product in every layout, kernels and odd machines included.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  cardId,
  createRng,
  formatLayout,
  hiveId,
  type Inventory,
  type Layout,
  nodeName,
} from '@aim-gpu/core';
import { PRODUCTS } from '@aim-gpu/core/products';
import { bringIntoLayout, createMemoryStateStore } from '@aim-gpu/core/testing';
import { createRocmDriver } from '@aim-gpu/driver-rocm';
import {
  createSimulatedDriver,
  type KernelVariant,
  ROCM_6_KERNEL,
} from '@aim-gpu/driver-simulated';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createIdleClock } from './support/idle-clock.js';

const NODE = nodeName('node-a');

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'aim-gpu-same-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** Both inventories of one machine in a layout, without what names the driver and its own way of counting. */
async function readBoth(options: {
  readonly product: string;
  readonly layout: Layout;
  readonly cards: number;
  readonly kernel?: Partial<KernelVariant>;
}): Promise<{ readonly simulated: Inventory; readonly rocm: Inventory }> {
  const clock = createIdleClock();
  const driver = createSimulatedDriver({
    node: NODE,
    cards: Array.from({ length: options.cards }, (_, index) => ({
      id: cardId(`0000:${(0x0c + index * 16).toString(16).padStart(2, '0')}:00.0`),
      product: options.product,
      hive: hiveId('0xd000000000000001'),
    })),
    store: createMemoryStateStore(),
    clock,
    rng: createRng(5),
    timing: 'short',
    ...(options.kernel === undefined ? {} : { kernel: options.kernel }),
  });
  try {
    await bringIntoLayout(driver, options.layout);
    await driver.materialize(directory, { pollMs: 10_000 });
    const rocm = createRocmDriver({ node: NODE, clock, root: directory });
    return { simulated: await driver.discover(), rocm: await rocm.discover() };
  } finally {
    await driver.close();
    clock.stop();
  }
}

describe.each(PRODUCTS.map((product) => [product.name, product] as const))('%s', (_, product) => {
  it.each(product.layouts.map((layout) => [formatLayout(layout), layout] as const))(
    'in %s',
    async (_name, { compute, memory }) => {
      const layout = { compute, memory };
      const { simulated, rocm } = await readBoth({ product: product.name, layout, cards: 2 });
      expect(simulated.cards[0]?.layout).toEqual(layout);
      expect(rocm.cards).toEqual(simulated.cards);
      expect(rocm.problems).toEqual([]);
    },
  );
});

describe('odd machines', () => {
  it('ROCm 6: partitions in the PCI function, UUIDs of cards, all modes listed', async () => {
    const { simulated, rocm } = await readBoth({
      product: 'MI300X',
      layout: { compute: 'CPX', memory: 'NPS4' },
      cards: 2,
      kernel: ROCM_6_KERNEL,
    });
    expect(rocm.cards).toEqual(simulated.cards);
    expect(rocm.cards[0]?.partitions.map((partition) => partition.uuid)).toEqual(
      Array.from({ length: 8 }, () => null),
    );
  });

  it('a management controller that takes the last render minor: one partition is missing', async () => {
    const { simulated, rocm } = await readBoth({
      product: 'MI300X',
      layout: { compute: 'CPX', memory: 'NPS1' },
      cards: 8,
      kernel: { bmc: true },
    });
    expect(rocm.cards).toEqual(simulated.cards);
    expect(rocm.cards.flatMap((card) => card.partitions)).toHaveLength(63);
    const codes = (inventory: Inventory): readonly string[] =>
      inventory.problems.map((problem) => problem.code);
    expect(codes(rocm)).toEqual(codes(simulated));
  });
});

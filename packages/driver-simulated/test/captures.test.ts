/**
 * The machine against what real ones showed, as facts with their public source, so that its rules are not checked
 * against themselves.
 */
import { type ComputeMode, cardId, formatLayout, hiveId } from '@aim-gpu/core';
import { describe, expect, it } from 'vitest';
import { CARD, createBench, someSimulatedCards } from './simulated-machine.js';

const MIB = 2 ** 20;

describe('captures', () => {
  it.each<[string, ComputeMode, number, number, string]>([
    ['MI300X', 'SPX', 196_592 * MIB, 304, 'ROCm/k8s-gpu-dra-driver docs/demo.md'],
    ['MI300X', 'DPX', 98_296 * MIB, 152, 'ROCm/k8s-gpu-dra-driver PR 21'],
    ['MI300X', 'CPX', 25_767_706_624, 38, 'ROCm/legacy-rocm-build 4750, KFD mem_banks'],
    ['MI355X', 'SPX', 294_896 * MIB, 256, 'fishman/amd-device-plugin testdata'],
  ])(
    '%s in %s has %i bytes and %i compute units (%s)',
    async (product, mode, memoryBytes, computeUnits) => {
      const { driver, run } = createBench({ cards: someSimulatedCards(1, product) });
      const { generation } = await driver.discover();
      const { cards } = await run(driver.setComputeMode(CARD, mode, { expect: generation }));
      for (const partition of cards[0]?.partitions ?? []) {
        expect(partition).toMatchObject({ memoryBytes, computeUnits });
      }
    },
  );

  it.each([
    // sysfs of an MI300X in SPX/NPS1 (ROCm/k8s-device-plugin 157).
    ['MI300X', ['SPX', 'DPX', 'QPX', 'CPX'], ['NPS1', 'NPS2', 'NPS4']],
    // amd-smi partition on 8x MI355X (fishman/amd-device-plugin testdata).
    ['MI355X', ['SPX', 'DPX', 'QPX', 'CPX'], ['NPS1', 'NPS2']],
    // amd-smi partition on 4x MI300A: six XCCs, no memory modes to choose (ROCm/legacy-rocm-build 4477).
    ['MI300A', ['SPX', 'TPX', 'CPX'], ['NPS1']],
  ])('%s offers %j and %j', async (product, computes, memories) => {
    const { driver } = createBench({ cards: someSimulatedCards(1, product) });
    const offered = (await driver.discover()).cards[0]?.offered ?? [];
    expect([...new Set(offered.map((layout) => layout.compute))].sort()).toEqual(
      [...computes].sort(),
    );
    expect([...new Set(offered.map((layout) => layout.memory))].sort()).toEqual(memories);
  });

  it('an MI355X offers CPX in NPS1 only, unless its firmware is another', async () => {
    const cards = someSimulatedCards(1, 'MI355X');
    const names = async (firmware: 'captured' | 'extended'): Promise<readonly string[]> => {
      const { cards: seen } = await createBench({ cards, kernel: { firmware } }).driver.discover();
      return (seen[0]?.offered ?? []).map(formatLayout).filter((name) => name.startsWith('CPX'));
    };
    expect(await names('captured')).toEqual(['CPX/NPS1']);
    expect(await names('extended')).toEqual(['CPX/NPS1', 'CPX/NPS2']);
  });

  it('numbers the render nodes of 8 cards in CPX from 128 to 191', async () => {
    // KFD tree of 8x MI300X in CPX (ROCm/k8s-device-plugin testdata): 128 and up, eight a card, two CPU nodes first.
    const { driver, run } = createBench({ cards: someSimulatedCards(8) });
    let inventory = await driver.discover();
    for (const card of inventory.cards) {
      inventory = await run(
        driver.setComputeMode(card.id, 'CPX', { expect: inventory.generation }),
      );
    }
    const partitions = inventory.cards.flatMap((card) => card.partitions);
    expect(partitions.map((partition) => partition.renderMinor)).toEqual(
      Array.from({ length: 64 }, (_, n) => 128 + n),
    );
    expect(partitions.map((partition) => partition.kfdNode)).toEqual(
      Array.from({ length: 64 }, (_, n) => 2 + n),
    );
  });

  it('refuses SPX while in NPS4 and says that memory has to be changed first', async () => {
    // Status 55 of amd-smi on 8x MI300X (AMD partitioning guide, troubleshooting).
    const cards = [{ id: cardId('0000:11:00.0'), product: 'MI300X', hive: hiveId('hive0') }];
    const { driver, run } = createBench({ cards });
    const start = await driver.discover();
    const id = cardId('0000:11:00.0');
    const staged = await driver.stageMemoryMode(id, 'NPS4', { expect: start.generation });
    const nps4 = await run(driver.reload({ expect: staged.generation }));
    const call = driver.setComputeMode(id, 'SPX', { expect: nps4.generation });
    await expect(call).rejects.toMatchObject({ code: 'ERR_LAYOUT_UNSUPPORTED', kind: 'refused' });
  });
});

import { describe, expect, it } from 'vitest';
import { cardId, GIB, mib } from '../../src/index.js';
import {
  aCard,
  aDemand,
  aFleet,
  anAssignment,
  anInventory,
  aPlacement,
  aPlan,
  aTenant,
  aWorkload,
  someCards,
} from '../../src/testing/index.js';

describe('builders', () => {
  it('keep a demand consistent when a component is overridden', () => {
    const small = aDemand();
    const large = aDemand({ memory: { kvBytes: mib(16_384) }, ranks: 2 });
    expect(large.memory.totalBytes - small.memory.totalBytes).toBe(8 * GIB);
    expect(large.memory.minimumBytes).toBe(small.memory.minimumBytes);
    expect(large.ranks).toBe(2);
    expect(small.kv.bytesPerToken).toBe(small.step.kvBytesPerToken);
    expect(aDemand({ memory: { totalBytes: mib(1) } }).memory.totalBytes).toBe(mib(1));
    expect(aDemand({ step: { experts: 8 }, kv: { blockSize: 32 } })).toMatchObject({
      step: { experts: 8, layers: 32 },
      kv: { blockSize: 32, bytesPerToken: 131_072 },
    });
  });

  it('make a card that follows from product and layout', () => {
    const whole = aCard();
    expect(whole.partitions).toHaveLength(1);
    const split = aCard({ product: 'MI355X', layout: { compute: 'CPX', memory: 'NPS1' } });
    expect(split.partitions).toHaveLength(8);
    expect(split.partitions[0]).toMatchObject({ computeUnits: 32, memoryBytes: mib(36_862) });
    expect(split.offered).toHaveLength(5);
  });

  it('make a card without partitions when product or layout is unknown', () => {
    expect(aCard({ product: null })).toMatchObject({ memoryBytes: null, partitions: [] });
    expect(aCard({ product: null }).offered).toBeNull();
    expect(aCard({ layout: { compute: 'CPX', memory: null } }).partitions).toEqual([]);
  });

  it('number cards of one node as the kernel does', () => {
    const cards = someCards(2, { layout: { compute: 'CPX', memory: 'NPS4' } });
    expect(cards.map((card) => card.id)).toEqual([cardId('0000:0c:00.0'), cardId('0000:1c:00.0')]);
    const minors = cards.flatMap((card) => card.partitions.map((part) => part.renderMinor));
    expect(minors).toEqual(Array.from({ length: 16 }, (_, index) => 128 + index));
    expect(cards[1]?.partitions[0]?.kfdNode).toBe(10);
  });

  it('agree with each other', () => {
    const fleet = aFleet();
    const inventory = anInventory();
    const plan = aPlan();
    expect(fleet.nodes[0]?.name).toBe(inventory.node);
    expect(fleet.nodes[0]?.cards[0]?.id).toBe(inventory.cards[0]?.id);
    expect(plan.placements[0]).toEqual(aPlacement());
    expect(plan.observed.generation).toBe(inventory.generation);
    expect(plan.placements[0]?.workload).toBe(fleet.models[0]?.name);
    expect(anAssignment().shares).toEqual(aPlacement().shares);
    expect(anAssignment().plan).toBe(plan.id);
    expect(plan.nodes[0]?.cards[0]?.partitions[0]?.memoryBytes).toBe(
      inventory.cards[0]?.partitions[0]?.memoryBytes,
    );
  });

  it('replace whole fields by overrides', () => {
    expect(aWorkload({ band: 'critical' }).band).toBe('critical');
    expect(aTenant({ weight: 3 }).weight).toBe(3);
  });
});

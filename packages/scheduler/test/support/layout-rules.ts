/**
 * The rules of a layout problem, written against its own words and not against the solver's model, and small random
 * problems over mixed fleets to try them on. Used by the gate's property test and by the soak.
 */
import { BANDS, formatLayout, GIB, type Rng } from '@aim-gpu/core';
import { findProduct, partitionGeometry } from '@aim-gpu/core/products';
import type { LayoutCard, LayoutInstance, LayoutProblem, LayoutSolution } from '../../src/index.js';

/** Every rule that a solution breaks, in words; empty when it keeps them all. */
export function brokenRules(problem: LayoutProblem, solution: LayoutSolution): readonly string[] {
  const broken: string[] = [];
  const { layouts, places } = solution;
  const cards = new Map(problem.cards.map((card, index) => [card.id, { card, index }]));
  const instances = new Map(problem.instances.map((instance) => [instance.id, instance]));
  const optionOf = (id: string): LayoutCard['options'][number] | undefined => {
    const home = cards.get(id);
    return home?.card.options[layouts[home.index] ?? -1];
  };
  const modes = new Map<string, string>();
  for (const { id, hive } of problem.cards) {
    const memory = optionOf(id)?.layout.split('/')[1];
    if (memory === undefined) broken.push(`${id} has no layout`);
    else if ((modes.get(hive) ?? memory) !== memory) broken.push(`${hive} mixes memory modes`);
    else modes.set(hive, memory);
  }
  const used = new Map<string, { bytes: number; busy: number; who: LayoutInstance[] }>();
  const onCard = new Map<string, Set<LayoutInstance>>();
  if (new Set(places.map(({ instance }) => instance)).size !== places.length)
    broken.push('an instance has two places');
  for (const { instance: id, shares } of places) {
    const instance = instances.get(id);
    if (instance === undefined) {
      broken.push(`${id} is unknown`);
      continue;
    }
    const distinct = new Set(shares.map(({ card, partition }) => `${card}/${partition}`));
    if (shares.length !== instance.ranks || distinct.size !== instance.ranks)
      broken.push(`${id} has ${distinct.size} partitions for ${instance.ranks} ranks`);
    const homes = [...new Set(shares.map(({ card }) => card))];
    const hives = new Set(homes.map((home) => cards.get(home)?.card.hive));
    const whole = homes.every((home) => optionOf(home)?.partitions === 1);
    if (homes.length > 1 && (hives.size > 1 || !whole)) broken.push(`${id} is split wrongly`);
    for (const { card, partition } of shares) {
      const option = optionOf(card);
      const home = cards.get(card)?.card;
      if (option === undefined || home === undefined || partition >= option.partitions) {
        broken.push(`${id} is on no partition`);
        continue;
      }
      if (instance.products.length > 0 && !instance.products.includes(home.product))
        broken.push(`${id} is on ${home.product}`);
      const { pin } = instance;
      if (pin !== null && (pin.card !== card || (pin.partition ?? partition) !== partition))
        broken.push(`${id} is not where it is pinned`);
      const entry = used.get(`${card}/${partition}`) ?? { bytes: 0, busy: 0, who: [] };
      entry.bytes += instance.bytes;
      entry.busy += Math.min(1, instance.busy / option.speed);
      entry.who.push(instance);
      used.set(`${card}/${partition}`, entry);
      onCard.set(card, (onCard.get(card) ?? new Set()).add(instance));
      if (entry.bytes > option.usableBytes) broken.push(`${card}/${partition} is oversubscribed`);
      if (entry.busy > 1 + 1e-6) broken.push(`${card}/${partition} is overloaded`);
    }
  }
  for (const [place, { who }] of used) {
    if (who.length > 1 && who.some(({ exclusive }) => exclusive)) broken.push(`${place} is shared`);
  }
  for (const [card, who] of onCard) {
    const ids = new Set([...who].map(({ id }) => id));
    if ([...who].some(({ apart }) => apart.some((id) => ids.has(id))))
      broken.push(`${card} has two that are to be apart`);
  }
  return broken;
}

const PRODUCTS = ['MI300X', 'MI300X', 'MI325X', 'MI355X', 'MI300A', 'MI308X'] as const;

/** A problem of up to four cards of mixed products and up to ten instances with every kind of wish. */
export function smallProblem(rng: Rng): LayoutProblem {
  const below = (limit: number): number => Math.floor(rng.next() * limit);
  const cards = Array.from({ length: 1 + below(4) }, (_, index) => toCard(index, below));
  const count = 1 + below(10);
  const instances = Array.from({ length: count }, (_, index): LayoutInstance => {
    const home = cards[below(cards.length)];
    const partitions = home?.options[home.current ?? 0]?.partitions ?? 1;
    const dice = below(12);
    return {
      id: `i-${index}`,
      band: BANDS[below(BANDS.length)] ?? 'standard',
      value: 1,
      ranks: dice === 0 ? 2 : dice === 1 ? 4 : 1,
      bytes: Math.round(GIB * 250 ** rng.next()),
      busy: 0.001 * 500 ** rng.next(),
      tpotMs: 1 + 20 * rng.next(),
      targetTpotMs: below(2) === 0 ? null : 10 + 100 * rng.next(),
      exclusive: below(6) === 0,
      products: below(8) === 0 ? [PRODUCTS[below(PRODUCTS.length)] ?? 'MI300X'] : [],
      apart: index > 0 && below(6) === 0 ? [`i-${below(index)}`] : [],
      pin:
        below(8) === 0
          ? { card: home?.id ?? '', partition: below(2) === 0 ? null : below(partitions) }
          : null,
      assigned:
        dice > 1 && below(4) === 0
          ? { card: home?.id ?? '', partitions: [below(partitions)] }
          : null,
    };
  });
  return {
    name: 'small',
    preset: below(2) === 0 ? 'pack' : 'latency',
    slowdown: 0.3 * rng.next(),
    cards,
    instances,
  };
}

function toCard(index: number, below: (limit: number) => number): LayoutCard {
  const product = findProduct(PRODUCTS[below(PRODUCTS.length)] ?? 'MI300X');
  if (product === null) throw new Error('unknown product');
  return {
    id: `card-${index}`,
    hive: `hive-${product.name}-${below(2)}`,
    product: product.name,
    options: product.layouts.map((layout) => {
      const partitions = partitionGeometry(product, layout);
      return {
        layout: formatLayout(layout),
        partitions: partitions.length,
        usableBytes: Math.floor((partitions[0]?.memoryBytes ?? 0) * 0.98),
        speed: 1 / partitions.length,
        changeMs: 4000,
      };
    }),
    current: 0,
  };
}

/**
 * Fleets with a planted perfect solution: every card is cut into a layout and every partition filled to the last byte,
 * then the instances are shuffled. So everything can be placed, and a planner that leaves something over has left
 * memory unused.
 *
 * One card in four stays whole, is cut in two, in four, in eight. A partition holds one exclusive instance (one in
 * ten), an instance of a tensor-parallel pair with its twin on the next partition (one in ten), or two to six instances
 * that split it at random. At most one instance of a partition is urgent, with what its neighbours may be busy shared
 * out among them; otherwise they are busy for at most 80 % together.
 */
import { type Band, createRng, formatLayout, type Rng } from '@aim-gpu/core';
import { findProduct, type Product, partitionGeometry } from '@aim-gpu/core/products';
import type { LayoutInstance, LayoutProblem } from '../../src/index.js';

const RESERVE = 0.02;
const SLOWDOWN = 0.1;
const CUTS = ['SPX', 'DPX', 'QPX', 'CPX'] as const;
const CALM_BANDS: readonly Band[] = ['standard', 'batch', 'best_effort'];

/** A problem and how many instances its planted solution places: all of them. */
export interface PlantedProblem {
  readonly problem: LayoutProblem;
  readonly planted: number;
}

/** Makes a planted problem of MI300X cards, eight to a hive, with about five instances a card. */
export function generatePlanted(cardCount: number, seed: number): PlantedProblem {
  const product = findProduct('MI300X');
  if (product === null) throw new Error('MI300X is not in the catalogue');
  const rng = createRng(seed);
  const layouts = product.layouts.filter((layout) => layout.memory === 'NPS1');
  const options = layouts.map((layout, index) => {
    const partitions = partitionGeometry(product, layout);
    return {
      layout: formatLayout(layout),
      partitions: partitions.length,
      usableBytes: Math.floor((partitions[0]?.memoryBytes ?? 0) * (1 - RESERVE)),
      speed: 1 / partitions.length,
      changeMs: index === 0 ? 0 : 4_000,
    };
  });
  const instances: LayoutInstance[] = [];
  const cards = Array.from({ length: cardCount }, (_, index) => ({
    id: `card-${index}`,
    hive: `hive-${Math.floor(index / 8)}`,
    product: product.name,
    options,
    current: 0,
  }));
  for (let card = 0; card < cardCount; card += 1) fillCard(product, rng, instances);
  const shuffled = shuffle(instances, rng).map((instance, index) => ({
    ...instance,
    id: `i-${index}`,
  }));
  const problem: LayoutProblem = {
    name: `planted-${cardCount}-seed-${seed}`,
    preset: 'pack',
    slowdown: SLOWDOWN,
    cards,
    instances: shuffled,
  };
  return { problem, planted: shuffled.length };
}

function fillCard(product: Product, rng: Rng, instances: LayoutInstance[]): void {
  const below = (limit: number): number => Math.floor(rng.next() * limit);
  const compute = CUTS[below(CUTS.length)] ?? 'SPX';
  const partitions = partitionGeometry(product, { compute, memory: 'NPS1' });
  const bytes = Math.floor((partitions[0]?.memoryBytes ?? 0) * (1 - RESERVE));
  const speed = 1 / partitions.length;
  for (let partition = 0; partition < partitions.length; partition += 1) {
    const dice = rng.next();
    if (dice < 0.1) {
      instances.push(
        anInstance({ band: 'interactive', bytes, busy: 0.3 * speed, exclusive: true }),
      );
      continue;
    }
    if (dice < 0.2 && partition + 1 < partitions.length) {
      instances.push(anInstance({ band: 'standard', bytes, busy: 0.5 * speed, ranks: 2 }));
      partition += 1;
      continue;
    }
    // Fewer on smaller partitions, so that a card has about five.
    const count = Math.max(1, Math.round((2 + below(5)) / Math.sqrt(partitions.length * 1.4)));
    const urgent = rng.next() < 0.4;
    for (const [index, part] of splitAtRandom(bytes, count, rng).entries()) {
      const isUrgent = urgent && index === 0;
      const calm = urgent ? ((SLOWDOWN / 0.9) * 0.95 * speed) / count : (0.8 * speed) / count;
      instances.push(
        anInstance({
          band: isUrgent
            ? below(2) === 0
              ? 'critical'
              : 'interactive'
            : (CALM_BANDS[below(3)] ?? 'batch'),
          bytes: part,
          busy: isUrgent ? 0.3 * speed : calm * (0.5 + 0.5 * rng.next()),
        }),
      );
    }
  }
}

function anInstance(
  given: Pick<LayoutInstance, 'band' | 'bytes' | 'busy'> & Partial<LayoutInstance>,
): LayoutInstance {
  return {
    id: '',
    value: 1,
    ranks: 1,
    tpotMs: 5,
    targetTpotMs: null,
    exclusive: false,
    products: [],
    apart: [],
    pin: null,
    assigned: null,
    ...given,
  };
}

/** Positive whole parts of a total, each at least a fortieth of it. */
function splitAtRandom(total: number, count: number, rng: Rng): readonly number[] {
  const weights = Array.from({ length: count }, () => 0.1 + rng.next());
  const sum = weights.reduce((all, weight) => all + weight, 0);
  const parts = weights.map((weight) => Math.floor((total * weight) / sum));
  const rest = total - parts.reduce((all, part) => all + part, 0);
  return parts.map((part, index) => (index === 0 ? part + rest : part));
}

function shuffle<T>(items: readonly T[], rng: Rng): readonly T[] {
  const list = [...items];
  for (let last = list.length - 1; last > 0; last -= 1) {
    const other = Math.floor(rng.next() * (last + 1));
    const kept = list[last] as T;
    list[last] = list[other] as T;
    list[other] = kept;
  }
  return list;
}

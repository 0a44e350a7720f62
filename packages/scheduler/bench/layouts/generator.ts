/**
 * Seeded layout problems up to 16 cards and 40 instances, shaped like real fleets: products and layouts from the
 * catalogue, sizes from 1B to 70B models, urgent and idle ones, some exclusive, tensor-parallel, apart, pinned or
 * already running, and demand from 35 % to 85 % of the memory, on up to 4 cards to 110 %.
 */
import { BANDS, createRng, formatLayout, GIB, type Rng } from '@aim-gpu/core';
import { findProduct, partitionGeometry } from '@aim-gpu/core/products';
import type { LayoutCard, LayoutInstance, LayoutOption, LayoutProblem } from '../../src/index.js';

const RESERVE = 0.02;
/** Expected length of a compute switch and of a driver reload on hardware, rounded. */
const COMPUTE_SWITCH_MS = 4_000;
const RELOAD_MS = 90_000;

/** Makes one problem; the same seed gives the same problem. */
export function generateLayoutProblem(seed: number): LayoutProblem {
  const rng = createRng(seed * 7919 + 17);
  const below = (limit: number): number => Math.floor(rng.next() * limit);
  const cardCount = 1 + below(16);
  const instanceCount = Math.max(2, Math.min(40, Math.round(cardCount * (1.5 + 3 * rng.next()))));
  const mixed = rng.next() < 0.3;
  const cards = Array.from({ length: cardCount }, (_, index) => {
    const product = mixed && index >= cardCount / 2 ? 'MI355X' : 'MI300X';
    return toCard(index, product, below);
  });
  const memory = cards.reduce((sum, { options }) => {
    const whole = options[0];
    return sum + (whole === undefined ? 0 : whole.usableBytes * whole.partitions);
  }, 0);
  const most = cardCount <= 4 ? 1.1 : 0.85;
  const demand = memory * (0.35 + (most - 0.35) * rng.next());
  const drafts = Array.from({ length: instanceCount }, (_, index) => toInstance(index, rng));
  const asked = drafts.reduce((sum, { bytes, ranks }) => sum + bytes * ranks, 0);
  const scaled = drafts.map((draft) => {
    const bytes = Math.round(
      Math.min(170 * GIB, Math.max(2 * GIB, (draft.bytes * demand) / asked)),
    );
    // Three fifths of it are weights, read once a token at about 60 % of 5.3 TB/s.
    return { ...draft, bytes, tpotMs: (0.6 * bytes) / (0.6 * 5.3e9) };
  });
  const instances = withCompany(
    rng.next() < 0.4 && cardCount <= 6 ? withAssignments(scaled, cards) : scaled,
    rng,
  );
  return {
    name: `seed-${seed}`,
    preset: rng.next() < 0.5 ? 'pack' : 'latency',
    slowdown: 0.1,
    cards,
    instances,
  };
}

function toCard(index: number, productName: string, below: (limit: number) => number): LayoutCard {
  const product = findProduct(productName);
  if (product === null) throw new Error(`unknown product ${productName}`);
  const current = below(3) === 0 ? below(product.layouts.length) : 0;
  // A hive has one memory mode, so only layouts of NPS1 are taken as current ones.
  const now = product.layouts[current]?.memory === 'NPS1' ? current : 0;
  return {
    id: `card-${index}`,
    hive: `hive-${Math.floor(index / 8)}`,
    product: productName,
    options: product.layouts.map((layout, at): LayoutOption => {
      const partitions = partitionGeometry(product, layout);
      return {
        layout: formatLayout(layout),
        partitions: partitions.length,
        usableBytes: Math.floor((partitions[0]?.memoryBytes ?? 0) * (1 - RESERVE)),
        speed: 1 / partitions.length,
        changeMs: at === now ? 0 : layout.memory === 'NPS1' ? COMPUTE_SWITCH_MS : RELOAD_MS,
      };
    }),
    current: now,
  };
}

function toInstance(index: number, rng: Rng): LayoutInstance {
  const dice = rng.next();
  const target = rng.next() < 0.4 ? null : 20 + 180 * rng.next();
  return {
    id: `i-${index}`,
    band: BANDS[Math.floor(rng.next() * BANDS.length)] ?? 'standard',
    value: 1,
    ranks: dice < 0.06 ? 2 : dice < 0.08 ? 4 : 1,
    bytes: GIB * 4 * 40 ** rng.next(),
    busy: 0.002 * 60 ** rng.next(),
    tpotMs: 1,
    targetTpotMs: target,
    exclusive: rng.next() < 0.1,
    products: [],
    apart: [],
    pin: null,
    assigned: null,
  };
}

/** Some run already: first fit on the present layouts, in order. */
function withAssignments(
  instances: readonly LayoutInstance[],
  cards: readonly LayoutCard[],
): readonly LayoutInstance[] {
  const free = cards.map(({ options, current }) => {
    const option = options[current ?? 0];
    return Array.from({ length: option?.partitions ?? 0 }, () => option?.usableBytes ?? 0);
  });
  return instances.map((instance, index) => {
    if (index % 2 === 1 || instance.ranks > 1 || instance.exclusive) return instance;
    for (const [card, partitions] of free.entries()) {
      const partition = partitions.findIndex((left) => left >= instance.bytes);
      if (partition < 0) continue;
      partitions[partition] = (partitions[partition] ?? 0) - instance.bytes;
      return { ...instance, assigned: { card: cards[card]?.id ?? '', partitions: [partition] } };
    }
    return instance;
  });
}

function withCompany(instances: readonly LayoutInstance[], rng: Rng): readonly LayoutInstance[] {
  return instances.map((instance, index) => {
    if (index === 0 || rng.next() > 0.1) return instance;
    const other = instances[Math.floor(rng.next() * index)];
    return other === undefined ? instance : { ...instance, apart: [other.id] };
  });
}

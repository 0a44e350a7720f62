/**
 * The distribution of demands that a fleet is likely to bring: its own models, each as often as it has instances. The
 * best guess where no history of requests to place is kept.
 */

import type { CardChoice } from './card-choice.js';
import { createDemandDistribution, type DemandDistribution } from './fragmentation.js';
import { toUnitDemand } from './place-score.js';
import type { Candidate } from './problem.js';

/** The distribution of a fleet's own demands over its cards; units are bytes, kinds are products. */
export function toFleetDistribution(
  candidates: readonly Candidate[],
  cards: readonly CardChoice[],
): DemandDistribution {
  const capacityByKind = new Map<string, number>();
  for (const { product, observed } of cards) {
    const own = observed.memoryBytes ?? product.memoryBytes;
    capacityByKind.set(product.name, (capacityByKind.get(product.name) ?? 0) + own);
  }
  return createDemandDistribution({
    demands: candidates.map((candidate) => ({ ...toUnitDemand(candidate), weight: 1 })),
    capacityByKind,
    coverage: 1,
  });
}

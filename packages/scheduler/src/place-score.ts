/**
 * Place score: how good a permitted place is for one instance, by wishes and by the policy's preset. Lower is better.
 * Pure. What a whole packing is worth is packing-worth.ts's business.
 */
import type { Objective } from '@aim-gpu/core';
import type { Slot } from './card-choice.js';
import { freeBytesOf, type Occupancy } from './filters.js';
import type { DemandDistribution, UnitDemand } from './fragmentation.js';
import { FRAGMENTATION_WEIGHTS, fragmentationScore } from './fragmentation-score.js';
import { type Candidate, isAssignedTo } from './problem.js';

/** What a place is judged by. */
export interface PlaceToScore {
  readonly candidate: Candidate;
  readonly slots: readonly Slot[];
  readonly occupancy: Occupancy;
  readonly objective: Objective;
  /** All slots of a slot's card in the layout being filled. */
  readonly cardSlots: (slot: Slot) => readonly Slot[];
  /** What is likely to come: the fleet's own models. */
  readonly distribution: DemandDistribution;
  /** Predicted TPOT of the candidate alone on these slots. */
  readonly ownTpotMs: () => number;
}

// A wish outweighs any preset score, which lies between 0 and 1; staying put outweighs a wish.
const STAY_WEIGHT = 100;
const NEAR_WEIGHT = 10;

/** Scores one place for one instance: stay where it runs, then near those it wants, then by preset. */
export function placementScore(place: PlaceToScore): number {
  const stays = place.slots.every((slot) => isAssignedTo(place.candidate, slot)) ? 0 : STAY_WEIGHT;
  return stays + NEAR_WEIGHT * missingNeighbours(place) + presetPlaceScore(place);
}

function missingNeighbours({ candidate, slots, occupancy }: PlaceToScore): number {
  const wanted = candidate.workload.placement.near;
  const names = new Set(
    slots.flatMap((slot) => occupancy.onCard(slot).map((other) => other.workload.name)),
  );
  const wantsUs = slots.some((slot) =>
    occupancy
      .onCard(slot)
      .some((other) => other.workload.placement.near.includes(candidate.workload.name)),
  );
  return wanted.filter((name) => !names.has(name)).length + (wantsUs ? 0 : 0.5);
}

function presetPlaceScore(place: PlaceToScore): number {
  const { candidate, slots, occupancy, objective } = place;
  const free = slots.reduce((sum, slot) => sum + freeBytesOf(slot, occupancy), 0);
  const usable = slots.reduce((sum, slot) => sum + slot.usableBytes, 0);
  const leftover = (free - candidate.shareBytes * slots.length) / Math.max(1, usable);
  switch (objective) {
    case 'pack':
    case 'stable':
      // An exclusive instance takes what it gets, so the smallest partition; others where least is lost to those who
      // come after, and of equals the best fit.
      return candidate.workload.placement.exclusive
        ? usable / 1e15
        : 0.5 + 0.1 * lostShare(place) + 0.001 * leftover;
    case 'spread':
      return 1 - free / Math.max(1, usable);
    case 'latency': {
      const tpotMs = place.ownTpotMs();
      const company = slots.reduce((sum, slot) => sum + occupancy.onSlot(slot).length, 0);
      return (company + tpotMs / (tpotMs + 1000)) / (company + 1);
    }
  }
}

/** The fragmentation score of the place as a share of the card's memory: between about -1 and 1. */
function lostShare({ candidate, slots, occupancy, cardSlots, distribution }: PlaceToScore): number {
  const [first] = slots;
  if (first === undefined) return 0;
  const all = cardSlots(first);
  const free = all.map((slot) => freeBytesOf(slot, occupancy));
  const capacity = all.reduce((sum, slot) => sum + slot.usableBytes, 0);
  const lost = fragmentationScore(distribution, {
    group: {
      kind: first.card.product.name,
      free,
      sideFree: Number.POSITIVE_INFINITY,
      unitCapacity: first.usableBytes,
    },
    demand: toUnitDemand(candidate),
    units: slots.flatMap((slot) => {
      const at = all.indexOf(slot);
      return at < 0 ? [] : [at];
    }),
  });
  // Each term is at most the card's capacity times its weight.
  const most = capacity * (1 + FRAGMENTATION_WEIGHTS.worth);
  return Math.min(1, Math.max(-1, lost / Math.max(1, most)));
}

/** An instance as a demand on the partitions of a card. */
export function toUnitDemand({ shareBytes, demand, workload }: Candidate): UnitDemand {
  const { products } = workload.placement;
  return {
    amount: shareBytes,
    units: demand.ranks,
    side: 0,
    kinds: products.length === 0 ? null : products,
  };
}

/**
 * Plug-ins: constraints and scores of the caller's own. Owns their interfaces and what they are shown; they are asked
 * after the built-in filters and beside the preset's score, and must be pure, or plans stop being repeatable.
 */
import type { Demand, Layout, Reason, Workload, WorkloadName } from '@aim-gpu/core';
import type { Slot } from './card-choice.js';
import { freeBytesOf, type Occupancy } from './filters.js';
import type { Candidate } from './problem.js';

/** One place for one instance, as plug-ins see it: a partition of a card in a layout, and who is there so far. */
export interface PlaceView {
  readonly workload: Workload;
  readonly demand: Demand;
  readonly node: string;
  readonly card: string;
  readonly product: string;
  readonly layout: Layout;
  readonly partition: number;
  /** Memory that may be handed out in all, and what of it is left. */
  readonly usableBytes: number;
  readonly freeBytes: number;
  readonly computeUnits: number;
  /** Models of the instances on the partition and on the card, once for each instance. */
  readonly onPartition: readonly WorkloadName[];
  readonly onCard: readonly WorkloadName[];
}

/** A constraint: places that it rejects are not used. */
export interface FilterPlugin {
  /** Becomes the code of the reason. */
  readonly name: string;
  /** Null when the instance may go there, else why not. */
  reject(place: PlaceView): string | null;
}

/** A preference among places that are permitted. */
export interface ScorePlugin {
  readonly name: string;
  /** How much it counts: the preset's score has weight 1, a wish to be near 10, staying put 100. */
  readonly weight: number;
  /** From 0, best, to 1, worst. */
  score(place: PlaceView): number;
}

/** Plug-ins of a plan. */
export interface Plugins {
  readonly filters?: readonly FilterPlugin[];
  readonly scores?: readonly ScorePlugin[];
}

/** The first reason of a plug-in against a place, or null. */
export function pluginRejection(
  { filters = [] }: Plugins,
  candidate: Candidate,
  slot: Slot,
  occupancy: Occupancy,
): Reason | null {
  if (filters.length === 0) return null;
  const view = toPlaceView(candidate, slot, occupancy);
  for (const filter of filters) {
    const message = filter.reject(view);
    if (message !== null) return { code: filter.name, message };
  }
  return null;
}

/** Weighted sum of the plug-ins' scores, mean over the partitions of a place. */
export function pluginScore(
  { scores = [] }: Plugins,
  candidate: Candidate,
  slots: readonly Slot[],
  occupancy: Occupancy,
): number {
  if (scores.length === 0) return 0;
  let sum = 0;
  for (const slot of slots) {
    const view = toPlaceView(candidate, slot, occupancy);
    for (const plugin of scores)
      sum += plugin.weight * Math.min(1, Math.max(0, plugin.score(view)));
  }
  return sum / Math.max(1, slots.length);
}

function toPlaceView({ workload, demand }: Candidate, slot: Slot, occupancy: Occupancy): PlaceView {
  return {
    workload,
    demand,
    node: slot.card.node,
    card: slot.card.id,
    product: slot.card.product.name,
    layout: slot.layout,
    partition: slot.index,
    usableBytes: slot.usableBytes,
    freeBytes: freeBytesOf(slot, occupancy),
    computeUnits: slot.computeUnits,
    onPartition: occupancy.onSlot(slot).map((other) => other.workload.name),
    onCard: occupancy.onCard(slot).map((other) => other.workload.name),
  };
}

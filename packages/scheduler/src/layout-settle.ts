/**
 * Settling: a search starts anew from what the plan leads to, as the next plan will. What it finds to be worth more
 * there becomes the plan at once, so that planning again, with nothing else changed, changes nothing. Owns the
 * translation to the state after a plan and back; searches nothing itself.
 */
import { type Assignment, type Layout, planId, sameLayout } from '@aim-gpu/core';
import { type CardChoice, type Slot, toSlots } from './card-choice.js';
import type { Packing } from './packing.js';
import type { Candidate, Resident, SearchProblem } from './problem.js';

/** Starts from what a plan leads to; two are rare, more have not been seen. */
const MOST_STARTS = 6;

/** A packing and what it leads to. */
interface Found {
  readonly packing: Packing;
}

/** How to search, and to judge a packing that was found from another state. */
export interface SettleBy<T extends Found> {
  search(problem: SearchProblem): T;
  /** The packing as a result for the problem; null when the policy does not allow it or it is not worth more. */
  better(packing: Packing, than: T): T | null;
}

/** The first result, or a better one, from which the search finds nothing better. */
export function settle<T extends Found>(problem: SearchProblem, by: SettleBy<T>): T {
  let found = by.search(problem);
  for (let start = 0; start < MOST_STARTS; start += 1) {
    const after = toStateAfter(problem, found.packing);
    if (after === null) return found;
    const { packing } = by.search(after);
    if (toStateAfter(after, packing) === null) return found;
    const better = by.better(fromStateAfter(problem, packing), found);
    if (better === null) return found;
    found = better;
  }
  return found;
}

/** The problem once a packing has been applied; null when that changes nothing. */
function toStateAfter(problem: SearchProblem, packing: Packing): SearchProblem | null {
  const places = new Map(packing.residents.map((one) => [one.candidate.instance, one]));
  const unchanged =
    problem.cards.every((card, index) =>
      sameLayout(packing.layouts[index] ?? card.current, card.current),
    ) &&
    problem.candidates.every((candidate) => {
      const resident = places.get(candidate.instance);
      return resident === undefined ? candidate.assigned === null : isWhereItRuns(resident);
    });
  if (unchanged) return null;
  const slotsOf = new Map<CardChoice, Slot[]>();
  for (const slot of packing.slots) {
    const list = slotsOf.get(slot.card);
    if (list === undefined) slotsOf.set(slot.card, [slot]);
    else list.push(slot);
  }
  const cards = problem.cards.map((card, index) =>
    withLayout(card, packing.layouts[index] ?? card.current, slotsOf.get(card) ?? []),
  );
  const observed = new Map(cards.map((card) => [`${card.node} ${card.id}`, card.observed]));
  const candidates = problem.candidates.map((candidate) => {
    const resident = places.get(candidate.instance);
    return { ...candidate, assigned: resident === undefined ? null : toAssignment(resident) };
  });
  return {
    ...problem,
    cards,
    candidates,
    inventories: problem.inventories.map((inventory) => ({
      ...inventory,
      cards: inventory.cards.map((card) => observed.get(`${inventory.node} ${card.id}`) ?? card),
    })),
    // What runs and is no longer in the fleet stops with the plan.
    assignments: candidates.flatMap(({ assigned }) => (assigned === null ? [] : [assigned])),
  };
}

function isWhereItRuns({ candidate, slots, memoryBytes }: Resident): boolean {
  const shares = candidate.assigned?.shares ?? [];
  return (
    shares.length === slots.length &&
    slots.every(({ card, index }, rank) => {
      const share = shares[rank];
      return (
        share?.node === card.node &&
        share.card === card.id &&
        share.partition === index &&
        share.memoryBytes === memoryBytes
      );
    })
  );
}

function withLayout(card: CardChoice, layout: Layout, slots: readonly Slot[]): CardChoice {
  if (sameLayout(layout, card.current)) return card;
  return {
    ...card,
    current: layout,
    layouts: [layout, ...card.layouts.filter((other) => !sameLayout(other, layout))],
    observed: {
      ...card.observed,
      layout,
      partitions: slots.map(({ index, xcds, computeUnits, memoryBytes }) => ({
        index,
        xcds,
        computeUnits,
        memoryBytes,
        renderMinor: null,
        uuid: null,
        kfdNode: null,
      })),
    },
  };
}

function toAssignment({ candidate, slots, memoryBytes }: Resident): Assignment {
  return {
    instance: candidate.instance,
    workload: candidate.workload.name,
    shares: slots.map((slot) => ({
      node: slot.card.node,
      card: slot.card.id,
      partition: slot.index,
      memoryBytes,
    })),
    plan: candidate.assigned?.plan ?? planId('plan-to-be'),
  };
}

/** A packing that was found from another state of the same cards, in the problem's own cards and candidates. */
function fromStateAfter(problem: SearchProblem, packing: Packing): Packing {
  const slots = problem.cards.flatMap((card, index) =>
    toSlots(card, packing.layouts[index] ?? card.current, problem.fleet),
  );
  const key = ({ card, index }: Slot): string => `${card.node} ${card.id} ${index}`;
  const own = new Map(slots.map((slot) => [key(slot), slot]));
  const slotOf = (slot: Slot): Slot => own.get(key(slot)) ?? slot;
  const candidates = new Map(problem.candidates.map((one) => [one.instance, one]));
  const candidateOf = (one: Candidate): Candidate => candidates.get(one.instance) ?? one;
  return {
    ...packing,
    slots,
    residents: packing.residents.map((resident) => ({
      ...resident,
      candidate: candidateOf(resident.candidate),
      slots: resident.slots.map(slotOf),
    })),
    leftovers: packing.leftovers.map(({ candidate, rejections }) => ({
      candidate: candidateOf(candidate),
      rejections: rejections.map(({ slot, reason }) => ({ slot: slotOf(slot), reason })),
    })),
  };
}

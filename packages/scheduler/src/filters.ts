/**
 * Filters: whether an instance may go on a partition at all, each with the coded reason when not. Pure predicates
 * over a packing in progress; order of preference is score.ts's business.
 */
import type { Bytes, Reason, WorkloadName } from '@aim-gpu/core';
import { formatBytes } from '@aim-gpu/core';
import type { Slot } from './card-choice.js';
import { cardKey } from './card-key.js';
import { type Candidate, isAssignedTo, type Resident } from './problem.js';
import { spreadRejection } from './spread.js';

/** What a filter may look at: who is where so far. */
export interface Occupancy {
  /** Memory already given away on a slot. */
  usedBytes(slot: Slot): number;
  /** Who is on a slot. */
  onSlot(slot: Slot): readonly Candidate[];
  /** Who is anywhere on the slot's card. */
  onCard(slot: Slot): readonly Candidate[];
  /** Everybody so far; without them wishes about several cards are not looked at. */
  readonly residents?: readonly Resident[];
}

/** Null when the candidate may go there, else why not. */
type Filter = (candidate: Candidate, slot: Slot, occupancy: Occupancy) => Reason | null;

const product: Filter = ({ workload }, slot) => {
  const { products } = workload.placement;
  if (products.length === 0 || products.includes(slot.card.product.name)) return null;
  return { code: 'product', message: `runs on ${products.join(', ')} only` };
};

const node: Filter = ({ workload }, slot) => {
  const { nodes } = workload.placement;
  if (nodes.length === 0 || nodes.includes(slot.card.node)) return null;
  return { code: 'node', message: `runs on ${nodes.join(', ')} only` };
};

const pin: Filter = ({ workload }, slot) => {
  const wanted = workload.placement.pin;
  if (wanted === null) return null;
  const here =
    wanted.node === slot.card.node &&
    wanted.card === slot.card.id &&
    (wanted.partition === null || wanted.partition === slot.index);
  return here
    ? null
    : { code: 'pin', message: `is pinned to card ${wanted.card} of ${wanted.node}` };
};

const memory: Filter = ({ shareBytes }, slot, occupancy) => {
  const freeBytes = slot.usableBytes - occupancy.usedBytes(slot);
  if (shareBytes <= freeBytes) return null;
  const message = `needs ${formatBytes(shareBytes)}, ${formatBytes(Math.max(0, freeBytes))} are free`;
  return { code: shareBytes > slot.usableBytes ? 'too-large' : 'memory', message };
};

const exclusive: Filter = ({ workload }, slot, occupancy) => {
  const residents = occupancy.onSlot(slot);
  const owner = residents.find((resident) => resident.workload.placement.exclusive);
  if (owner !== undefined) {
    return { code: 'exclusive', message: `the partition belongs to ${owner.instance} alone` };
  }
  if (workload.placement.exclusive && residents.length > 0) {
    return { code: 'exclusive', message: 'wants a partition of its own and this one is in use' };
  }
  return null;
};

const apart: Filter = ({ workload }, slot, occupancy) => {
  const enemy = occupancy.onCard(slot).find((other) => keepsApart(workload, other.workload));
  return enemy === undefined
    ? null
    : { code: 'apart', message: `must not be on one card with ${enemy.workload.name}` };
};

function keepsApart(
  a: {
    readonly name: WorkloadName;
    readonly placement: { readonly apart: readonly WorkloadName[] };
  },
  b: {
    readonly name: WorkloadName;
    readonly placement: { readonly apart: readonly WorkloadName[] };
  },
): boolean {
  return a.placement.apart.includes(b.name) || b.placement.apart.includes(a.name);
}

const cordon: Filter = (candidate, slot) =>
  slot.card.cordoned && !isAssignedTo(candidate, slot)
    ? { code: 'cordoned', message: `card ${slot.card.id} takes nothing new` }
    : null;

const guard: Filter = (candidate, slot) =>
  candidate.isProtected && !isAssignedTo(candidate, slot)
    ? { code: 'protected', message: 'must stay where it runs' }
    : null;

const narrow: Filter = ({ narrowed }, slot) =>
  narrowed === null || narrowed.cards.has(cardKey(slot.card)) ? null : narrowed.reason;

const spread: Filter = (candidate, slot, { residents }) => {
  const { spread: rule, isProtected, workload } = candidate;
  if (rule === null || isProtected || residents === undefined) return null;
  const siblings = residents.filter((other) => other.candidate.workload.name === workload.name);
  return spreadRejection(rule, slot.card, siblings);
};

/** Every filter, cheapest first. */
const FILTERS: readonly Filter[] = [
  cordon,
  guard,
  product,
  node,
  pin,
  narrow,
  exclusive,
  apart,
  memory,
  spread,
];

/** The first reason against putting a candidate on a slot, or null. */
export function rejectionOf(candidate: Candidate, slot: Slot, occupancy: Occupancy): Reason | null {
  for (const filter of FILTERS) {
    const reason = filter(candidate, slot, occupancy);
    if (reason !== null) return reason;
  }
  return null;
}

/** Memory of a slot that nobody has. */
export function freeBytesOf(slot: Slot, occupancy: Occupancy): Bytes {
  return Math.max(0, slot.usableBytes - occupancy.usedBytes(slot)) as Bytes;
}

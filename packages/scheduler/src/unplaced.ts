/**
 * Why a workload found no place, and the nearest fix. Reads the reasons that stood against each partition in the best
 * packing, and what the largest partition of any permitted layout could hold. Text for people with a stable code.
 */
import {
  formatBytes,
  type InstanceId,
  type Reason,
  type Unplaced,
  type WorkloadName,
} from '@aim-gpu/core';
import { type CardChoice, toSlots } from './card-choice.js';
import type { UnplacedReason } from './fleet-problem.js';
import type { Leftover, Packing } from './packing.js';
import { permits } from './permitted-cards.js';
import { bandRank, type Candidate, instancesOf, type SearchProblem } from './problem.js';

/** One entry for each workload with instances left over. */
export function toUnplaced(problem: SearchProblem, packing: Packing): readonly Unplaced[] {
  const byWorkload = new Map<WorkloadName, Leftover[]>();
  for (const leftover of packing.leftovers) {
    const { name } = leftover.candidate.workload;
    const list = byWorkload.get(name);
    if (list === undefined) byWorkload.set(name, [leftover]);
    else list.push(leftover);
  }
  const withheld = withheldByWorkload(problem);
  const names = [...new Set([...byWorkload.keys(), ...withheld.keys()])];
  return names.map((workload) => {
    const leftovers = byWorkload.get(workload) ?? [];
    const out = withheld.get(workload) ?? [];
    const [first] = leftovers;
    const found = first === undefined ? [] : [explainLeftover(problem, packing, first)];
    return {
      workload,
      replicas: leftovers.length + out.length,
      reasons: oneOfEach([...found, ...out]),
    };
  });
}

/** The reasons of the instances that were kept out, in the fleet's order. */
function withheldByWorkload({
  fleet,
  withheld = new Map<InstanceId, UnplacedReason>(),
}: SearchProblem): ReadonlyMap<WorkloadName, readonly UnplacedReason[]> {
  const byWorkload = new Map<WorkloadName, readonly UnplacedReason[]>();
  for (const workload of withheld.size === 0 ? [] : fleet.models) {
    const reasons = instancesOf(workload).flatMap((instance) => withheld.get(instance) ?? []);
    if (reasons.length > 0) byWorkload.set(workload.name, reasons);
  }
  return byWorkload;
}

/** The first reason of each code: instances of one workload seldom differ in more than their number. */
function oneOfEach(reasons: readonly UnplacedReason[]): readonly UnplacedReason[] {
  const codes = new Set<string>();
  return reasons.filter(({ code }) => {
    const isNew = !codes.has(code);
    codes.add(code);
    return isNew;
  });
}

function explainLeftover(
  problem: SearchProblem,
  packing: Packing,
  leftover: Leftover,
): UnplacedReason {
  const { candidate } = leftover;
  const cards = permittedCards(problem.cards, candidate);
  if (cards.length === 0) return noCard(problem, candidate);
  const largest = largestUsableBytes(problem, cards);
  if (candidate.shareBytes > largest.bytes) return tooLarge(candidate, largest);
  const reason = mostTelling(leftover.rejections.map((rejection) => rejection.reason));
  if (reason === undefined) return noRoom(packing, candidate);
  switch (reason.code) {
    case 'slowdown':
      return { code: 'slowdown', message: reason.message, fix: slowdownFix(candidate) };
    case 'apart':
      return {
        code: 'apart',
        message: `${candidate.instance} ${reason.message}, and every card that could hold it has one`,
        fix: 'add a card, or drop it from placement.apart',
      };
    case 'ranks':
      return {
        code: 'ranks',
        message: `${candidate.instance} ${reason.message}`,
        fix: `lower parallel.tensor, or give it a card with at least ${candidate.demand.ranks} free partitions`,
      };
    case 'pin':
      return {
        code: 'pin',
        message: `${candidate.instance} ${reason.message}, which has no such partition in the chosen layouts`,
        fix: 'pin the card without a partition, or remove the pin',
      };
    case 'spread':
      return {
        code: 'spread',
        message: `${candidate.instance}: ${reason.message}`,
        fix: spreadFix(candidate),
      };
    case 'guarded-model':
      return {
        code: 'guarded-model',
        message: `${candidate.instance} ${reason.message}, and there is no room for both`,
        fix: 'write of: { model, within: node }, or lower the concurrency of either',
      };
    case 'cordoned':
    case 'protected':
      return {
        code: reason.code,
        message: `${candidate.instance}: ${reason.message}, and no other card can take it`,
        fix: 'end the maintenance of a card, or add one',
      };
    case 'exclusive':
    case 'memory':
    case 'too-large':
    case 'product':
    case 'node':
      return noRoom(packing, candidate);
    default:
      return {
        code: reason.code,
        message: `${candidate.instance}: ${reason.message}`,
        fix: `change what the filter ${reason.code} asks, or add a card that it accepts`,
      };
  }
}

function permittedCards(cards: readonly CardChoice[], candidate: Candidate): readonly CardChoice[] {
  return cards.filter((card) => permits(candidate.workload, card));
}

function noCard(problem: SearchProblem, candidate: Candidate): UnplacedReason {
  const there = [...new Set(problem.cards.map((card) => `${card.product.name} on ${card.node}`))];
  return {
    code: 'no-card',
    message: `no card matches the placement of ${candidate.workload.name}; there is ${there.length === 0 ? 'none at all' : there.join(', ')}`,
    fix:
      there.length === 0
        ? 'add a node with cards'
        : 'widen placement.products, placement.nodes or placement.pin',
  };
}

interface Largest {
  readonly bytes: number;
  readonly where: string;
}

function largestUsableBytes(problem: SearchProblem, cards: readonly CardChoice[]): Largest {
  let largest: Largest = { bytes: 0, where: 'no partition' };
  for (const card of cards) {
    for (const layout of card.layouts) {
      for (const slot of toSlots(card, layout, problem.fleet)) {
        if (slot.usableBytes <= largest.bytes) continue;
        largest = {
          bytes: slot.usableBytes,
          where: `a partition of ${card.product.name} in ${layout.compute}/${layout.memory}`,
        };
      }
    }
  }
  return largest;
}

function tooLarge(candidate: Candidate, largest: Largest): UnplacedReason {
  return {
    code: 'does-not-fit',
    message: `${candidate.instance} needs ${formatBytes(candidate.shareBytes)} on one partition; ${largest.where} has ${formatBytes(largest.bytes)} to give`,
    fix: sizeFix(candidate, largest.bytes),
  };
}

/** The nearest change of the model's own entry that makes it fit: fewer sequences, shorter ones, or more partitions. */
function sizeFix({ workload, demand, shareBytes }: Candidate, availableBytes: number): string {
  const { memory } = demand;
  const forKv = availableBytes - (memory.totalBytes - memory.kvBytes);
  const sequences = Math.floor((workload.concurrency * forKv) / Math.max(1, memory.kvBytes));
  if (sequences >= 1 && forKv >= memory.kvMinimumBytes) return `lower concurrency to ${sequences}`;
  const tokens = Math.floor((demand.maxModelLen * forKv) / Math.max(1, memory.kvMinimumBytes));
  if (forKv > 0 && tokens >= 1024)
    return `lower maxModelLen to ${tokens - (tokens % 256)} and concurrency to 1`;
  const ranks =
    2 **
    Math.ceil(Math.log2(Math.max(2, (shareBytes * demand.ranks) / Math.max(1, availableBytes))));
  return `use a quantized model (fp8, int4), or set parallel.tensor to ${ranks}`;
}

function spreadFix({ workload, spread }: Candidate): string {
  const over = spread?.over ?? 'node';
  return `add a ${over === 'hive' ? 'card to another hive' : over}, or raise placement.spread.maxSkew of ${workload.name}`;
}

function slowdownFix(candidate: Candidate): string {
  return bandRank(candidate.workload.band) <= bandRank('interactive')
    ? 'set placement.exclusive, or raise policy.slowdown'
    : 'declare a smaller load for it, raise policy.slowdown, or add a card';
}

function noRoom(packing: Packing, candidate: Candidate): UnplacedReason {
  const lowest = packing.residents.toSorted(
    (a, b) => bandRank(b.candidate.workload.band) - bandRank(a.candidate.workload.band),
  )[0];
  const lower =
    lowest !== undefined &&
    bandRank(lowest.candidate.workload.band) >= bandRank(candidate.workload.band)
      ? `remove ${lowest.candidate.workload.name} (${lowest.candidate.workload.band}) or lower its concurrency`
      : 'lower the concurrency of another model';
  return {
    code: 'no-room',
    message: `${candidate.instance} needs ${formatBytes(candidate.shareBytes)} and no partition in any permitted layout has that free beside the others`,
    fix: `add a card, or ${lower}`,
  };
}

// From the most particular to the most general: one partition that failed for the particular reason tells more.
const TELLING = [
  'slowdown',
  'ranks',
  'apart',
  'spread',
  'guarded-model',
  'pin',
  'exclusive',
  'memory',
  'cordoned',
  'too-large',
];

function mostTelling(reasons: readonly Reason[]): Reason | undefined {
  const rank = (code: string): number => {
    const at = TELLING.indexOf(code);
    // Codes of plug-ins tell about as much as a wish.
    return at >= 0 ? at : TELLING.indexOf('pin') + 0.5;
  };
  return reasons.toSorted((a, b) => rank(a.code) - rank(b.code))[0];
}

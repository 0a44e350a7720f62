/**
 * Packing of large fleets: the layout search decides everything at once, then the speed model looks at each card and
 * takes off who would slow an urgent neighbour down more than the search's simpler model saw. At last those who want to
 * be near another model are drawn there.
 */
import { bytes, type InstanceId, type Reason } from '@aim-gpu/core';
import { type Slot, toSlots } from './card-choice.js';
import { drawNear } from './draw-near.js';
import { type Occupancy, rejectionOf } from './filters.js';
import type { LatencyModel, PlacedLatency } from './latency.js';
import { slowdownOf } from './latency.js';
import { solveLayouts } from './layout-solver.js';
import type { Leftover, Packing } from './packing.js';
import { pluginRejection } from './plugin.js';
import { bandRank, type Resident, type SearchProblem } from './problem.js';
import { cardName, fromSearchProblem } from './to-layout-problem.js';

/** Packs a problem by the layout search. Deterministic. */
export function planLarge(problem: SearchProblem, latency: LatencyModel): Packing {
  const bare = fromSearchProblem(problem, latency);
  const { solution } = solveLayouts(bare);
  const layouts = problem.cards.map(
    (card, index) => card.layouts[solution.layouts[index] ?? 0] ?? card.current,
  );
  const slots = problem.cards.flatMap((card, index) =>
    toSlots(card, layouts[index] ?? card.current, problem.fleet),
  );
  const slotAt = new Map(slots.map((slot) => [`${cardName(slot.card)}/${slot.index}`, slot]));
  const candidates = new Map(problem.candidates.map((entry) => [entry.instance as string, entry]));
  const proposed = solution.places.flatMap(({ instance, shares }): readonly Resident[] => {
    const candidate = candidates.get(instance);
    const own = shares.flatMap(({ card, partition }) => slotAt.get(`${card}/${partition}`) ?? []);
    if (candidate === undefined || own.length !== shares.length) return [];
    const whole = Math.min(...own.map((slot) => slot.usableBytes));
    const exclusive = candidate.workload.placement.exclusive;
    return [
      { candidate, slots: own, memoryBytes: exclusive ? bytes(whole) : candidate.shareBytes },
    ];
  });
  const { harmed, ...harmless } = withoutHarm(problem, proposed, latency);
  const { residents, latencies } = drawNear(problem, harmless, { slots, latency });
  return {
    layouts,
    slots,
    residents,
    latencies,
    leftovers: toLeftovers(problem, slots, residents, harmed),
  };
}

/** Takes off the least urgent neighbour of whoever would be slowed down too much, until nobody is. */
function withoutHarm(
  problem: SearchProblem,
  proposed: readonly Resident[],
  latency: LatencyModel,
): {
  readonly residents: readonly Resident[];
  readonly harmed: ReadonlyMap<InstanceId, Reason>;
  readonly latencies: ReadonlyMap<InstanceId, PlacedLatency>;
} {
  const limit = problem.fleet.policy.slowdown;
  const gone = new Map<InstanceId, Reason>();
  const byCard = new Map<unknown, Resident[]>();
  for (const resident of proposed) {
    for (const card of new Set(resident.slots.map((slot) => slot.card))) {
      const list = byCard.get(card);
      if (list === undefined) byCard.set(card, [resident]);
      else list.push(resident);
    }
  }
  const latencies = new Map<InstanceId, PlacedLatency>();
  for (const list of byCard.values()) {
    for (;;) {
      const here = list.filter(({ candidate }) => !gone.has(candidate.instance));
      const predicted = latency.predictCard(here);
      const victim = here.find(({ candidate, slots }) => {
        const figures = predicted.get(candidate.instance);
        const urgent = bandRank(candidate.workload.band) <= bandRank('interactive');
        const shared = here.some(
          (other) =>
            other.candidate !== candidate && other.slots.some((slot) => slots.includes(slot)),
        );
        return urgent && shared && figures !== undefined && slowdownOf(figures) > limit;
      });
      if (victim === undefined) {
        for (const [instance, figures] of predicted) latencies.set(instance, figures);
        break;
      }
      const [least] = here
        .filter(
          (other) => other !== victim && other.slots.some((slot) => victim.slots.includes(slot)),
        )
        .toSorted(
          (a, b) => bandRank(b.candidate.workload.band) - bandRank(a.candidate.workload.band),
        );
      if (least === undefined) break;
      gone.set(least.candidate.instance, {
        code: 'slowdown',
        message: `${victim.candidate.instance} would be slowed down more than the policy's ${(limit * 100).toFixed(0)} %`,
      });
    }
  }
  return {
    residents: proposed.filter(({ candidate }) => !gone.has(candidate.instance)),
    harmed: gone,
    latencies,
  };
}

/** Who is left, the first of each workload with what stands against every partition. */
function toLeftovers(
  problem: SearchProblem,
  slots: readonly Slot[],
  residents: readonly Resident[],
  harmed: ReadonlyMap<InstanceId, Reason>,
): readonly Leftover[] {
  const placed = new Set(residents.map(({ candidate }) => candidate.instance));
  const occupancy = toOccupancy(residents);
  const told = new Set<string>();
  return problem.candidates
    .filter(({ instance }) => !placed.has(instance))
    .map((candidate) => {
      const { name } = candidate.workload;
      if (told.has(name)) return { candidate, rejections: [] };
      told.add(name);
      const harm = harmed.get(candidate.instance);
      const rejections = slots.flatMap((slot) => {
        const reason =
          rejectionOf(candidate, slot, occupancy) ??
          pluginRejection(problem.plugins, candidate, slot, occupancy) ??
          harm;
        return reason === undefined ? [] : [{ slot, reason }];
      });
      return { candidate, rejections };
    });
}

/** Who is where, of residents that are settled. */
export function toOccupancy(residents: readonly Resident[]): Occupancy {
  const bySlot = new Map<Slot, Resident[]>();
  const byCard = new Map<unknown, Resident[]>();
  const append = <K>(map: Map<K, Resident[]>, key: K, resident: Resident): void => {
    const list = map.get(key);
    if (list === undefined) map.set(key, [resident]);
    else list.push(resident);
  };
  for (const resident of residents) {
    for (const slot of resident.slots) append(bySlot, slot, resident);
    for (const card of new Set(resident.slots.map((slot) => slot.card)))
      append(byCard, card, resident);
  }
  return {
    usedBytes: (slot) =>
      (bySlot.get(slot) ?? []).reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
    onSlot: (slot) => (bySlot.get(slot) ?? []).map(({ candidate }) => candidate),
    onCard: (slot) => (byCard.get(slot.card) ?? []).map(({ candidate }) => candidate),
  };
}

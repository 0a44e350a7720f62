/**
 * Wishes to be near another model in a large fleet: once everybody has a place, who is not beside a model it wants to
 * be near moves to a card of it, where nobody loses by that. Owns who may move and where to; layouts stay as they are.
 */
import { bytes, type InstanceId, type WorkloadName } from '@aim-gpu/core';
import type { CardChoice, Slot } from './card-choice.js';
import { freeBytesOf, type Occupancy, rejectionOf } from './filters.js';
import { excessOver, type LatencyModel, type PlacedLatency, slowdownOf } from './latency.js';
import { bandRank, isAssignedTo, type Resident, type SearchProblem } from './problem.js';

/** Who is where, with what is predicted for everybody. */
export interface Settled {
  readonly residents: readonly Resident[];
  readonly latencies: ReadonlyMap<InstanceId, PlacedLatency>;
}

/** The same residents, some of them nearer to whom they want to be near. */
export function drawNear(
  problem: SearchProblem,
  settled: Settled,
  options: { readonly slots: readonly Slot[]; readonly latency: LatencyModel },
): Settled {
  const wishes = settled.residents.some(({ candidate }) => wantedBy(candidate).length > 0);
  return wishes ? new Drawing(problem, settled, options).run() : settled;
}

const wantedBy = ({ workload }: Resident['candidate']): readonly WorkloadName[] =>
  workload.placement.near;
/** Rounding of the speed model. */
const TOLERANCE = 1e-9;

class Drawing {
  private readonly problem: SearchProblem;
  private readonly latency: LatencyModel;
  private readonly slotsOf = new Map<CardChoice, Slot[]>();
  private readonly onCard = new Map<CardChoice, Set<Resident>>();
  private readonly cardsOf = new Map<WorkloadName, Set<CardChoice>>();
  private readonly residents: Map<InstanceId, Resident>;
  private readonly latencies: Map<InstanceId, PlacedLatency>;
  private readonly occupancy: Occupancy;

  constructor(
    problem: SearchProblem,
    settled: Settled,
    { slots, latency }: { readonly slots: readonly Slot[]; readonly latency: LatencyModel },
  ) {
    this.problem = problem;
    this.latency = latency;
    this.residents = new Map(settled.residents.map((one) => [one.candidate.instance, one]));
    this.latencies = new Map(settled.latencies);
    for (const slot of slots) {
      const own = this.slotsOf.get(slot.card);
      if (own === undefined) this.slotsOf.set(slot.card, [slot]);
      else own.push(slot);
    }
    for (const resident of settled.residents) this.enter(resident);
    const onSlot = (slot: Slot): readonly Resident[] =>
      this.at(slot.card).filter(({ slots: taken }) => taken.includes(slot));
    this.occupancy = {
      usedBytes: (slot) => onSlot(slot).reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
      onSlot: (slot) => onSlot(slot).map(({ candidate }) => candidate),
      onCard: (slot) => this.at(slot.card).map(({ candidate }) => candidate),
    };
  }

  run(): Settled {
    for (const { candidate } of [...this.residents.values()]) {
      const resident = this.residents.get(candidate.instance);
      if (resident !== undefined && this.mayMove(resident)) this.draw(resident);
    }
    return { residents: [...this.residents.values()], latencies: this.latencies };
  }

  private at(card: CardChoice): readonly Resident[] {
    return [...(this.onCard.get(card) ?? [])];
  }

  private enter(resident: Resident): void {
    const { name } = resident.candidate.workload;
    for (const { card } of resident.slots) {
      this.onCard.set(card, (this.onCard.get(card) ?? new Set()).add(resident));
      this.cardsOf.set(name, (this.cardsOf.get(name) ?? new Set()).add(card));
    }
  }

  private leave(resident: Resident): void {
    const { name } = resident.candidate.workload;
    for (const { card } of resident.slots) {
      this.onCard.get(card)?.delete(resident);
      if (!this.at(card).some(({ candidate }) => candidate.workload.name === name))
        this.cardsOf.get(name)?.delete(card);
    }
  }

  /** One partition is enough for it, it does not run there already, nobody there wants to be near it, a wish is open. */
  private mayMove({ candidate, slots }: Resident): boolean {
    const [slot, ...more] = slots;
    if (slot === undefined || more.length > 0 || candidate.spread !== null) return false;
    if (isAssignedTo(candidate, slot)) return false;
    const others = this.at(slot.card).map((other) => other.candidate);
    const { name } = candidate.workload;
    return (
      wantedBy(candidate).some((wanted) =>
        others.every(({ workload }) => workload.name !== wanted),
      ) && !others.some((other) => other !== candidate && wantedBy(other).includes(name))
    );
  }

  private draw(resident: Resident): void {
    const { candidate, slots } = resident;
    const from = slots[0]?.card;
    const met = (card: CardChoice): number =>
      wantedBy(candidate).filter((wanted) => this.cardsOf.get(wanted)?.has(card) === true).length;
    const cards = new Set(
      wantedBy(candidate).flatMap((wanted) => [...(this.cardsOf.get(wanted) ?? [])]),
    );
    if (from === undefined) return;
    const better = [...cards]
      .filter((card) => card !== from && met(card) > met(from))
      .toSorted((a, b) => met(b) - met(a));
    for (const card of better) {
      for (const slot of this.slotsOf.get(card) ?? []) {
        if (rejectionOf(candidate, slot, this.occupancy) !== null) continue;
        if (this.moves(resident, slot)) return;
      }
    }
  }

  /** Moves a resident, unless somebody on either card would be worse off in a way that counts. */
  private moves(resident: Resident, slot: Slot): boolean {
    const { candidate } = resident;
    const memoryBytes = candidate.workload.placement.exclusive
      ? bytes(freeBytesOf(slot, this.occupancy))
      : candidate.shareBytes;
    const moved: Resident = { candidate, slots: [slot], memoryBytes };
    const there = [...this.at(slot.card), moved];
    const predicted = this.latency.predictCard(there);
    const before = this.harm([...there.filter((one) => one !== moved), resident], this.latencies);
    if (this.harm(there, predicted) > before + TOLERANCE) return false;
    const left = this.at(resident.slots[0]?.card as CardChoice).filter((one) => one !== resident);
    this.leave(resident);
    this.enter(moved);
    this.residents.set(candidate.instance, moved);
    for (const [instance, figures] of [...predicted, ...this.latency.predictCard(left)])
      this.latencies.set(instance, figures);
    return true;
  }

  /** How far SLOs are exceeded, and urgent instances slowed down beyond the policy: a sum of ratios. */
  private harm(
    residents: readonly Resident[],
    latencies: ReadonlyMap<InstanceId, PlacedLatency>,
  ): number {
    const { slowdown } = this.problem.fleet.policy;
    let sum = 0;
    for (const { candidate } of residents) {
      const figures = latencies.get(candidate.instance);
      if (figures === undefined) continue;
      const { slo, band } = candidate.workload;
      sum += excessOver(figures, slo);
      if (bandRank(band) <= bandRank('interactive'))
        sum += Math.max(0, slowdownOf(figures) - slowdown);
    }
    return sum;
  }
}

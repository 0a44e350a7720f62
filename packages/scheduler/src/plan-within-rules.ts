/**
 * planFleet: plans, holds the plan against the rules that several instances share (quotas, gangs, spread, guarded
 * models, what must stay, fine-tunes that yield), keeps to some cards or leaves out whoever breaks one, and plans again
 * until none is broken. Owns the order of these steps; the rules are rule-breaks.ts, one plan is plan-fleet.ts. Pure.
 */
import type { InstanceId, Plan, Workload } from '@aim-gpu/core';
import type { CardChoice } from './card-choice.js';
import { type FleetProblem, protectedOf, type UnplacedReason } from './fleet-problem.js';
import { missingGuards, narrowGuards, withAttraction } from './narrow-guards.js';
import { narrowSpread } from './narrow-spread.js';
import { compareWorth } from './objective.js';
import { planFleet as planOnce } from './plan-fleet.js';
import { disturbed, planWorth } from './plan-worth.js';
import { instancesOf, toSearchProblem } from './problem.js';
import {
  gangBreaks,
  gangsOf,
  guardBreaks,
  protectedBreaks,
  quotaBreaks,
  spreadBreaks,
  toPlanView,
} from './rule-breaks.js';
import { admitInstances, type Rulings } from './rulings.js';

/** Second thoughts of each kind: plans made to see whether who was left out can have a place after all. */
const MOST_TRIES = 6;

/** A plan that breaks no rule, and what it took. */
interface Ruled {
  readonly plan: Plan;
  readonly rulings: Rulings;
}

/**
 * Plans which layout every card gets and which share every instance gets, with a coded reason for each choice.
 * What finds no place is listed in `unplaced` with the nearest fix; that is an outcome, not an error.
 * Throws `ERR_DEMAND_MISSING` (internal) when a workload has no demand.
 */
export function planFleet(problem: FleetProblem): Plan {
  if (!hasRules(problem)) return planOnce(problem);
  const { cards } = toSearchProblem(problem);
  const rules = new Rules(problem, cards);
  return rules.plan();
}

/** Whether any rule spans several instances; all other fleets are planned once. */
function hasRules({ fleet, protectedInstances = [] }: FleetProblem): boolean {
  return (
    protectedInstances.length > 0 ||
    fleet.tenants.some(({ quota = null }) => quota !== null) ||
    fleet.models.some(
      ({ kind, gang = null, of = null, placement }) =>
        kind === 'finetune' ||
        gang !== null ||
        of !== null ||
        (placement.spread ?? null) !== null ||
        placement.protected === true,
    )
  );
}

const isYielding = ({ kind }: Workload): boolean => kind === 'finetune';
const isFirm = (workload: Workload): boolean => !isYielding(workload);

class Rules {
  private readonly problem: FleetProblem;
  private readonly cards: readonly CardChoice[];
  private readonly kept: ReadonlySet<InstanceId>;

  constructor(problem: FleetProblem, cards: readonly CardChoice[]) {
    this.problem = problem;
    this.cards = cards;
    this.kept = new Set(protectedOf(problem).keys());
  }

  plan(): Plan {
    const admitted = admitInstances(this.problem, this.kept, new Set());
    const settled = this.settle(admitted);
    const second = this.lendIdle(this.returnGangs(settled));
    return this.yieldToOthers(this.keepGuarantees(second)).plan;
  }

  private within(rulings: Rulings): FleetProblem {
    return { ...this.problem, ...rulings };
  }

  private planOnce(rulings: Rulings): Plan {
    return planOnce(withAttraction(this.within(rulings)));
  }

  /** Plans until no rule is broken: each round leaves somebody more out, or keeps somebody to some cards. */
  private settle(start: Rulings): Ruled {
    let rulings = start;
    for (;;) {
      const plan = this.planOnce(rulings);
      const next = this.mend(plan, rulings);
      if (next === null) return { plan, rulings };
      rulings = next;
    }
  }

  private mend(plan: Plan, rulings: Rulings): Rulings | null {
    const view = toPlanView(this.within(rulings), plan, this.cards);
    const guards = guardBreaks(view);
    const missing = missingGuards(view.problem, plan, rulings);
    if (guards.size + missing.length > 0) {
      const narrowed = narrowGuards({
        view,
        planWith: (more, out) =>
          this.planOnce({
            ...rulings,
            narrowed: new Map([...rulings.narrowed, ...more]),
            withheld: new Map([...rulings.withheld, ...out]),
          }),
      });
      if (narrowed !== null)
        return { ...rulings, narrowed: new Map([...rulings.narrowed, ...narrowed]) };
    }
    const spread = spreadBreaks(view);
    if (spread.size > 0) {
      const narrowed = narrowSpread(view);
      if (narrowed !== null)
        return { ...rulings, narrowed: new Map([...rulings.narrowed, ...narrowed]) };
    }
    for (const breaks of [
      protectedBreaks(view),
      guards,
      spread,
      quotaBreaks(view),
      gangBreaks(view),
    ]) {
      const out = [...breaks].filter(([instance]) => !rulings.withheld.has(instance));
      if (out.length > 0) return { ...rulings, withheld: new Map([...rulings.withheld, ...out]) };
    }
    return null;
  }

  private isBetter(a: Ruled, b: Ruled): boolean {
    const worth = ({ plan, rulings }: Ruled): ReturnType<typeof planWorth> =>
      planWorth({ ...this.problem, guaranteed: rulings.guaranteed }, plan);
    return compareWorth(worth(a), worth(b)) < 0;
  }

  /** Gangs that were left out may fit now that another is gone. */
  private returnGangs(settled: Ruled): Ruled {
    let best = settled;
    const gangs = [...gangsOf(this.problem.fleet.models)].slice(0, MOST_TRIES);
    for (const [, members] of gangs) {
      const instances = members.flatMap(instancesOf);
      const own = instances.map((instance) => best.rulings.withheld.get(instance)?.code ?? null);
      if (!own.includes('gang') || own.includes('quota')) continue;
      const withheld = new Map(
        [...best.rulings.withheld].filter(([instance]) => !instances.includes(instance)),
      );
      const tried = this.settle({ ...best.rulings, withheld });
      if (this.isBetter(tried, best)) best = tried;
    }
    return best;
  }

  /** What a tenant owns and cannot use, since nothing of it has a place, others may borrow. */
  private lendIdle(settled: Ruled): Ruled {
    const { plan, rulings } = settled;
    const refused = [...rulings.withheld].filter(([, { code }]) => code === 'quota');
    if (refused.length === 0) return settled;
    const placed = new Set(plan.placements.map(({ instance }) => instance));
    const reasons = new Map(
      plan.unplaced.map(({ workload, reasons: [first] }) => [workload, first]),
    );
    const idle = new Map<InstanceId, UnplacedReason>();
    for (const workload of this.problem.fleet.models) {
      const reason = reasons.get(workload.name);
      if (reason === undefined || reason.code === 'quota') continue;
      for (const instance of instancesOf(workload))
        if (!placed.has(instance) && rulings.withheld.get(instance)?.code !== 'quota')
          idle.set(instance, reason);
    }
    if (idle.size === 0) return settled;
    const again = admitInstances(this.problem, this.kept, new Set(idle.keys()));
    const tried = this.settle({ ...again, withheld: new Map([...again.withheld, ...idle]) });
    return this.isBetter(tried, settled) ? tried : settled;
  }

  /** Whoever is not covered by a guarantee gives way to who is, where that loses nothing of higher worth. */
  private keepGuarantees(settled: Ruled): Ruled {
    let best = settled;
    for (let round = 0; round < MOST_TRIES; round += 1) {
      const { plan, rulings } = best;
      const placed = new Set(plan.placements.map(({ instance }) => instance));
      const missed = [...rulings.guaranteed].filter((instance) => !placed.has(instance));
      if (missed.length === 0) return best;
      const better = this.givingWay(plan, rulings)
        .slice(0, MOST_TRIES)
        .map((instance) => {
          const reason: UnplacedReason = {
            code: 'guarantee',
            message: `${instance} gives way to ${missed.join(', ')}, whose tenant is guaranteed that memory`,
            fix: 'add a card, or lower quota.guaranteed of that tenant',
          };
          return this.settle({
            ...rulings,
            withheld: new Map([...rulings.withheld, [instance, reason]]),
          });
        })
        .find((tried) => this.isBetter(tried, best));
      if (better === undefined) return best;
      best = better;
    }
    return best;
  }

  /** Placed instances that no guarantee covers, least urgent first. */
  private givingWay(plan: Plan, { guaranteed }: Rulings): readonly InstanceId[] {
    return plan.placements
      .map(({ instance }) => instance)
      .filter((instance) => !guaranteed.has(instance) && !this.kept.has(instance))
      .toReversed();
  }

  /** Fine-tunes get what the others leave: not one place, SLO or undisturbed run of theirs. */
  private yieldToOthers(settled: Ruled): Ruled {
    const yielding = this.problem.fleet.models.filter(isYielding).flatMap(instancesOf);
    const asking = yielding.filter(
      (one) => !this.kept.has(one) && !settled.rulings.withheld.has(one),
    );
    if (asking.length === 0) return settled;
    const out = (list: readonly InstanceId[]): Rulings => ({
      ...settled.rulings,
      withheld: new Map([
        ...settled.rulings.withheld,
        ...list.map((instance) => [instance, yieldReason(instance)] as const),
      ]),
    });
    const without = this.settle(out(asking));
    if (!this.harms(settled.plan, without.plan)) return settled;
    let best = without;
    const left = new Set(asking);
    for (const instance of asking.slice(0, 2 * MOST_TRIES)) {
      left.delete(instance);
      const tried = this.settle(out([...left]));
      if (!this.harms(tried.plan, without.plan) && this.isBetter(tried, best)) best = tried;
      else left.add(instance);
    }
    return best;
  }

  private harms(plan: Plan, without: Plan): boolean {
    const [own, other] = [plan, without].map((one) => planWorth(this.problem, one, isFirm));
    if (own === undefined || other === undefined) return false;
    const fewer = own.placedByBand.some((placed, rank) => placed < (other.placedByBand[rank] ?? 0));
    return (
      fewer ||
      own.violations > other.violations + 1e-9 ||
      disturbed(this.problem, plan, isFirm).length > disturbed(this.problem, without, isFirm).length
    );
  }
}

function yieldReason(instance: InstanceId): UnplacedReason {
  return {
    code: 'yields',
    message: `${instance} is a fine-tune: it would cost another model its place, its SLO or its rest`,
    fix: 'add a card, or wait until others want less',
  };
}

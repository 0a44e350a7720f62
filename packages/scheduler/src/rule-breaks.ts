/**
 * Rules over several instances, held against a finished plan: gangs, spread, guarded models, quotas by what was really
 * handed out, and what must not move. Owns what breaks each rule and who has to go for it; plans nothing. Pure.
 */
import {
  formatBytes,
  type InstanceId,
  type Placement,
  type Plan,
  type TenantName,
  type Workload,
  type WorkloadName,
} from '@aim-gpu/core';
import type { CardChoice } from './card-choice.js';
import { cardKey } from './card-key.js';
import { type FleetProblem, protectedOf, type UnplacedReason } from './fleet-problem.js';
import { instancesOf } from './problem.js';
import { toClaims } from './quotas.js';
import { countByDomain, domainOf, type SpreadRule, skewOf, toSpreadRule } from './spread.js';

/** Instances that break a rule where they are, or cannot keep it, and what is to be said of each. */
export type Breaks = ReadonlyMap<InstanceId, UnplacedReason>;

/** A plan with what it was made from, to be looked at by rules. */
export interface PlanView {
  readonly problem: FleetProblem;
  readonly plan: Plan;
  readonly cards: ReadonlyMap<string, CardChoice>;
  readonly placed: ReadonlyMap<InstanceId, Placement>;
  /** What must stay: never taken off. */
  readonly kept: ReadonlySet<InstanceId>;
}

/** Makes the view of a plan. */
export function toPlanView(
  problem: FleetProblem,
  plan: Plan,
  cards: readonly CardChoice[],
): PlanView {
  return {
    problem,
    plan,
    cards: new Map(cards.map((card) => [cardKey(card), card])),
    placed: new Map(plan.placements.map((placement) => [placement.instance, placement])),
    kept: new Set(protectedOf(problem).keys()),
  };
}

/** The reason a plan has for a workload that is not placed in full. */
function unplacedReason(plan: Plan, workload: WorkloadName): UnplacedReason | null {
  return plan.unplaced.find((entry) => entry.workload === workload)?.reasons[0] ?? null;
}

/** The models of each gang. */
export function gangsOf(models: readonly Workload[]): ReadonlyMap<string, readonly Workload[]> {
  const gangs = new Map<string, Workload[]>();
  for (const workload of models) {
    const { gang } = workload;
    if (gang !== undefined && gang !== null)
      gangs.set(gang, [...(gangs.get(gang) ?? []), workload]);
  }
  return gangs;
}

/** Members of a gang of which others have no place. */
export function gangBreaks({ problem, plan, placed, kept }: PlanView): Breaks {
  const breaks = new Map<InstanceId, UnplacedReason>();
  for (const [gang, members] of gangsOf(problem.fleet.models)) {
    const instances = members.flatMap(instancesOf);
    const missing = members.find((member) =>
      instancesOf(member).some((instance) => !placed.has(instance)),
    );
    if (missing === undefined || !instances.some((one) => placed.has(one) && !kept.has(one)))
      continue;
    for (const member of members) {
      const own = unplacedReason(plan, member.name);
      for (const instance of instancesOf(member)) {
        if (kept.has(instance)) continue;
        if (placed.has(instance) || own === null)
          breaks.set(instance, gangReason({ instance, gang, missing: missing.name, plan }));
        else if (problem.withheld?.has(instance) !== true) breaks.set(instance, own);
      }
    }
  }
  return breaks;
}

/** What is said of a member of a gang whose other member has no place. */
export function gangReason(options: {
  readonly instance: InstanceId;
  readonly gang: string;
  readonly missing: WorkloadName;
  readonly plan: Plan | null;
}): UnplacedReason {
  const { instance, gang, missing, plan } = options;
  const cause = plan === null ? null : unplacedReason(plan, missing);
  return {
    code: 'gang',
    message: `${instance} waits for all of gang ${gang}: ${missing} is not placed in full${cause === null ? '' : ` (${cause.code})`}`,
    fix: cause?.fix ?? `give ${missing} a place, or take it out of the gang`,
  };
}

/** A workload's spread rule and its placed instances by domain. */
interface SpreadCount {
  readonly rule: SpreadRule;
  readonly byDomain: ReadonlyMap<string, readonly InstanceId[]>;
}

/** Where the instances of a workload lie; null when it need not be spread. */
export function spreadOf(view: PlanView, workload: Workload): SpreadCount | null {
  const rule = toSpreadRule(workload, [...view.cards.values()]);
  if (rule === null) return null;
  const byDomain = new Map<string, InstanceId[]>();
  for (const instance of instancesOf(workload)) {
    const share = view.placed.get(instance)?.shares[0];
    const card = share === undefined ? undefined : view.cards.get(`${share.node} ${share.card}`);
    if (card === undefined) continue;
    const domain = domainOf(rule.over, card);
    byDomain.set(domain, [...(byDomain.get(domain) ?? []), instance]);
  }
  return { rule, byDomain };
}

/** Instances too many in a domain; the last of it goes, unless it must stay. */
export function spreadBreaks(view: PlanView): Breaks {
  const breaks = new Map<InstanceId, UnplacedReason>();
  for (const workload of view.problem.fleet.models) {
    const spread = spreadOf(view, workload);
    if (spread === null) continue;
    const { rule, byDomain } = spread;
    const counts = new Map(
      countByDomain(
        rule,
        [...byDomain].flatMap(([domain, list]) => list.map(() => domain)),
      ),
    );
    const over = [...byDomain].flatMap(([domain, list]) =>
      list.filter((one) => !view.kept.has(one)).map((instance) => ({ domain, instance })),
    );
    while (skewOf(rule, counts) > rule.maxSkew) {
      const most = Math.max(...counts.values());
      const at = over.findLastIndex(({ domain }) => counts.get(domain) === most);
      const gone = over[at];
      if (gone === undefined) break;
      over.splice(at, 1);
      counts.set(gone.domain, most - 1);
      breaks.set(gone.instance, {
        code: 'spread',
        message: `${gone.instance} would be too many on ${rule.over} ${gone.domain}: at most ${rule.maxSkew} more than on any other ${rule.over} that could take one`,
        fix: `add room on another ${rule.over}, or raise placement.spread.maxSkew of ${workload.name}`,
      });
    }
  }
  return breaks;
}

/** Guardrails that are not beside an instance of their model. */
export function guardBreaks(view: PlanView): Breaks {
  const breaks = new Map<InstanceId, UnplacedReason>();
  for (const workload of view.problem.fleet.models) {
    const { of } = workload;
    if (of === undefined || of === null) continue;
    const homes = domainsOf(view, of.model, of.within);
    for (const instance of instancesOf(workload)) {
      const placement = view.placed.get(instance);
      if (placement === undefined || view.kept.has(instance)) continue;
      if (placement.shares.some(({ node, card }) => homes.has(placeName(of.within, node, card))))
        continue;
      breaks.set(instance, guardReason(workload, instance, homes.size > 0));
    }
  }
  return breaks;
}

/** Cards or nodes that have an instance of a model. */
function domainsOf(
  view: PlanView,
  model: WorkloadName,
  within: 'card' | 'node',
): ReadonlySet<string> {
  return new Set(
    view.plan.placements
      .filter(({ workload }) => workload === model)
      .flatMap(({ shares }) => shares.map(({ node, card }) => placeName(within, node, card))),
  );
}

function placeName(within: 'card' | 'node', node: string, card: string): string {
  return within === 'node' ? node : `${node} ${card}`;
}

/** What is said of a guardrail without its model beside it. */
export function guardReason(
  { of }: Workload,
  instance: InstanceId,
  isPlaced: boolean,
): UnplacedReason {
  const [model, within] = [of?.model ?? '', of?.within ?? 'card'];
  return {
    code: 'guarded-model',
    message: isPlaced
      ? `${instance} must be on the same ${within} as ${model}, and no ${within} has room for both`
      : `${instance} must be beside ${model}, which has no place`,
    fix: isPlaced
      ? within === 'card'
        ? `write of: { model: ${model}, within: node }, or lower the concurrency of ${model}`
        : `add a card to a node of ${model}`
      : `give ${model} a place`,
  };
}

/** The last instances of tenants that hold more than they may, by what partitions really hand out. */
export function quotaBreaks({ problem, placed, kept }: PlanView): Breaks {
  const claims = toClaims({ ...problem, running: new Set() });
  const bytesOf = (instance: InstanceId): number =>
    (placed.get(instance)?.shares ?? []).reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
  const accounts = problem.fleet.tenants.flatMap(({ name, quota = null }) => {
    if (quota === null) return [];
    const own = claims.filter(({ tenant, instance }) => tenant === name && placed.has(instance));
    const used = own.reduce((sum, { instance }) => sum + bytesOf(instance), 0);
    return [{ name, quota, own, used }];
  });
  const owned = accounts.reduce((sum, { quota }) => sum + quota.memoryBytes, 0);
  const used = accounts.reduce((sum, account) => sum + account.used, 0);
  const breaks = new Map<InstanceId, UnplacedReason>();
  for (const { name, quota, own, used: all } of accounts) {
    const most = quota.memoryBytes + (quota.borrowBytes ?? Number.POSITIVE_INFINITY);
    const tooMuch = Math.max(all - most, Math.min(all - quota.memoryBytes, used - owned));
    if (tooMuch <= 0) continue;
    const last = own.findLast(({ instance }) => !kept.has(instance));
    if (last !== undefined)
      breaks.set(last.instance, exclusiveReason(name, last.instance, tooMuch));
  }
  return breaks;
}

function exclusiveReason(
  tenant: TenantName,
  instance: InstanceId,
  tooMuchBytes: number,
): UnplacedReason {
  return {
    code: 'quota',
    message: `${instance} would have whole partitions, ${formatBytes(tooMuchBytes)} more than ${tenant} may take`,
    fix: `raise quota.memory of ${tenant} by ${formatBytes(tooMuchBytes)}, or drop placement.exclusive`,
  };
}

/** Whoever sits where something must stay and is not. */
export function protectedBreaks({ problem, plan, placed, kept }: PlanView): Breaks {
  const breaks = new Map<InstanceId, UnplacedReason>();
  for (const [instance, { shares }] of protectedOf(problem)) {
    const place = placed.get(instance)?.shares ?? [];
    const stays = shares.every((share) => place.some((now) => samePlace(now, share)));
    if (stays) continue;
    for (const other of plan.placements) {
      if (kept.has(other.instance)) continue;
      if (!other.shares.some((now) => shares.some((share) => samePlace(now, share)))) continue;
      breaks.set(other.instance, {
        code: 'protected',
        message: `${other.instance} would take the place of ${instance}, which must stay where it runs`,
        fix: 'add a card, or end the protection',
      });
    }
  }
  return breaks;
}

interface Place {
  readonly node: string;
  readonly card: string;
  readonly partition: number;
}

function samePlace(a: Place, b: Place): boolean {
  return a.node === b.node && a.card === b.card && a.partition === b.partition;
}

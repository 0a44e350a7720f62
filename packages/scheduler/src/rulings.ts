/**
 * Who may ask for a place at all: quotas with what may be borrowed of them, and gangs, which come as a whole or not.
 * Pure; what breaks a rule once a plan is made is rule-breaks.ts.
 */
import type { InstanceId } from '@aim-gpu/core';
import type { FleetProblem, Narrowing, UnplacedReason } from './fleet-problem.js';
import { instancesOf } from './problem.js';
import { admitByQuota } from './quotas.js';
import { gangReason, gangsOf } from './rule-breaks.js';

/** Who is left out or kept to some cards, so far. */
export interface Rulings {
  readonly withheld: ReadonlyMap<InstanceId, UnplacedReason>;
  readonly narrowed: ReadonlyMap<InstanceId, Narrowing>;
  readonly guaranteed: ReadonlySet<InstanceId>;
}

/**
 * Whom quotas let in; a gang that is not let in as a whole asks for nothing. `kept` is what must stay where it runs,
 * `idle` what has no place whatever its quota: others may borrow that.
 */
export function admitInstances(
  problem: FleetProblem,
  kept: ReadonlySet<InstanceId>,
  idle: ReadonlySet<InstanceId>,
): Rulings {
  const { fleet, demands, assignments = [], withheld = new Map() } = problem;
  const running = new Set(assignments.map(({ instance }) => instance));
  const gangs = gangsOf(fleet.models);
  const out = new Map<InstanceId, UnplacedReason>(withheld);
  for (;;) {
    const { refused, guaranteed } = admitByQuota({
      fleet,
      demands,
      running,
      kept,
      idle: new Set([...idle, ...out.keys()]),
    });
    const broken = [...gangs].filter(([, members]) => {
      const instances = members.flatMap(instancesOf);
      const isIn = (one: InstanceId): boolean => !refused.has(one) && !out.has(one);
      return !instances.every(isIn) && instances.some((one) => isIn(one) && !kept.has(one));
    });
    if (broken.length === 0) {
      const all = new Map([...out, ...refused]);
      return { withheld: all, narrowed: problem.narrowed ?? new Map(), guaranteed };
    }
    for (const [gang, members] of broken) {
      const missing = members.find((member) =>
        instancesOf(member).some((one) => refused.has(one) || out.has(one)),
      );
      for (const instance of members.flatMap(instancesOf)) {
        if (kept.has(instance) || out.has(instance) || missing === undefined) continue;
        const own = refused.get(instance);
        out.set(instance, own ?? gangReason({ instance, gang, missing: missing.name, plan: null }));
      }
    }
  }
}

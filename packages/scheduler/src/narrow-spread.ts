/**
 * Keeps each instance of a workload that is to be spread to one node, card or hive, as evenly as can be: for searches
 * that do not look at the wish themselves. Whoever runs stays in its domain where the evenness allows. Pure.
 */
import type { InstanceId } from '@aim-gpu/core';
import { cardKey } from './card-key.js';
import type { Narrowing } from './fleet-problem.js';
import { permits } from './permitted-cards.js';
import { instancesOf } from './problem.js';
import { type PlanView, spreadOf } from './rule-breaks.js';
import { domainOf, skewOf } from './spread.js';

/** The narrowing of every badly spread workload; null when there is none left that was not narrowed before. */
export function narrowSpread(view: PlanView): ReadonlyMap<InstanceId, Narrowing> | null {
  const { problem } = view;
  const cards = [...view.cards.values()];
  const narrowed = new Map<InstanceId, Narrowing>();
  for (const workload of problem.fleet.models) {
    const spread = spreadOf(view, workload);
    if (spread === null || spread.rule.domains.size === 0) continue;
    const { rule, byDomain } = spread;
    const counts = new Map(
      [...rule.domains].map((name) => [name, byDomain.get(name)?.length ?? 0]),
    );
    const instances = instancesOf(workload).filter((one) => problem.withheld?.has(one) !== true);
    if (skewOf(rule, counts) <= rule.maxSkew) continue;
    if (instances.some((one) => problem.narrowed?.has(one) === true)) continue;
    const most = Math.ceil(instances.length / rule.domains.size);
    const room = new Map([...rule.domains].sort().map((domain) => [domain, most]));
    const homes = new Map<InstanceId, string>();
    for (const [domain, list] of byDomain) {
      for (const instance of list) {
        const left = room.get(domain) ?? 0;
        if (left > 0 && !view.kept.has(instance)) {
          homes.set(instance, domain);
          room.set(domain, left - 1);
        } else if (left > 0) room.set(domain, left - 1);
      }
    }
    for (const instance of instances) {
      if (view.kept.has(instance)) continue;
      const home = homes.get(instance) ?? emptiest(room);
      if (home === undefined) continue;
      if (!homes.has(instance)) room.set(home, (room.get(home) ?? 0) - 1);
      const own = cards.filter(
        (card) => permits(workload, card) && domainOf(rule.over, card) === home,
      );
      narrowed.set(instance, {
        cards: new Set(own.map(cardKey)),
        reason: {
          code: 'spread',
          message: `is kept to ${rule.over} ${home} so that they are spread`,
        },
      });
    }
  }
  return narrowed.size === 0 ? null : narrowed;
}

function emptiest(room: ReadonlyMap<string, number>): string | undefined {
  return [...room].toSorted(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))[0]?.[0];
}

/**
 * Spread: how evenly the instances of one workload lie over nodes, cards or hives. Owns what a domain is, how many are
 * in each, and who may join which; a domain counts when one of its cards could take an instance, full or not. Pure.
 */
import type { CardId, HiveId, NodeName, Reason, SpreadTopology, Workload } from '@aim-gpu/core';
import type { CardChoice } from './card-choice.js';
import { cardKey } from './card-key.js';
import { permits } from './permitted-cards.js';
import type { Resident } from './problem.js';

/** A workload's wish with the domains it is about. */
export interface SpreadRule {
  readonly over: SpreadTopology;
  readonly maxSkew: number;
  /** Every node, card or hive that could take an instance. */
  readonly domains: ReadonlySet<string>;
}

/** A card with what its domains are named by. */
interface Located {
  readonly node: NodeName;
  readonly id: CardId;
  readonly hive: HiveId | null;
}

/** The node, card or hive that a card belongs to, by a name of its own. */
export function domainOf(over: SpreadTopology, card: Located): string {
  if (over === 'node') return card.node;
  return over === 'card' ? cardKey(card) : `${card.node} ${card.hive ?? card.id}`;
}

/** The rule of a workload over the cards there are; null when it has no such wish. */
export function toSpreadRule(workload: Workload, cards: readonly CardChoice[]): SpreadRule | null {
  const { spread } = workload.placement;
  if (spread === undefined || spread === null) return null;
  const open = cards.filter((card) => !card.cordoned && permits(workload, card));
  return {
    over: spread.over,
    maxSkew: spread.maxSkew,
    domains: new Set(open.map((card) => domainOf(spread.over, card))),
  };
}

/** Instances in each domain; those of the rule without any are there with 0. */
export function countByDomain(
  rule: SpreadRule,
  domains: readonly string[],
): ReadonlyMap<string, number> {
  const counts = new Map([...rule.domains].map((domain) => [domain, 0]));
  for (const domain of domains) counts.set(domain, (counts.get(domain) ?? 0) + 1);
  return counts;
}

/** The domain of an instance, by the card of its first rank. */
function domainOfResident(rule: SpreadRule, { slots }: Resident): readonly string[] {
  const [first] = slots;
  return first === undefined ? [] : [domainOf(rule.over, first.card)];
}

/** Why one more instance may not join the domain of a card, or null. */
export function spreadRejection(
  rule: SpreadRule,
  card: Located,
  siblings: readonly Resident[],
): Reason | null {
  const counts = countByDomain(
    rule,
    siblings.flatMap((sibling) => domainOfResident(rule, sibling)),
  );
  const domain = domainOf(rule.over, card);
  const least = leastOf(rule, counts);
  const here = counts.get(domain) ?? 0;
  if (here + 1 - least <= rule.maxSkew) return null;
  return {
    code: 'spread',
    message: `${rule.over} ${domain} has ${here} of its instances and another could take one but has ${least}; at most ${rule.maxSkew} more are wanted`,
  };
}

/** Fewest instances of any domain that could take one. */
function leastOf(rule: SpreadRule, counts: ReadonlyMap<string, number>): number {
  return Math.min(...[...rule.domains].map((domain) => counts.get(domain) ?? 0), Infinity);
}

/** How many more instances the fullest domain has than the emptiest that could take one. */
export function skewOf(rule: SpreadRule, counts: ReadonlyMap<string, number>): number {
  const least = leastOf(rule, counts);
  return least === Infinity ? 0 : Math.max(0, ...counts.values()) - least;
}

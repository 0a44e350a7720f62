/**
 * Brings guardrails and their models together: where the models go without them, or on a card that has room for both.
 * Owns which cards are tried; plans through what it is given. Pure.
 */
import type { InstanceId, Plan, Workload } from '@aim-gpu/core';
import type { CardChoice } from './card-choice.js';
import { cardKey } from './card-key.js';
import type { FleetProblem, Narrowing, UnplacedReason } from './fleet-problem.js';
import { compareWorth } from './objective.js';
import { permits } from './permitted-cards.js';
import { planWorth } from './plan-worth.js';
import { instancesOf } from './problem.js';
import { guardBreaks, guardReason, type PlanView, toPlanView } from './rule-breaks.js';
import type { Rulings } from './rulings.js';

type Narrowings = ReadonlyMap<InstanceId, Narrowing>;

/** Cards or nodes tried one by one when the place that the model would choose has no room for its guardrail. */
const MOST_HOMES = 6;

/** What is tried with. */
export interface GuardNarrowing {
  readonly view: PlanView;
  readonly planWith: (
    narrowed: Narrowings,
    withheld: ReadonlyMap<InstanceId, UnplacedReason>,
  ) => Plan;
}

/** Where guardrails that are alone, and their models, are to be kept; null when nothing is left to try. */
export function narrowGuards(options: GuardNarrowing): Narrowings | null {
  const { view } = options;
  const alone = view.problem.fleet.models.filter(
    (workload) =>
      (workload.of ?? null) !== null &&
      instancesOf(workload).some(
        (one) =>
          view.problem.withheld?.has(one) !== true &&
          view.problem.narrowed?.has(one) !== true &&
          !view.kept.has(one) &&
          (!view.placed.has(one) || guardBreaks(view).has(one)),
      ),
  );
  const [first] = alone;
  return first === undefined ? null : narrowOne(options, first);
}

function narrowOne({ view, planWith }: GuardNarrowing, guard: Workload): Narrowings | null {
  const { problem } = view;
  const model = problem.fleet.models.find(({ name }) => name === guard.of?.model);
  if (model === undefined || guard.of === undefined || guard.of === null) return null;
  const { within } = guard.of;
  const free = (one: InstanceId): boolean =>
    problem.withheld?.has(one) !== true && !view.kept.has(one);
  const guards = instancesOf(guard).filter(free);
  const out = new Map(guards.map((one) => [one, guardReason(guard, one, false)] as const));
  const before = planWith(new Map(), out);
  const cards = [...view.cards.values()];
  const homeOf = (card: { readonly node: string; readonly id: string }): string =>
    within === 'node' ? card.node : `${card.node} ${card.id}`;
  const cardsOf = (homes: ReadonlySet<string>): ReadonlySet<string> =>
    new Set(cards.filter((card) => homes.has(homeOf(card))).map(cardKey));
  const reason = {
    code: 'guarded-model',
    message: `is kept to the ${within} that it shares with ${guard.name} or ${model.name}`,
  };
  // As the models go without their guardrails.
  const following = new Map<InstanceId, Narrowing>();
  const homes = new Set<string>();
  for (const { instance, workload, shares } of before.placements) {
    if (workload !== model.name) continue;
    const own = new Set(shares.map(({ node, card }) => homeOf({ node, id: card })));
    for (const home of own) homes.add(home);
    if (free(instance) && problem.narrowed?.has(instance) !== true)
      following.set(instance, { cards: cardsOf(own), reason });
  }
  for (const one of guards) following.set(one, { cards: cardsOf(homes), reason });
  const anchor = instancesOf(model).find((one) => free(one) && problem.narrowed?.has(one) !== true);
  const possible = (card: CardChoice): boolean => permits(model, card) && permits(guard, card);
  const elsewhere =
    anchor === undefined
      ? []
      : [...new Set(cards.filter(possible).map(homeOf))]
          .filter((home) => !homes.has(home))
          .slice(0, MOST_HOMES)
          .map((home): Narrowings => {
            const narrowing = { cards: cardsOf(new Set([home])), reason };
            return new Map([anchor, ...guards].map((one) => [one, narrowing]));
          });
  const complete = (plan: Plan): boolean => {
    const next = toPlanView(problem, plan, cards);
    const broken = guardBreaks(next);
    return guards.every((one) => next.placed.has(one) && !broken.has(one));
  };
  const tried: { readonly narrowed: Narrowings; readonly plan: Plan }[] = [];
  for (const narrowed of [following, ...elsewhere]) {
    const plan = planWith(narrowed, new Map());
    tried.push({ narrowed, plan });
    if (complete(plan) && placesAll(plan, before)) return narrowed;
  }
  const [best] = tried.toSorted((a, b) =>
    compareWorth(planWorth(problem, a.plan), planWorth(problem, b.plan)),
  );
  return best?.narrowed ?? null;
}

/** Whether a plan places at least what another does. */
function placesAll(plan: Plan, other: Plan): boolean {
  const placed = new Set(plan.placements.map(({ instance }) => instance));
  return other.placements.every(({ instance }) => placed.has(instance));
}

/** Guardrails and their models are drawn to each other where that costs nothing. */
export function withAttraction(problem: FleetProblem): FleetProblem {
  if (!problem.fleet.models.some(({ of = null }) => of !== null)) return problem;
  const models = problem.fleet.models.map((workload) => {
    const { of = null, placement } = workload;
    if (of === null || placement.near.includes(of.model)) return workload;
    return { ...workload, placement: { ...placement, near: [...placement.near, of.model] } };
  });
  return { ...problem, fleet: { ...problem.fleet, models } };
}

/** Guardrails without a place whose model has one, and which nobody has moved about yet. */
export function missingGuards(
  { fleet }: FleetProblem,
  plan: Plan,
  { withheld, narrowed }: Rulings,
): readonly InstanceId[] {
  const placed = new Set(plan.placements.map(({ instance }) => instance));
  return fleet.models.flatMap((workload) =>
    (workload.of ?? null) === null
      ? []
      : instancesOf(workload).filter(
          (instance) => !placed.has(instance) && !withheld.has(instance) && !narrowed.has(instance),
        ),
  );
}

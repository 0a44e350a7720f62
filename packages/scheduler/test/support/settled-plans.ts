/**
 * Random fleets that change beneath what runs, and what planning again would change of their plans. Used by the gate's
 * property test and by the soak.
 */
import { type Assignment, BANDS, type Band, type Plan, workloadName } from '@aim-gpu/core';
import fc from 'fast-check';
import { toPartitions } from '../../src/card-inventory.js';
import { type FleetProblem, planFleet } from '../../src/index.js';
import { aProblem, type ModelWords } from './problems.js';

/** Cards, and two fleets for them. */
export interface ChangingFleet {
  readonly count: number;
  readonly product: string;
  readonly first: readonly ModelWords[];
  readonly second: readonly ModelWords[];
  readonly objective: 'pack' | 'spread' | 'latency' | 'stable';
}

const model = (index: number): fc.Arbitrary<ModelWords> =>
  fc.record({
    name: fc.constant(`m${index}`),
    gib: fc.integer({ min: 1, max: 150 }),
    band: fc.constantFrom<Band>(...BANDS),
    replicas: fc.constantFrom(1, 1, 2, 3),
    ranks: fc.constantFrom(1, 1, 1, 1, 2),
    requestsPerSecond: fc.double({ min: 0.01, max: 2, noNaN: true }),
    placement: fc.record({
      exclusive: fc.constantFrom(true, false, false),
      near: fc.constantFrom([], [], [workloadName(`m${index + 1}`)]),
      apart: fc.constantFrom([], [], [workloadName(`m${index + 2}`)]),
    }),
  });

const models = (most: number): fc.Arbitrary<readonly ModelWords[]> =>
  fc
    .integer({ min: 1, max: most })
    .chain((size) => fc.tuple(...Array.from({ length: size }, (_, index) => model(index))));

/** The problem once the plan has been applied. */
export function applied(problem: FleetProblem, plan: Plan): FleetProblem {
  const planned = new Map(
    plan.nodes.flatMap(({ name, cards }) => cards.map((card) => [`${name} ${card.id}`, card])),
  );
  return {
    ...problem,
    inventories: problem.inventories.map((inventory) => ({
      ...inventory,
      generation: plan.id,
      cards: inventory.cards.map((card) => {
        const { layout, product } = planned.get(`${inventory.node} ${card.id}`) ?? {
          layout: null,
          product: '',
        };
        return layout === null
          ? card
          : { ...card, layout, partitions: toPartitions(product ?? '', layout) };
      }),
    })),
    assignments: plan.placements.map(
      ({ instance, workload, shares }): Assignment => ({
        instance,
        workload,
        shares,
        plan: plan.id,
      }),
    ),
  };
}

/** A fleet, and another one that follows it on the same cards. */
export const changingFleets: fc.Arbitrary<ChangingFleet> = fc.record({
  count: fc.integer({ min: 1, max: 5 }),
  product: fc.constantFrom('MI300X', 'MI355X'),
  first: models(7),
  second: models(7),
  objective: fc.constantFrom('pack', 'spread', 'latency', 'stable' as const),
});

/** What planning again would change: of the first fleet's plan, and of the second's on top of it. */
export function changedAgain(fleet: ChangingFleet): readonly string[] {
  const { count, product, objective } = fleet;
  const problemOf = (models: readonly ModelWords[]): FleetProblem =>
    aProblem({
      models,
      cards: { count, product },
      policy: { objective, repartition: { allow: true, maxDowntimeMs: 3_600_000 } },
    });
  const before = problemOf(fleet.first);
  const plan = planFleet(before);
  const { fleet: models, demands } = problemOf(fleet.second);
  const next = { ...applied(before, plan), fleet: models, demands };
  return [...differences(before, plan), ...differences(next, planFleet(next))];
}

function differences(problem: FleetProblem, plan: Plan): readonly string[] {
  const again = planFleet(applied(problem, plan));
  const now = new Map(again.placements.map(({ instance, shares }) => [instance, shares]));
  return [
    ...again.changes.map(({ node, card }) => `changes ${card ?? node}`),
    ...(again.unplaced.length > plan.unplaced.length ? ['places fewer'] : []),
    ...plan.placements
      .filter(
        ({ instance, shares }) => JSON.stringify(now.get(instance)) !== JSON.stringify(shares),
      )
      .map(({ instance }) => `moves ${instance}`),
    ...again.placements
      .filter(({ instance }) => !plan.placements.some((one) => one.instance === instance))
      .map(({ instance }) => `places ${instance}`),
  ];
}

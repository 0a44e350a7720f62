/**
 * Invariants of every plan, over random fleets: never oversubscribed, never two modes on a card or memory modes in a
 * hive, ranks on distinct partitions, exclusive means alone, wishes kept, everything accounted for.
 */
import { BANDS, type Band, type Plan, workloadName } from '@aim-gpu/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type FleetProblem, planFleet } from '../src/index.js';
import { aProblem, type ModelWords } from './support/problems.js';

const model = (index: number): fc.Arbitrary<ModelWords> =>
  fc.record({
    name: fc.constant(`m${index}`),
    gib: fc.integer({ min: 1, max: 200 }),
    band: fc.constantFrom<Band>(...BANDS),
    replicas: fc.integer({ min: 1, max: 3 }),
    ranks: fc.constantFrom(1, 1, 1, 2, 4),
    requestsPerSecond: fc.double({ min: 0.01, max: 3, noNaN: true }),
    placement: fc.record({
      exclusive: fc.boolean(),
      apart: fc.constantFrom([], [workloadName(`m${index + 1}`)]),
      products: fc.constantFrom([], ['MI300X'], ['MI355X']),
    }),
  });

const problem: fc.Arbitrary<FleetProblem> = fc
  .record({
    count: fc.integer({ min: 1, max: 4 }),
    product: fc.constantFrom('MI300X', 'MI355X', 'MI300A', 'MI308X'),
    models: fc
      .integer({ min: 1, max: 5 })
      .chain((size) => fc.tuple(...Array.from({ length: size }, (_, index) => model(index)))),
    objective: fc.constantFrom('pack', 'spread', 'latency', 'stable' as const),
    allow: fc.boolean(),
  })
  .map(({ count, product, models, objective, allow }) =>
    aProblem({
      models,
      cards: { count, product },
      policy: { objective, repartition: { allow, maxDowntimeMs: 120_000 } },
    }),
  );

function check(input: FleetProblem, plan: Plan): void {
  const workloads = new Map(input.fleet.models.map((workload) => [workload.name, workload]));
  const memoryModes = new Set(
    plan.nodes.flatMap((node) => node.cards.map((card) => card.layout.memory)),
  );
  expect(memoryModes.size).toBeLessThanOrEqual(1);
  for (const card of plan.nodes.flatMap((node) => node.cards)) {
    for (const partition of card.partitions) {
      const handedOut = partition.shares.reduce((sum, share) => sum + share.memoryBytes, 0);
      expect(handedOut).toBeLessThanOrEqual(
        partition.memoryBytes * (1 - input.fleet.policy.memoryReserve),
      );
      const owners = partition.shares.filter((share) => isExclusive(share.instance));
      if (owners.length > 0) expect(partition.shares).toHaveLength(1);
    }
  }
  for (const { instance, workload, shares, predicted } of plan.placements) {
    const wish = workloads.get(workload)?.placement;
    const demand = input.demands.get(workload);
    expect(shares).toHaveLength(demand?.ranks ?? 0);
    expect(new Set(shares.map((share) => `${share.card}/${share.partition}`)).size).toBe(
      shares.length,
    );
    for (const share of shares)
      expect(share.memoryBytes).toBeGreaterThanOrEqual(demand?.memory.totalBytes ?? 0);
    const cards = new Set(shares.map((share) => share.card));
    const enemies = plan.placements.filter(
      (other) =>
        wish?.apart.includes(other.workload) && other.shares.some((share) => cards.has(share.card)),
    );
    expect(enemies.map((enemy) => [instance, enemy.instance])).toEqual([]);
    expect(predicted.tpotMs).toBeGreaterThan(0);
    expect(predicted.tpotMs).toBeGreaterThanOrEqual(predicted.aloneTpotMs * 0.999);
  }
  for (const workload of input.fleet.models) {
    const placed = plan.placements.filter(
      (placement) => placement.workload === workload.name,
    ).length;
    const left = plan.unplaced.find((entry) => entry.workload === workload.name)?.replicas ?? 0;
    expect(placed + left).toBe(workload.replicas.min);
  }

  function isExclusive(instance: string): boolean {
    const name = plan.placements.find((placement) => placement.instance === instance)?.workload;
    return name !== undefined && workloads.get(name)?.placement.exclusive === true;
  }
}

describe('every plan', () => {
  it('keeps the invariants', { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(problem, (input) => check(input, planFleet(input))),
      { numRuns: 150 },
    );
  });
});

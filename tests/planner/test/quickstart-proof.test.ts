/**
 * The quickstart's own fleet file on the machine that it asks for: the exact solver proves that no plan is worth more, by
 * any preset.
 */
import path from 'node:path';
import { createRng, type Objective } from '@aim-gpu/core';
import { createManualClock, createMemoryStateStore } from '@aim-gpu/core/testing';
import { createSimulatedDriver } from '@aim-gpu/driver-simulated';
import { readFleetFile } from '@aim-gpu/fleet';
import {
  compareWithBest,
  type FleetProblem,
  planFleet,
  solveLayoutsExactly,
  toLayoutProblem,
  worthOfPlan,
} from '@aim-gpu/scheduler';
import { createModelLibrary, sizeWorkload } from '@aim-gpu/sizing';
import { describe, expect, it } from 'vitest';

const FILE = path.resolve(import.meta.dirname, '../../../examples/quickstart/fleet.yaml');

async function readProblem(): Promise<FleetProblem> {
  const { fleet } = await readFleetFile(FILE);
  const library = createModelLibrary();
  const demands = new Map(
    await Promise.all(
      fleet.models.map(
        async (model) =>
          [model.name, sizeWorkload(model, await library.load(model.source))] as const,
      ),
    ),
  );
  const inventories = await Promise.all(
    fleet.nodes.map(async ({ name: node, cards }) => {
      const driver = createSimulatedDriver({
        node,
        cards,
        store: createMemoryStateStore(),
        clock: createManualClock(),
        rng: createRng(1),
        timing: 'short',
      });
      try {
        return await driver.discover();
      } finally {
        await driver.close();
      }
    }),
  );
  return { fleet, inventories, demands };
}

describe("the quickstart's plan", () => {
  it.each<Objective>(['pack', 'spread', 'latency', 'stable'])(
    'is proved optimal with the preset %s',
    { timeout: 120_000 },
    async (objective) => {
      const asked = await readProblem();
      const { fleet } = asked;
      const problem = { ...asked, fleet: { ...fleet, policy: { ...fleet.policy, objective } } };
      const bare = toLayoutProblem(problem);
      const plan = planFleet(problem);
      expect(plan.placements).toHaveLength(5);
      const exact = await solveLayoutsExactly(bare);
      expect(exact.proved).toBe(true);
      expect(compareWithBest(worthOfPlan(bare, plan), exact.bound)).toEqual({
        level: null,
        percent: 100,
      });
    },
  );
});

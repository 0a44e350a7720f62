/**
 * Random shared fleets: quotas, gangs, spread, guarded models, protected instances, cordoned and degraded cards. None of
 * their rules is broken by any plan, and fine-tunes cost nobody a place.
 */
import { BANDS, createRng } from '@aim-gpu/core';
import { expect, it } from 'vitest';
import { type FleetProblem, planFleet } from '../src/index.js';
import { brokenFleetRules, sharedFleet } from './support/shared-fleets.js';

const FLEETS = 200;

it(`keeps every rule on ${FLEETS} random shared fleets`, { timeout: 120_000 }, () => {
  const rng = createRng(20_261_126);
  for (let round = 0; round < FLEETS; round += 1) {
    const fleet = sharedFleet(rng);
    const broken = brokenFleetRules(fleet, planFleet(fleet.problem));
    if (broken.length > 0) expect({ round, broken, fleet }).toEqual({ broken: [] });
  }
});

function placedByBand({ fleet }: FleetProblem, plan: ReturnType<typeof planFleet>): number[] {
  const firm = new Map(
    fleet.models.filter(({ kind }) => kind !== 'finetune').map((model) => [model.name, model]),
  );
  const counts = BANDS.map(() => 0);
  for (const { workload } of plan.placements) {
    const model = firm.get(workload);
    if (model === undefined) continue;
    const rank = BANDS.indexOf(model.band);
    counts[rank] = (counts[rank] ?? 0) + 1;
  }
  return counts;
}

it('gives everybody else with fine-tunes what it gives without', { timeout: 120_000 }, () => {
  const rng = createRng(20_261_127);
  for (let round = 0; round < 40; round += 1) {
    const { problem: fleet } = sharedFleet(rng);
    // A fine-tune that must stay, or that its tenant's quota is spent on, is not there to yield.
    const problem: FleetProblem = {
      ...fleet,
      protectedInstances: [],
      fleet: {
        ...fleet.fleet,
        tenants: [],
        models: fleet.fleet.models.map((model) => ({
          ...model,
          placement: { ...model.placement, protected: false },
        })),
      },
    };
    const models = problem.fleet.models.filter(({ kind }) => kind !== 'finetune');
    if (models.length === problem.fleet.models.length || models.length === 0) continue;
    const without = { ...problem, fleet: { ...problem.fleet, models } };
    const [own, others] = [
      placedByBand(problem, planFleet(problem)),
      placedByBand(without, planFleet(without)),
    ];
    expect({ round, fewer: own.some((count, rank) => count < (others[rank] ?? 0)) }).toEqual({
      round,
      fewer: false,
    });
  }
});

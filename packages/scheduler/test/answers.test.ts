/** Waits, contradictions and the use of a plan, by scenes small enough to see the answer. */
import { bytes, cardId, GIB, instanceId, nodeName, workloadName } from '@aim-gpu/core';
import { aFleet } from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import { findConflict, planFleet, predictWaits, reportUsage } from '../src/index.js';
import { aProblem, type ModelWords } from './support/problems.js';

const HOUR = 3_600_000;
const FIXED = { repartition: { allow: false, maxDowntimeMs: 0 } };

describe('predicted waits', () => {
  const job = (name: string, gib: number, hours: number | null): ModelWords => ({
    name,
    gib,
    band: 'critical',
    workload: { durationMs: hours === null ? null : hours * HOUR },
  });
  const late: ModelWords = { name: 'late', gib: 150, band: 'batch' };
  const waitsOf = (models: readonly ModelWords[], ends?: ReadonlyMap<string, number>): unknown => {
    const problem = aProblem({ models, policy: FIXED });
    const known = new Map(
      [...(ends ?? [])].map(([name, ms]) => [instanceId(workloadName(name), 0), ms]),
    );
    const asked = ends === undefined ? problem : { ...problem, endsInMs: known };
    return predictWaits(asked, planFleet(asked));
  };

  it('end with the one whose room is enough', () => {
    expect(waitsOf([job('short', 60, 1), job('long', 60, 5), late])).toEqual([
      { workload: 'late', waitMs: 5 * HOUR, until: ['short-0', 'long-0'] },
    ]);
    expect(waitsOf([job('short', 100, 1), job('long', 30, 5), late])).toEqual([
      { workload: 'late', waitMs: HOUR, until: ['short-0'] },
    ]);
  });

  it('count from what is known of those who run', () => {
    const ends = new Map([['short', 60_000]]);
    expect(waitsOf([job('short', 100, 1), job('long', 30, 5), late], ends)).toEqual([
      { workload: 'late', waitMs: 60_000, until: ['short-0'] },
    ]);
  });

  it('are not known where nobody ends, or the end helps nobody', () => {
    const unknown = [{ workload: 'late', waitMs: null, until: [] }];
    expect(waitsOf([job('long', 100, null), late])).toEqual(unknown);
    expect(waitsOf([job('short', 10, 1), job('long', 100, null), late])).toEqual(unknown);
  });

  it('are nobody’s when all have a place', () => {
    expect(waitsOf([job('short', 10, 1)])).toEqual([]);
  });
});

describe('contradictory wishes', () => {
  const place = { node: nodeName('node0'), card: cardId('0000:0c:00.0'), partition: null };

  it('are one when one is impossible', () => {
    const problem = aProblem({
      models: [
        { name: 'a', gib: 10, placement: { products: ['MI355X'], exclusive: true } },
        { name: 'b', gib: 10, placement: { exclusive: true } },
      ],
    });
    expect(findConflict(problem, 'a')).toEqual([{ workload: 'a', wish: 'placement.products' }]);
  });

  it('are all that it takes when each alone could be met', () => {
    const problem = aProblem({
      models: [
        { name: 'a', gib: 10, band: 'critical', placement: { pin: place } },
        {
          name: 'b',
          gib: 10,
          placement: { pin: place, apart: [workloadName('a')] },
        },
      ],
      cards: { count: 2 },
    });
    const blamed = findConflict(problem, 'b');
    expect(blamed).toHaveLength(3);
    expect(blamed).toContainEqual({ workload: 'b', wish: 'placement.apart' });
    for (const wish of blamed) {
      const without = {
        ...problem,
        fleet: {
          ...problem.fleet,
          models: problem.fleet.models.map((model) =>
            model.name !== wish.workload
              ? model
              : {
                  ...model,
                  placement: {
                    ...model.placement,
                    ...(wish.wish === 'placement.pin' ? { pin: null } : { apart: [] }),
                  },
                },
          ),
        },
      };
      expect(planFleet(without).unplaced).toEqual([]);
    }
  });

  it('are none when room is missing, or nothing is', () => {
    const problem = aProblem({
      models: [
        { name: 'huge', gib: 4_000, placement: { exclusive: true } },
        { name: 'small', gib: 10 },
      ],
    });
    expect(findConflict(problem, 'huge')).toEqual([]);
    expect(findConflict(problem, 'small')).toEqual([]);
    expect(() => findConflict(problem, 'nobody')).toThrowError(
      expect.objectContaining({ code: 'ERR_MODEL_UNKNOWN' }),
    );
  });
});

describe('use of a plan', () => {
  const problem = aProblem({
    models: [
      { name: 'a', gib: 30 },
      { name: 'b', gib: 90 },
    ],
    cards: { count: 2 },
    policy: { ...FIXED, objective: 'pack' },
  });
  const priced = {
    ...problem,
    fleet: {
      ...problem.fleet,
      nodes: aFleet().nodes.map((node) => ({
        ...node,
        name: nodeName('node0'),
        cardPricePerHour: 2,
      })),
    },
  };

  it('adds up over cards, nodes and models', () => {
    const usage = reportUsage(priced, planFleet(priced));
    const used = usage.cards.reduce((sum, card) => sum + card.sharedBytes, 0);
    expect(usage.fleet).toMatchObject({ cards: 2, sharedBytes: used, pricePerHour: 4 });
    expect(usage.nodes).toEqual([{ node: 'node0', ...usage.fleet }]);
    expect(usage.workloads.reduce((sum, one) => sum + one.sharedBytes, 0)).toBe(used);
    expect(usage.fleet.ratio).toBeCloseTo(used / usage.fleet.memoryBytes, 12);
    expect(used).toBeGreaterThanOrEqual(bytes(120 * GIB));
    const paid = usage.workloads.reduce((sum, { pricePerHour }) => sum + (pricePerHour ?? 0), 0);
    expect(paid).toBeCloseTo(2 * (2 - usage.fleet.emptyCards), 9);
  });

  it('has no price where none is told', () => {
    const usage = reportUsage(problem, planFleet(problem));
    expect(usage.fleet.pricePerHour).toBeNull();
    expect(usage.workloads.map(({ pricePerHour }) => pricePerHour)).toEqual([null, null]);
  });
});

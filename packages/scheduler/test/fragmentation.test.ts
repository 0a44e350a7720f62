/** Fragmentation by hand-made examples, its score, and the openb harness on a small cut of the trace. */
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { createCluster } from '../bench/openb/cluster.js';
import { createPolicy, POLICIES, toDistribution } from '../bench/openb/policies.js';
import { simulate } from '../bench/openb/simulation.js';
import { readNodes, readPods, toArrivals } from '../bench/openb/trace.js';
import { createDemandDistribution, fragmentationScore } from '../src/index.js';

const halfAndWhole = createDemandDistribution({
  demands: [
    { amount: 50, units: 1, side: 0, kinds: null, weight: 3 },
    { amount: 100, units: 2, side: 0, kinds: ['big'], weight: 1 },
  ],
  capacityByKind: new Map([
    ['big', 200],
    ['small', 600],
  ]),
  coverage: 1,
});

describe('fragmentation', () => {
  it.each([
    // A quarter of the demands needs two whole big units, the rest half a unit.
    ['nothing is lost on an empty big group', 'big', [100, 100], 0],
    ['what one in four cannot use on small units', 'small', [100, 100], 50],
    ['a broken pair is lost to the same one', 'big', [100, 50], 0.25 * 150],
    ['crumbs are lost to all', 'big', [40, 40], 80],
    ['crumbs beside a half', 'small', [40, 50], 90 - 0.75 * 50],
  ])('%s', (_, kind, free, lost) => {
    const group = { kind, free, sideFree: Number.POSITIVE_INFINITY };
    expect(halfAndWhole.fragmentation(group)).toBeCloseTo(lost, 9);
  });

  it('counts idle capacity that starves for the side resource', () => {
    const hungry = createDemandDistribution({
      demands: [{ amount: 50, units: 1, side: 10, kinds: null, weight: 1 }],
      capacityByKind: new Map([['any', 100]]),
    });
    expect(hungry.fragmentation({ kind: 'any', free: [100], sideFree: 9 })).toBe(100);
    expect(hungry.fragmentation({ kind: 'any', free: [100], sideFree: 10 })).toBe(0);
    expect(hungry.sidePerAmount).toBeCloseTo(0.2, 9);
  });

  it('finds a kind scarce that others are bound to', () => {
    // 200 of 350 asked are bound to a quarter of the capacity.
    expect(halfAndWhole.scarcity('big')).toBeCloseTo(200 / 350 / 0.25, 9);
    expect(halfAndWhole.scarcity('small')).toBe(0);
  });

  it('scores the half that leaves the pair whole better than the one that breaks it', () => {
    const demand = { amount: 50, units: 1, side: 0, kinds: null };
    const score = (free: readonly number[], unit: number): number =>
      fragmentationScore(halfAndWhole, {
        group: { kind: 'small', free, sideFree: Number.POSITIVE_INFINITY },
        demand,
        units: [unit],
      });
    expect(score([100, 50], 1)).toBeLessThanOrEqual(score([100, 50], 0));
    expect(score([100, 60], 0)).toBeLessThan(score([100, 60], 1));
  });
});

describe('worth of idle capacity', () => {
  // Small units are shared by halves only; of big ones those who want a pair take each whole.
  it.each([
    ['empty units whole', 'small', [100, 100], 200],
    ['a half its half', 'small', [100, 50], 150],
    ['what is over beside a half nothing', 'small', [99, 49], 50],
    ['parts of big units likewise', 'big', [100, 60], 150],
  ])('counts %s', (_, kind, free, worth) => {
    const group = { kind, free, sideFree: 0, unitCapacity: 100 };
    expect(halfAndWhole.worth(group)).toBeCloseTo(worth, 9);
  });

  it('is nothing where no capacity of a unit is known', () => {
    expect(halfAndWhole.worth({ kind: 'small', free: [100], sideFree: 0 })).toBe(0);
  });

  it('puts what has no partner on an empty unit and what has one beside it', () => {
    const mix = createDemandDistribution({
      demands: [
        { amount: 81, units: 1, side: 0, kinds: null, weight: 5 },
        { amount: 60, units: 1, side: 0, kinds: null, weight: 3 },
        { amount: 40, units: 1, side: 0, kinds: null, weight: 1 },
      ],
      capacityByKind: new Map([['any', 1000]]),
    });
    const score = (amount: number, unit: number): number =>
      fragmentationScore(mix, {
        group: { kind: 'any', free: [100, 40, 60], sideFree: Infinity, unitCapacity: 100 },
        demand: { amount, units: 1, side: 0, kinds: null },
        units: [unit],
      });
    // 60 is what the many need, so 40 goes into the 40 that is free.
    expect(score(40, 1)).toBeLessThan(score(40, 2));
    expect(score(60, 2)).toBeLessThan(score(60, 0));
  });
});

describe('the openb harness', () => {
  const data = path.resolve(import.meta.dirname, '../bench/data/openb');
  const nodes = readNodes(path.join(data, 'node_list_gpu_node.csv')).slice(0, 100);
  const list = readPods(path.join(data, 'pod_list_default.csv'));

  it('tunes demand to the target and is repeatable', () => {
    const { capacityMilli } = createCluster(nodes);
    const small = { ...list, pods: list.pods.slice(0, 300) };
    for (const pods of [small, list]) {
      const options = { capacityMilli, tune: 1.3, seed: 42 };
      const arrivals = toArrivals(pods, options);
      expect(arrivals).toEqual(toArrivals(pods, options));
      const demand = arrivals.reduce((sum, kind) => {
        const { gpus = 0, gpuMilli = 0 } = list.kinds[kind] ?? {};
        return sum + gpus * gpuMilli;
      }, 0);
      expect(demand).toBeLessThanOrEqual(1.3 * capacityMilli);
      expect(demand).toBeGreaterThan(1.3 * capacityMilli - 8000);
    }
  });

  it('never oversubscribes, and ours allocates more than random', () => {
    const { capacityMilli, capacityByModel } = createCluster(nodes);
    const distribution = toDistribution(list, capacityByModel);
    const arrivals = toArrivals(list, { capacityMilli, tune: 1.3, seed: 42 });
    const allocated = POLICIES.map((name) => {
      const policy = createPolicy(name, { list, nodes, distribution, seed: 42 });
      const run = simulate({ nodes, list, arrivals, policy, distribution, marks: [100] });
      return run.readings.get(100)?.allocPct ?? 0;
    });
    const [ours = 0, , , random = 0] = allocated;
    expect(Math.max(...allocated)).toBeLessThanOrEqual(100);
    expect(ours).toBeGreaterThan(random);
  });

  it('reads lists without the columns after gpu_milli, and says what is wrong with a list', () => {
    const file = path.resolve(import.meta.dirname, 'fixtures/openb/pods-short.csv');
    const { kinds, pods } = readPods(file);
    expect(pods).toEqual([0, 1, 0]);
    expect(kinds.map(({ models }) => models)).toEqual([null, null]);
    expect(() =>
      readPods(path.resolve(import.meta.dirname, 'fixtures/openb/pods-wrong.csv')),
    ).toThrow(/cpu_milli/);
  });
});

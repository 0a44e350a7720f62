/**
 * Scenarios: models and cards in, layouts and places out.
 */
import {
  type CardId,
  cardId,
  type Demand,
  formatLayout,
  type InstanceId,
  type Layout,
  nodeName,
  type Plan,
  type PlanId,
  workloadName,
} from '@aim-gpu/core';
import { findProduct, type Product } from '@aim-gpu/core/products';
import { aCard, anInventory } from '@aim-gpu/core/testing';
import { type Calibration, ENGINE_PROFILES, toPartitionSpeed } from '@aim-gpu/performance';
import { describe, expect, it } from 'vitest';
import { planFleet } from '../src/index.js';
import { aProblem, type ModelWords, type ProblemWords } from './support/problems.js';

function layouts(plan: Plan): readonly string[] {
  return plan.nodes.flatMap((node) => node.cards.map((card) => formatLayout(card.layout)));
}

/** Instances by partition, as `card/partition: a b`. */
function places(plan: Plan): Readonly<Record<string, readonly string[]>> {
  const found: Record<string, string[]> = {};
  for (const { instance, shares } of plan.placements) {
    for (const { card, partition } of shares) {
      const key = `${card}/${partition}`;
      found[key] = [...(found[key] ?? []), instance].toSorted();
    }
  }
  return found;
}

const quickstart: readonly ModelWords[] = [
  { name: 'assistant', gib: 36, band: 'interactive', placement: { exclusive: true } },
  { name: 'coder', gib: 40, band: 'standard', placement: { exclusive: true } },
  { name: 'writer', gib: 40, band: 'batch', placement: { exclusive: true } },
  { name: 'guard', gib: 5, band: 'critical' },
  { name: 'drafts', gib: 7, band: 'best_effort' },
];

interface Scenario {
  readonly name: string;
  readonly problem: ProblemWords;
  readonly wantLayouts: readonly string[];
  readonly wantSizes: readonly number[];
}

const SCENARIOS: readonly Scenario[] = [
  {
    name: 'one small model leaves the card as it is',
    problem: { models: [{ name: 'a', gib: 20 }] },
    wantLayouts: ['SPX/NPS1'],
    wantSizes: [1],
  },
  {
    name: 'three exclusive models and two small ones need four partitions',
    problem: { models: quickstart },
    wantLayouts: ['QPX/NPS1'],
    wantSizes: [1, 1, 1, 2],
  },
  {
    name: 'two exclusive models need two partitions',
    problem: { models: quickstart.slice(0, 2) },
    wantLayouts: ['DPX/NPS1'],
    wantSizes: [1, 1],
  },
  {
    name: 'eight exclusive small models need every XCD alone',
    problem: { models: [{ name: 'a', gib: 20, replicas: 8, placement: { exclusive: true } }] },
    wantLayouts: ['CPX/NPS1'],
    wantSizes: [1, 1, 1, 1, 1, 1, 1, 1],
  },
  {
    name: 'a tensor-parallel instance of two ranks gets two partitions of one card',
    problem: { models: [{ name: 'a', gib: 90, ranks: 2 }] },
    wantLayouts: ['DPX/NPS1'],
    wantSizes: [1, 1],
  },
  {
    name: 'a tensor-parallel instance too large for a card gets whole cards of a hive',
    problem: { models: [{ name: 'a', gib: 180, ranks: 2 }], cards: { count: 2 } },
    wantLayouts: ['SPX/NPS1', 'SPX/NPS1'],
    wantSizes: [1, 1],
  },
  {
    name: 'cards of one node may differ in compute mode',
    problem: {
      models: [
        { name: 'big', gib: 180, band: 'interactive' },
        { name: 'small', gib: 44, replicas: 4, placement: { exclusive: true } },
      ],
      cards: { count: 2 },
    },
    wantLayouts: ['SPX/NPS1', 'QPX/NPS1'],
    wantSizes: [1, 1, 1, 1, 1],
  },
];

describe('layouts and places', () => {
  it.each(SCENARIOS)('$name', ({ problem, wantLayouts, wantSizes }) => {
    const plan = planFleet(aProblem(problem));
    expect(plan.unplaced).toEqual([]);
    expect(layouts(plan).toSorted()).toEqual([...wantLayouts].toSorted());
    expect(
      Object.values(places(plan))
        .map((names) => names.length)
        .toSorted(),
    ).toEqual(wantSizes);
  });

  it('gives an exclusive instance the whole of its partition but the reserve', () => {
    const plan = planFleet(aProblem({ models: quickstart }));
    const assistant = plan.placements.find((placement) => placement.workload === 'assistant');
    const quarter = (196592 * 2 ** 20) / 4;
    expect(assistant?.shares[0]?.memoryBytes).toBe(Math.floor(quarter * 0.98));
  });

  it('is deterministic, id included, and does not depend on the order of the cards', () => {
    const problem = aProblem({ models: quickstart, cards: { count: 3 } });
    expect(JSON.stringify(planFleet(problem))).toBe(JSON.stringify(planFleet(problem)));
    expect(planFleet(problem).id).toMatch(/^[0-9a-f]{16}$/);
  });
});

describe('wishes', () => {
  const pin = (card: CardId, partition: number | null) => ({
    node: nodeName('node0'),
    card,
    partition,
  });

  it('keeps models apart on different cards', () => {
    const models: ModelWords[] = [
      { name: 'a', gib: 10, placement: { apart: [workloadName('b')] } },
      { name: 'b', gib: 10 },
    ];
    const plan = planFleet(aProblem({ models, cards: { count: 2 } }));
    const cards = plan.placements.map((placement) => placement.shares[0]?.card);
    expect(new Set(cards).size).toBe(2);
  });

  it('puts a model near the one it wants, although another card would fit better', () => {
    const models: ModelWords[] = [
      {
        name: 'a',
        gib: 60,
        band: 'interactive',
        placement: { pin: pin(cardId('0000:1c:00.0'), null) },
      },
      { name: 'b', gib: 10, placement: { near: [workloadName('a')] } },
    ];
    const plan = planFleet(
      aProblem({ models, cards: { count: 2 }, policy: { objective: 'spread' } }),
    );
    expect(plan.placements.map((placement) => placement.shares[0]?.card)).toEqual([
      '0000:1c:00.0',
      '0000:1c:00.0',
    ]);
  });

  it('obeys a pin to a card and partition', () => {
    const models: ModelWords[] = [
      { name: 'a', gib: 20, placement: { pin: pin(cardId('0000:0c:00.0'), 3) } },
      { name: 'b', gib: 40, replicas: 3, placement: { exclusive: true } },
    ];
    const plan = planFleet(aProblem({ models }));
    expect(plan.unplaced).toEqual([]);
    expect(
      plan.placements.find((placement) => placement.workload === 'a')?.shares[0]?.partition,
    ).toBe(3);
  });

  it('gives at least minShare', () => {
    const minShareBytes = (30 * 2 ** 30) as never;
    const plan = planFleet(
      aProblem({ models: [{ name: 'a', gib: 10, placement: { minShareBytes } }] }),
    );
    expect(plan.placements[0]?.shares[0]?.memoryBytes).toBe(30 * 2 ** 30);
  });

  it('looks at the product', () => {
    const inventories = [
      anInventory({
        node: nodeName('node0'),
        cards: [
          aCard({ product: 'MI300X' }),
          aCard({ product: 'MI355X', id: cardId('0000:1c:00.0') }),
        ],
      }),
    ];
    const plan = planFleet(
      aProblem({
        models: [{ name: 'a', gib: 10, placement: { products: ['MI355X'] } }],
        inventories,
      }),
    );
    expect(plan.placements[0]?.shares[0]?.card).toBe('0000:1c:00.0');
  });
});

describe('what finds no place', () => {
  interface Refusal {
    readonly name: string;
    readonly problem: ProblemWords;
    readonly code: string;
    readonly fix: RegExp;
  }
  const REFUSALS: readonly Refusal[] = [
    {
      name: 'a model larger than any partition: fewer sequences',
      problem: { models: [{ name: 'a', gib: 250 }] },
      code: 'does-not-fit',
      fix: /lower concurrency to \d+/,
    },
    {
      name: 'weights larger than any partition: quantize or split',
      problem: { models: [{ name: 'a', gib: 600 }] },
      code: 'does-not-fit',
      fix: /parallel\.tensor to 4/,
    },
    {
      name: 'no card of the wanted product',
      problem: { models: [{ name: 'a', gib: 10, placement: { products: ['MI355X'] } }] },
      code: 'no-card',
      fix: /placement\.products/,
    },
    {
      name: 'one exclusive model too many',
      problem: { models: [{ name: 'a', gib: 40, replicas: 5, placement: { exclusive: true } }] },
      code: 'no-room',
      fix: /add a card/,
    },
    {
      name: 'two models apart and one card',
      problem: {
        models: [
          { name: 'a', gib: 10, placement: { apart: [workloadName('b')] } },
          { name: 'b', gib: 10 },
        ],
      },
      code: 'apart',
      fix: /placement\.apart/,
    },
    {
      name: 'more ranks than a hive has cards',
      problem: { models: [{ name: 'a', gib: 180, ranks: 4 }], cards: { count: 2 } },
      code: 'ranks',
      fix: /parallel\.tensor/,
    },
    {
      name: 'repartition not allowed',
      problem: {
        models: [{ name: 'a', gib: 40, replicas: 2, placement: { exclusive: true } }],
        policy: { repartition: { allow: false, maxDowntimeMs: 0 } },
      },
      code: 'no-room',
      fix: /add a card/,
    },
  ];

  it.each(REFUSALS)('$name', ({ problem, code, fix }) => {
    const plan = planFleet(aProblem(problem));
    expect(plan.unplaced.map((entry) => entry.reasons[0]?.code)).toEqual([code]);
    expect(plan.unplaced[0]?.reasons[0]?.fix).toMatch(fix);
  });

  it('is never the more urgent band', () => {
    const models: ModelWords[] = [
      { name: 'late', gib: 100, band: 'best_effort' },
      { name: 'urgent', gib: 100, band: 'critical' },
    ];
    const plan = planFleet(aProblem({ models }));
    expect(plan.placements.map((placement) => placement.workload)).toEqual(['urgent']);
    expect(plan.unplaced.map((entry) => entry.workload)).toEqual(['late']);
  });

  it('is a model that would slow an urgent neighbour down beyond the policy', () => {
    const models: ModelWords[] = [
      { name: 'urgent', gib: 20, band: 'critical' },
      { name: 'heavy', gib: 100, band: 'batch', requestsPerSecond: 2 },
    ];
    const policy = { repartition: { allow: false, maxDowntimeMs: 0 } };
    const plan = planFleet(aProblem({ models, policy }));
    expect(plan.unplaced.map((entry) => entry.reasons[0]?.code)).toEqual(['slowdown']);
    const generous = planFleet(aProblem({ models, policy: { ...policy, slowdown: 1 as never } }));
    expect(generous.unplaced).toEqual([]);
  });
});

describe('what runs already', () => {
  const models: ModelWords[] = [
    { name: 'a', gib: 40, placement: { exclusive: true } },
    { name: 'b', gib: 40, placement: { exclusive: true } },
  ];
  const layout = { compute: 'DPX', memory: 'NPS1' } as const;

  it('stays where it is', () => {
    const problem = aProblem({ models, cards: { layout } });
    const assignments = [
      {
        instance: 'a-0' as InstanceId,
        workload: workloadName('a'),
        plan: 'p' as PlanId,
        shares: [
          {
            node: nodeName('node0'),
            card: cardId('0000:0c:00.0'),
            partition: 1,
            memoryBytes: (40 * 2 ** 30) as never,
          },
        ],
      },
    ];
    const plan = planFleet({ ...problem, assignments });
    const a = plan.placements.find((placement) => placement.workload === 'a');
    expect(a?.shares[0]?.partition).toBe(1);
    expect(a?.reasons.map((reason) => reason.code)).toContain('kept');
    expect(plan.changes).toEqual([]);
  });

  it('is named in the changes that stop it', () => {
    const more: ModelWords[] = [
      ...models,
      { name: 'c', gib: 40, band: 'critical', placement: { exclusive: true } },
    ];
    const problem = aProblem({ models: more, cards: { layout } });
    const assignments = [
      {
        instance: 'a-0' as InstanceId,
        workload: workloadName('a'),
        plan: 'p' as PlanId,
        shares: [
          {
            node: nodeName('node0'),
            card: cardId('0000:0c:00.0'),
            partition: 0,
            memoryBytes: (40 * 2 ** 30) as never,
          },
        ],
      },
    ];
    const plan = planFleet({ ...problem, assignments });
    expect(plan.unplaced).toEqual([]);
    expect(
      plan.changes.map((change) => [change.from.compute, change.to.compute, change.stops]),
    ).toEqual([['DPX', 'QPX', ['a-0']]]);
    const strict = planFleet({
      ...aProblem({
        models: more,
        cards: { layout },
        policy: { repartition: { allow: true, maxDowntimeMs: 10 } },
      }),
      assignments,
    });
    expect(strict.changes).toEqual([]);
    expect(strict.unplaced).toHaveLength(1);
  });
});

describe('speed calibrations', () => {
  const problem = aProblem({ models: [{ name: 'a', gib: 20 }] });
  const { step } = problem.demands.get(workloadName('a')) as Demand;
  const { constants } = ENGINE_PROFILES.vllm;
  const layout: Layout = { compute: 'SPX', memory: 'NPS1' };
  const product = findProduct('MI300X') as Product;
  const measured: Calibration = {
    product: 'MI300X',
    engine: 'vllm',
    // Half as efficient as the constants of its family.
    constants: {
      ...constants,
      weightEfficiency: constants.weightEfficiency / 2,
      layerMs: constants.layerMs * 2,
    },
    provenance: 'made up for this test',
    measured: { step, speed: toPartitionSpeed({ product, xcds: 8, layout }), tensorParallel: 1 },
    limits: { kvCapacityTokens: 1e5, maxNumSeqs: 8, maxNumBatchedTokens: 8192 },
    measurements: [],
    tpotErrorPercent: 0,
    ttftErrorPercent: 0,
    corrections: {},
  };
  const tpotMs = (calibrations: readonly Calibration[]): number =>
    planFleet({ ...problem, calibrations }).placements[0]?.predicted.tpotMs ?? 0;

  it('make the pace of their product and engine family what was measured', () => {
    expect(tpotMs([measured]) / tpotMs([])).toBeGreaterThan(1.7);
    expect(tpotMs([{ ...measured, product: 'MI325X' }])).toBe(tpotMs([]));
    expect(tpotMs([{ ...measured, engine: 'sglang' }])).toBe(tpotMs([]));
    expect(
      planFleet({ ...problem, calibrations: [measured] }).placements[0]?.reasons,
    ).toContainEqual({ code: 'speed-calibrated', message: 'speed: made up for this test' });
  });
});

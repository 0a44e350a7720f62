/** Fleets so large that the layout search decides everything at once. */
import {
  nodeName,
  type ObservedCard,
  type PlacementWish,
  type Plan,
  workloadName,
} from '@aim-gpu/core';
import { anInventory, someCards } from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import { comparePlans, planFleet } from '../src/index.js';
import { aProblem, type ModelWords } from './support/problems.js';
import { applied } from './support/settled-plans.js';

/** Two nodes of eight cards each. */
const inventories = ['node0', 'node1'].map((name) =>
  anInventory({ node: nodeName(name), cards: someCards(8) }),
);
/** More pairs of card and instance than are tried one by one. */
const CROWD: readonly ModelWords[] = [
  { name: 'crowd', gib: 30, replicas: 30, band: 'standard' },
  { name: 'small', gib: 8, replicas: 10, band: 'batch' },
];

function cardsOf(plan: Plan, workload: string): ReadonlySet<string> {
  return new Set(
    plan.placements
      .filter((placement) => placement.workload === workload)
      .flatMap(({ shares }) => shares.map(({ node, card }) => `${node} ${card}`)),
  );
}

describe('a large fleet', () => {
  const problem = aProblem({ models: CROWD, inventories });

  it('is placed as a whole, never beyond the memory of a partition', () => {
    const plan = planFleet(problem);
    expect(plan.unplaced).toEqual([]);
    expect(plan.placements).toHaveLength(40);
    for (const { memoryBytes, shares } of plan.nodes.flatMap(({ cards }) =>
      cards.flatMap(({ partitions }) => partitions),
    ))
      expect(shares.reduce((sum, share) => sum + share.memoryBytes, 0)).toBeLessThanOrEqual(
        memoryBytes,
      );
  });

  it('stays as it is when it is planned again', () => {
    const first = planFleet(problem);
    const again = planFleet(applied(problem, first));
    expect(comparePlans(first, again)).toEqual({ gained: [], lost: [], moved: [], layouts: [] });
  });

  it('says of what has no place what stands against each partition', () => {
    const models = [...CROWD, { name: 'whale', gib: 150, replicas: 20, band: 'batch' as const }];
    const { unplaced } = planFleet(aProblem({ models, inventories }));
    expect(unplaced).toHaveLength(1);
    expect(unplaced[0]).toMatchObject({
      workload: 'whale',
      reasons: [{ message: expect.stringContaining('150.0 GiB') }],
    });
  });

  it('takes off whoever would slow an urgent neighbour down too much', () => {
    const busy = { requestsPerSecond: 20 };
    const models: readonly ModelWords[] = [
      { name: 'urgent', gib: 60, replicas: 16, band: 'critical', ...busy },
      { name: 'filler', gib: 60, replicas: 24, band: 'best_effort', ...busy },
    ];
    const plan = planFleet(
      aProblem({
        models,
        inventories,
        policy: { repartition: { allow: false, maxDowntimeMs: 0 } },
      }),
    );
    const { placements } = plan;
    expect(placements.filter(({ workload }) => workload === 'urgent')).toHaveLength(16);
    for (const { workload, predicted } of placements) {
      if (workload === 'urgent')
        expect(predicted.tpotMs / predicted.aloneTpotMs).toBeLessThanOrEqual(1.1);
    }
  });
});

describe('wishes to be near in a large fleet', () => {
  const pinned = { node: nodeName('node1'), card: someCards(8)[5]?.id as never, partition: null };
  const guard = (more: Partial<ModelWords> = {}): ModelWords => ({
    name: 'guard',
    gib: 6,
    band: 'critical',
    placement: { near: [workloadName('chat')] },
    ...more,
  });
  const chat: ModelWords = {
    name: 'chat',
    gib: 40,
    band: 'interactive',
    placement: { pin: pinned },
  };

  it('draw one model to the card of the other', () => {
    const plan = planFleet(aProblem({ models: [...CROWD, chat, guard()], inventories }));
    expect(plan.unplaced).toEqual([]);
    expect(cardsOf(plan, 'guard')).toEqual(cardsOf(plan, 'chat'));
  });

  it('move nobody to where there is no room', () => {
    const full = { ...chat, gib: 180 };
    const plan = planFleet(aProblem({ models: [...CROWD, full, guard({ gib: 30 })], inventories }));
    expect(plan.placements.map(({ workload }) => workload)).toContain('guard');
    expect(cardsOf(plan, 'guard')).not.toEqual(cardsOf(plan, 'chat'));
  });

  it('leave whoever runs where it runs', () => {
    const problem = aProblem({ models: [...CROWD, guard()], inventories });
    const first = planFleet(problem);
    const joined = aProblem({ models: [...CROWD, guard(), chat], inventories });
    const then = applied(joined, first);
    const after = planFleet(then);
    expect(comparePlans(first, after).moved).toEqual([]);
    expect(comparePlans(first, after).gained).toEqual(['chat-0']);
  });

  it('do not draw a model away from one that wants to be near it', () => {
    const [first, second] = someCards(2);
    const at = (card: typeof first): PlacementWish['pin'] => ({
      node: nodeName('node1'),
      card: (card as ObservedCard).id,
      partition: null,
    });
    const elsewhere = CROWD.map((model) => ({
      ...model,
      placement: { nodes: [nodeName('node0')] },
    }));
    const models: readonly ModelWords[] = [
      ...elsewhere,
      // The tightest fit for the tool is beside the tail, which cannot follow it from there.
      { name: 'tail', gib: 100, placement: { pin: at(first), near: [workloadName('tool')] } },
      { name: 'chat', gib: 20, placement: { pin: at(second) } },
      {
        name: 'tool',
        gib: 20,
        placement: { nodes: [nodeName('node1')], near: [workloadName('chat')] },
      },
    ];
    const plan = planFleet(
      aProblem({
        models,
        inventories: [
          anInventory({ node: nodeName('node0'), cards: someCards(8) }),
          anInventory({ node: nodeName('node1'), cards: someCards(2) }),
        ],
      }),
    );
    expect(plan.unplaced).toEqual([]);
    expect(cardsOf(plan, 'tool')).toEqual(cardsOf(plan, 'tail'));
  });
});

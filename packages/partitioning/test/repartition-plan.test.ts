import { cardId, type Layout, nodeName, toLayout } from '@aim-gpu/core';
import { aCard, anAssignment, anInventory, aShare, someCards } from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import {
  type PlanRepartitionOptions,
  parseRepartitionPlan,
  planRepartition,
  type RepartitionPlan,
  SHORT_TIMING,
  toLayoutChanges,
} from '../src/index.js';
import {
  aModel,
  MI300X,
  type ModelMachine,
  type ModelOperation,
  operate,
  toInventory,
} from './model-machine.js';

const layout = (text: string): Layout => toLayout(text) as Layout;
const planned = (options: PlanRepartitionOptions): RepartitionPlan => {
  const result = planRepartition(options);
  if (!result.ok) throw new Error(JSON.stringify(result.reasons));
  return result.plan;
};
const refused = (options: PlanRepartitionOptions): readonly string[] => {
  const result = planRepartition(options);
  return result.ok ? [] : result.reasons.map((reason) => reason.code);
};
const words = (plan: RepartitionPlan): string[] =>
  plan.steps.map(({ change }) =>
    change.kind === 'reload' ? 'reload' : `${change.kind} ${change.to}`,
  );

describe('planRepartition', () => {
  const cards = someCards(2);
  const [first, second] = cards.map((card) => card.id);
  if (first === undefined || second === undefined) throw new Error('two cards');

  it.each([
    ['SPX/NPS1', 'SPX/NPS1', []],
    ['SPX/NPS1', 'CPX/NPS1', ['set-compute CPX']],
    ['SPX/NPS1', 'CPX/NPS4', ['stage-memory NPS4', 'reload']],
    ['SPX/NPS1', 'QPX/NPS4', ['stage-memory NPS4', 'reload', 'set-compute QPX']],
    ['SPX/NPS1', 'DPX/NPS2', ['stage-memory NPS2', 'reload']],
    ['CPX/NPS4', 'SPX/NPS1', ['stage-memory NPS1', 'reload']],
    ['CPX/NPS4', 'DPX/NPS1', ['stage-memory NPS1', 'reload', 'set-compute DPX']],
  ])('%s to %s', (from, to, steps) => {
    const inventory = anInventory({ cards: [aCard({ layout: layout(from) })] });
    const desired = [{ card: cardId('0000:0c:00.0'), layout: layout(to) }];
    expect(words(planned({ inventory, desired, assignments: [] }))).toEqual(steps);
  });

  it('stops only who is on the card, or everybody where the kernel wants it or the node reloads', () => {
    const inventory = anInventory({ cards });
    const here = anAssignment({ shares: [aShare({ card: first })] });
    const there = anAssignment({
      instance: 'other-0' as never,
      shares: [aShare({ card: second })],
    });
    const elsewhere = anAssignment({
      instance: 'far-0' as never,
      shares: [aShare({ node: nodeName('node9') })],
    });
    const assignments = [there, here, elsewhere];
    const cpx = [{ card: first, layout: layout('CPX/NPS1') }];
    expect(planned({ inventory, desired: cpx, assignments }).stops).toEqual(['chat-0']);
    expect(planned({ inventory, desired: cpx, assignments, busyScope: 'node' }).stops).toEqual([
      'chat-0',
      'other-0',
    ]);
    const nps4 = [first, second].map((card) => ({ card, layout: layout('CPX/NPS4') }));
    const plan = planned({ inventory, desired: nps4, assignments, timing: SHORT_TIMING });
    expect(plan.stops).toEqual(['chat-0', 'other-0']);
    expect(plan.expectedMs).toBe(5 + 8000 + 1500);
    expect(toLayoutChanges(plan)).toEqual([
      {
        node: 'node0',
        card: null,
        from: layout('SPX/NPS1'),
        to: layout('CPX/NPS4'),
        expectedMs: 9505,
        stops: ['chat-0', 'other-0'],
      },
    ]);
    expect(toLayoutChanges(planned({ inventory, desired: cpx, assignments }))).toEqual([
      {
        node: 'node0',
        card: first,
        from: layout('SPX/NPS1'),
        to: layout('CPX/NPS1'),
        expectedMs: 6500,
        stops: ['chat-0'],
      },
    ]);
  });

  it('names whom it hits, why, and what that costs', () => {
    const inventory = anInventory({ cards });
    const here = anAssignment({ shares: [aShare({ card: first })] });
    const there = anAssignment({
      instance: 'other-0' as never,
      shares: [aShare({ card: second })],
    });
    const assignments = [there, here];
    const cpx = [{ card: first, layout: layout('CPX/NPS1') }];
    const one = planned({ inventory, desired: cpx, assignments });
    expect(one.blastRadius).toMatchObject({
      cards: [first],
      nodeWide: false,
      instances: [{ instance: 'chat-0', cause: 'card-switched', step: 0 }],
      memoryBytes: here.shares[0]?.memoryBytes,
    });
    expect(one.cost).toEqual({
      steps: 1,
      reloads: 0,
      expectedMs: 6500,
      instanceDowntimeMs: 6500,
    });
    const old = planned({ inventory, desired: cpx, assignments, busyScope: 'node' });
    expect(old.blastRadius.instances.map((entry) => entry.cause)).toEqual([
      'card-switched',
      'kernel-blocks',
    ]);
    const nps4 = [first, second].map((card) => ({ card, layout: layout('QPX/NPS4') }));
    const all = planned({ inventory, desired: nps4, assignments });
    expect(all.blastRadius).toMatchObject({ cards: [first, second], nodeWide: true });
    expect(all.blastRadius.instances.map((entry) => entry.cause)).toEqual([
      'driver-reloaded',
      'driver-reloaded',
    ]);
    expect(all.cost).toMatchObject({
      steps: 4,
      reloads: 1,
      instanceDowntimeMs: 2 * all.expectedMs,
    });
  });

  it('can be stored and read again, unless somebody changed it', () => {
    const desired = [{ card: first, layout: layout('CPX/NPS1') }];
    const plan = planned({ inventory: anInventory({ cards }), desired, assignments: [] });
    const stored = JSON.parse(JSON.stringify(plan)) as RepartitionPlan;
    expect(parseRepartitionPlan(stored)).toEqual(plan);
    for (const value of [{ ...stored, expectedMs: 1 }, { ...stored, more: 1 }, null, 'plan', {}])
      expect(() => parseRepartitionPlan(value)).toThrowError(/not a repartition plan/);
  });

  it('puts back cards that a reload for another hive resets', () => {
    const machine = aModel(2, 2).map((card, index) =>
      index === 1 ? { ...card, compute: 'QPX' as const } : card,
    );
    const desired = [{ card: machine[0]?.id as never, layout: layout('CPX/NPS4') }];
    const plan = planned({ inventory: toInventory(machine), desired, assignments: [] });
    expect(words(plan)).toEqual(['stage-memory NPS4', 'reload', 'set-compute QPX']);
    expect(plan.steps.at(-1)?.after).toEqual(plan.to);
  });

  it('is the same plan for the same input and another for another', () => {
    const options = { inventory: anInventory(), desired: [], assignments: [] };
    expect(planned(options)).toEqual(planned(options));
    const later = { ...options, inventory: anInventory({ generation: 'g2' }) };
    expect(planned(later).id).not.toBe(planned(options).id);
  });

  it('warns of a layout nobody has validated', () => {
    const desired = [{ card: first, layout: layout('QPX/NPS1') }];
    const plan = planned({ inventory: anInventory({ cards }), desired, assignments: [] });
    expect(plan.warnings.map((warning) => warning.code)).toEqual(['LAYOUT_NOT_VALIDATED']);
  });

  it('refuses what cannot be', () => {
    const inventory = anInventory({ cards });
    const want = (text: string) => ({
      inventory,
      desired: [{ card: first, layout: layout(text) }],
      assignments: [],
    });
    expect(refused(want('CPX/NPS4'))).toEqual(['HIVE_MEMORY_CONFLICT']);
    expect(refused(want('TPX/NPS1'))).toEqual(['LAYOUT_NOT_OFFERED']);
    const desired = [{ card: cardId('0000:ff:00.0'), layout: layout('SPX/NPS1') }];
    expect(refused({ inventory, desired, assignments: [] })).toEqual(['CARD_UNKNOWN']);
  });

  it('refuses to change what cannot be read, and to reload a node with such a card', () => {
    const [one, two] = someCards(2);
    if (one === undefined || two === undefined) throw new Error('two cards');
    const unread = { ...two, hive: null, layout: { compute: null, memory: null } };
    const inventory = anInventory({ cards: [one, unread] });
    const want = (card: typeof one.id, text: string) => [{ card, layout: layout(text) }];
    expect(refused({ inventory, desired: want(two.id, 'CPX/NPS1'), assignments: [] })).toEqual([
      'LAYOUT_UNREAD',
    ]);
    expect(refused({ inventory, desired: want(one.id, 'CPX/NPS4'), assignments: [] })).toEqual([
      'LAYOUT_UNREAD',
    ]);
    expect(
      words(planned({ inventory, desired: want(one.id, 'CPX/NPS1'), assignments: [] })),
    ).toEqual(['set-compute CPX']);
  });
});

/** The cost of the cheapest way to every layout by trying everything: fewest reloads, then fewest operations. */
function cheapest(start: ModelMachine): ReadonlyMap<string, number> {
  const operations: ModelOperation[] = [
    { kind: 'reload' },
    ...start.flatMap((card): ModelOperation[] => [
      ...(['SPX', 'DPX', 'QPX', 'CPX'] as const).map((to) => ({
        kind: 'set-compute' as const,
        card: card.id,
        to,
      })),
      ...(['NPS1', 'NPS2', 'NPS4'] as const).map((to) => ({
        kind: 'stage-memory' as const,
        card: card.id,
        to,
      })),
    ]),
  ];
  const buckets: ModelMachine[][] = [[start]];
  const done = new Set<string>();
  const costs = new Map<string, number>();
  for (let cost = 0; cost < 2 * RELOAD; cost += 1) {
    for (const machine of buckets[cost] ?? []) {
      const key = JSON.stringify(machine);
      if (done.has(key)) continue;
      done.add(key);
      if (!costs.has(layoutsOf(machine))) costs.set(layoutsOf(machine), cost);
      for (const operation of operations) {
        const next = operate(machine, operation);
        if (next === null) continue;
        const at = cost + (operation.kind === 'reload' ? RELOAD + 1 : 1);
        buckets[at] ??= [];
        buckets[at].push(next);
      }
    }
  }
  return costs;
}

const RELOAD = 50;

function layoutsOf(layouts: readonly Layout[]): string {
  return layouts.map(({ compute, memory }) => `${compute}/${memory}`).join(' ');
}

describe('the number of steps', () => {
  it.each([
    [1, 1],
    [2, 1],
    [2, 2],
  ])('is minimal for every pair of layouts of %i cards in %i hives', (count, hives) => {
    const layouts = MI300X.layouts;
    const states =
      count === 1 ? layouts.map((a) => [a]) : layouts.flatMap((a) => layouts.map((b) => [a, b]));
    const legal = states.filter(
      (state) => hives > 1 || new Set(state.map((entry) => entry.memory)).size === 1,
    );
    let checked = 0;
    for (const from of legal) {
      const start = aModel(count, hives).map((card, index) => ({ ...card, ...pick(from[index]) }));
      const costs = cheapest(start);
      for (const to of legal) {
        const desired = start.map((card, index) => ({ card: card.id, layout: pick(to[index]) }));
        const plan = planned({ inventory: toInventory(start), desired, assignments: [] });
        const reloads = plan.steps.filter((step) => step.change.kind === 'reload').length;
        const cost = plan.steps.length + reloads * RELOAD;
        expect({ from, to, cost }).toEqual({ from, to, cost: costs.get(layoutsOf(to)) });
        checked += 1;
      }
    }
    expect(checked).toBe(legal.length ** 2);
  });
});

function pick(entry: Layout | undefined): Layout {
  if (entry === undefined) throw new Error('a layout');
  return { compute: entry.compute, memory: entry.memory };
}

/**
 * Rules over several instances, one scenario each: who is left out, with which reason, and what it takes to change that.
 */
import {
  type Assignment,
  bytes,
  GIB,
  hiveId,
  nodeName,
  type Plan,
  planId,
  ratio,
  type TenantQuota,
  tenantName,
  workloadName,
} from '@aim-gpu/core';
import { aCard, anInventory, aTenant, someCards } from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import { type FleetProblem, planFleet } from '../src/index.js';
import { aProblem, type ModelWords, type ProblemWords } from './support/problems.js';

const red = tenantName('red');
const blue = tenantName('blue');
const FIXED = { allow: false, maxDowntimeMs: 0 };

function quota(memoryGib: number, borrowGib: number | null = 0, guaranteedGib = 0): TenantQuota {
  return {
    memoryBytes: bytes(memoryGib * GIB),
    borrowBytes: borrowGib === null ? null : bytes(borrowGib * GIB),
    guaranteedBytes: bytes(guaranteedGib * GIB),
  };
}

function shared(words: ProblemWords, quotas: Readonly<Record<string, TenantQuota>>): FleetProblem {
  const problem = aProblem(words);
  const tenants = Object.entries(quotas).map(([name, own]) =>
    aTenant({ name: tenantName(name), quota: own }),
  );
  return { ...problem, fleet: { ...problem.fleet, tenants } };
}

const of = (
  tenant: typeof red,
  gib: number,
  name: string,
  more: Partial<ModelWords> = {},
): ModelWords => ({
  name,
  gib,
  ...more,
  workload: { tenant, ...more.workload },
});

const placed = (plan: Plan): readonly string[] =>
  plan.placements.map(({ instance }) => instance).toSorted();
const codes = (plan: Plan, name: string): readonly string[] =>
  plan.unplaced.find(({ workload }) => workload === name)?.reasons.map(({ code }) => code) ?? [];
const fixOf = (plan: Plan, name: string): string =>
  plan.unplaced.find(({ workload }) => workload === name)?.reasons[0]?.fix ?? '';

describe('quotas', () => {
  it('keep a tenant to its own part although the card has room', () => {
    const plan = planFleet(
      shared({ models: [of(red, 40, 'a'), of(red, 40, 'b')] }, { red: quota(60), blue: quota(60) }),
    );
    expect(placed(plan)).toEqual(['a-0']);
    expect(codes(plan, 'b')).toEqual(['quota']);
    expect(fixOf(plan, 'b')).toMatch(
      /raise quota\.memory of red by .*, or lower the concurrency of b/,
    );
  });

  it.each([
    ['any amount', null, ['a-0', 'b-0']],
    ['enough', 30, ['a-0', 'b-0']],
    ['too little', 10, ['a-0']],
  ] as const)('let a tenant borrow %s of what another leaves', (_, borrow, expected) => {
    const plan = planFleet(
      shared(
        { models: [of(red, 40, 'a'), of(red, 40, 'b')] },
        { red: quota(60, borrow), blue: quota(60) },
      ),
    );
    expect(placed(plan)).toEqual(expected);
  });

  it('do not lend what the other wants itself, nor what is guaranteed to it', () => {
    const models = [of(red, 40, 'a'), of(red, 40, 'b')];
    const wanting = planFleet(
      shared({ models: [...models, of(blue, 50, 'c')] }, { red: quota(60, null), blue: quota(60) }),
    );
    expect(placed(wanting)).toEqual(['a-0', 'c-0']);
    const guaranteed = planFleet(
      shared({ models }, { red: quota(60, null), blue: quota(60, 0, 50) }),
    );
    expect(placed(guaranteed)).toEqual(['a-0']);
    expect(codes(guaranteed, 'b')).toEqual(['quota']);
  });

  it('lend what a tenant wants and cannot use, since it fits nowhere', () => {
    const plan = planFleet(
      shared(
        { models: [of(red, 40, 'a'), of(red, 40, 'b'), of(blue, 300, 'huge')] },
        { red: quota(60, null), blue: quota(400) },
      ),
    );
    expect(placed(plan)).toEqual(['a-0', 'b-0']);
    expect(codes(plan, 'huge')).toEqual(['does-not-fit']);
  });

  it('serve the more urgent band of a tenant first', () => {
    const plan = planFleet(
      shared(
        {
          models: [
            of(red, 40, 'slow', { band: 'batch' }),
            of(red, 40, 'fast', { band: 'critical' }),
          ],
        },
        { red: quota(50) },
      ),
    );
    expect(placed(plan)).toEqual(['fast-0']);
  });

  it('count the whole partition that an exclusive model gets', () => {
    const plan = planFleet(
      shared(
        {
          models: [of(red, 40, 'a', { placement: { exclusive: true } })],
          policy: { repartition: FIXED },
        },
        { red: quota(60) },
      ),
    );
    expect(placed(plan)).toEqual([]);
    expect(codes(plan, 'a')).toEqual(['quota']);
    expect(fixOf(plan, 'a')).toContain('drop placement.exclusive');
  });

  it('take back what a borrower runs on once the owner wants it', () => {
    const models = [of(red, 40, 'a'), of(red, 40, 'b')];
    const quotas = { red: quota(60, null), blue: quota(60) };
    const first = shared({ models }, quotas);
    const second = {
      ...shared({ models: [...models, of(blue, 50, 'c')] }, quotas),
      assignments: running(planFleet(first)),
    };
    expect(placed(planFleet(second))).toEqual(['a-0', 'c-0']);
  });
});

function running(plan: Plan): readonly Assignment[] {
  return plan.placements.map(({ instance, workload, shares }) => ({
    instance,
    workload,
    shares,
    plan: planId('before'),
  }));
}

describe('guaranteed minimums', () => {
  it('are met before another tenant of the same band has more', () => {
    const plan = planFleet(
      shared(
        {
          models: [of(red, 100, 'a'), of(red, 90, 'b'), of(blue, 80, 'c')],
          policy: { repartition: FIXED, slowdown: ratio(1) },
        },
        { red: quota(400), blue: quota(100, 0, 80) },
      ),
    );
    expect(placed(plan)).toContain('c-0');
    expect(codes(plan, 'b')).toEqual(['no-room']);
  });

  it('make a running neighbour of no guarantee give way, of equal worth otherwise', () => {
    const models = [of(red, 100, 'a'), of(red, 80, 'b')];
    const quotas = { red: quota(400), blue: quota(100, 0, 80) };
    const policy = { repartition: FIXED, slowdown: ratio(1) };
    const first = planFleet(shared({ models, policy }, quotas));
    expect(placed(first)).toEqual(['a-0', 'b-0']);
    const problem = shared({ models: [...models, of(blue, 80, 'c')], policy }, quotas);
    const plan = planFleet({ ...problem, assignments: running(first) });
    expect(placed(plan)).toContain('c-0');
    expect(plan.placements).toHaveLength(2);
  });
});

describe('gangs', () => {
  const member = (name: string, gib: number): ModelWords => ({
    name,
    gib,
    workload: { gang: 'crew' },
  });

  it('are placed as a whole', () => {
    const plan = planFleet(aProblem({ models: [member('a', 40), member('b', 60)] }));
    expect(placed(plan)).toEqual(['a-0', 'b-0']);
  });

  it('are left out as a whole, with the cause and its fix', () => {
    const plan = planFleet(
      aProblem({ models: [member('a', 40), member('b', 400), { name: 'c', gib: 20 }] }),
    );
    expect(placed(plan)).toEqual(['c-0']);
    expect(codes(plan, 'b')).toEqual(['does-not-fit']);
    expect(codes(plan, 'a')).toEqual(['gang']);
    expect(fixOf(plan, 'a')).toBe(fixOf(plan, 'b'));
  });

  it('leave their room to another that fits', () => {
    const plan = planFleet(
      aProblem({
        models: [member('a', 150), member('b', 150), { name: 'c', gib: 120, band: 'best_effort' }],
      }),
    );
    expect(placed(plan)).toEqual(['c-0']);
  });

  it('ask for no quota when it is not enough for all of them', () => {
    const words = (name: string, gib: number): ModelWords => ({
      name,
      gib,
      workload: { gang: 'crew', tenant: red },
    });
    const plan = planFleet(
      shared({ models: [words('a', 40), words('b', 40), of(red, 30, 'c')] }, { red: quota(60) }),
    );
    expect(placed(plan)).toEqual(['c-0']);
    expect([codes(plan, 'a'), codes(plan, 'b')].flat().toSorted()).toEqual(['gang', 'quota']);
  });
});

const twoNodes = (cards = 1): ProblemWords['inventories'] =>
  ['node0', 'node1'].map((node) =>
    anInventory({
      node: nodeName(node),
      cards: someCards(cards, { hive: hiveId(`hive-${node}`) }),
    }),
  );

describe('spread', () => {
  const nodesOf = (plan: Plan): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (const { shares } of plan.placements)
      for (const { node } of shares) counts[node] = (counts[node] ?? 0) + 1;
    return counts;
  };

  it('divides the instances over nodes, and packs them without', () => {
    const words = (spread: boolean): ProblemWords => ({
      models: [
        {
          name: 'a',
          gib: 20,
          replicas: 4,
          placement: spread ? { spread: { over: 'node', maxSkew: 1 } } : {},
        },
      ],
      inventories: twoNodes() ?? [],
      policy: { objective: 'pack' },
    });
    expect(nodesOf(planFleet(aProblem(words(true))))).toEqual({ node0: 2, node1: 2 });
    expect(Math.max(...Object.values(nodesOf(planFleet(aProblem(words(false))))))).toBe(4);
  });

  it('leaves out what would make it uneven, with the fix', () => {
    const plan = planFleet(
      aProblem({
        models: [
          { name: 'big', gib: 180, band: 'critical', placement: { nodes: [nodeName('node1')] } },
          { name: 'a', gib: 20, replicas: 3, placement: { spread: { over: 'node', maxSkew: 1 } } },
        ],
        inventories: twoNodes() ?? [],
        policy: { repartition: FIXED },
      }),
    );
    expect(placed(plan)).toEqual(['a-0', 'big-0']);
    expect(codes(plan, 'a')).toEqual(['spread']);
    expect(fixOf(plan, 'a')).toContain('placement.spread.maxSkew of a');
  });

  it('does not count a cordoned node', () => {
    const problem = aProblem({
      models: [
        { name: 'a', gib: 20, replicas: 3, placement: { spread: { over: 'node', maxSkew: 1 } } },
      ],
      inventories: twoNodes() ?? [],
    });
    const nodes = [
      { name: nodeName('node0'), driver: 'simulated', cards: [], cordoned: 'all' } as const,
    ];
    const plan = planFleet({ ...problem, fleet: { ...problem.fleet, nodes } });
    expect(nodesOf(plan)).toEqual({ node1: 3 });
  });

  it.each(['card', 'hive'] as const)('knows each %s', (over) => {
    const plan = planFleet(
      aProblem({
        models: [{ name: 'a', gib: 20, replicas: 4, placement: { spread: { over, maxSkew: 1 } } }],
        inventories: twoNodes(2) ?? [],
        policy: { objective: 'pack' },
      }),
    );
    const cards = plan.placements.map(({ shares: [share] }) => `${share?.node} ${share?.card}`);
    expect(new Set(cards).size).toBe(over === 'card' ? 4 : new Set(cards).size);
    expect(nodesOf(plan)).toEqual({ node0: 2, node1: 2 });
  });
});

describe('a guarded model', () => {
  const guard = (within: 'card' | 'node', more: Partial<ModelWords> = {}): ModelWords => ({
    name: 'guard',
    gib: 8,
    band: 'critical',
    ...more,
    workload: { kind: 'guardrail', of: { model: workloadName('chat'), within } },
  });
  const cardOf = (plan: Plan, instance: string): string | undefined =>
    plan.placements
      .filter((one) => one.instance === instance)
      .map(({ shares: [share] }) => `${share?.node} ${share?.card}`)[0];

  it.each(['pack', 'spread', 'latency', 'stable'] as const)(
    'has its guardrail beside it (%s)',
    (objective) => {
      const plan = planFleet(
        aProblem({
          models: [guard('card'), { name: 'chat', gib: 60 }, { name: 'other', gib: 100 }],
          cards: { count: 3 },
          policy: { objective },
        }),
      );
      expect(cardOf(plan, 'guard-0')).toBe(cardOf(plan, 'chat-0'));
      expect(plan.unplaced).toEqual([]);
    },
  );

  it('takes it along to a card with room for both', () => {
    const plan = planFleet(
      aProblem({
        models: [
          { name: 'wall', gib: 60, band: 'critical', placement: { exclusive: true } },
          guard('card', { gib: 30 }),
          { name: 'chat', gib: 150 },
        ],
        cards: { count: 2 },
        policy: { repartition: FIXED },
      }),
    );
    expect(plan.unplaced).toEqual([]);
    expect(cardOf(plan, 'guard-0')).toBe(cardOf(plan, 'chat-0'));
  });

  it('is served alone when no card has room for both, and the guardrail says why', () => {
    const problem = (within: 'card' | 'node'): FleetProblem =>
      aProblem({
        models: [guard(within, { gib: 60 }), { name: 'chat', gib: 150 }],
        cards: { count: 2 },
        policy: { repartition: FIXED },
      });
    const plan = planFleet(problem('card'));
    expect(plan.placements).toHaveLength(1);
    expect(codes(plan, plan.unplaced[0]?.workload ?? '')).toEqual(['guarded-model']);
    expect(planFleet(problem('node')).unplaced).toEqual([]);
  });

  it('takes its guardrail with it when it has no place itself', () => {
    const plan = planFleet(aProblem({ models: [guard('card'), { name: 'chat', gib: 400 }] }));
    expect(plan.placements).toEqual([]);
    expect(codes(plan, 'guard')).toEqual(['guarded-model']);
    expect(fixOf(plan, 'guard')).toBe('give chat a place');
  });
});

describe('a fine-tune', () => {
  const tune = (gib: number, more: Partial<ModelWords> = {}): ModelWords => ({
    name: 'tune',
    gib,
    ...more,
    workload: { kind: 'finetune' },
  });

  it('takes what is left, and yields when nothing is, whatever its band', () => {
    const fits = planFleet(
      aProblem({ models: [tune(60), { name: 'chat', gib: 100, band: 'best_effort' }] }),
    );
    expect(placed(fits)).toEqual(['chat-0', 'tune-0']);
    const tight = planFleet(
      aProblem({
        models: [tune(100, { band: 'critical' }), { name: 'chat', gib: 100, band: 'best_effort' }],
        policy: { repartition: FIXED },
      }),
    );
    expect(placed(tight)).toEqual(['chat-0']);
  });

  it('that runs is displaced first', () => {
    const first = aProblem({ models: [tune(100)], policy: { repartition: FIXED } });
    const problem = aProblem({
      models: [tune(100), { name: 'chat', gib: 100, band: 'best_effort' }],
      policy: { repartition: FIXED },
    });
    const plan = planFleet({ ...problem, assignments: running(planFleet(first)) });
    expect(placed(plan)).toEqual(['chat-0']);
    expect(codes(plan, 'tune')).toEqual(['yields']);
  });

  it('does not crowd out a model by being two', () => {
    const plan = planFleet(
      aProblem({
        models: [{ name: 'chat', gib: 185, band: 'best_effort' }, tune(80, { replicas: 2 })],
      }),
    );
    expect(placed(plan)).toEqual(['chat-0']);
    expect(codes(plan, 'tune')[0]).toMatch(/^(yields|no-room)$/);
  });
});

describe('a degraded card', () => {
  it('keeps its layout and gives away what is left of it', () => {
    const card = aCard({ layout: { compute: 'QPX', memory: 'NPS1' } });
    const degraded = { ...card, partitions: card.partitions.filter(({ index }) => index !== 1) };
    const plan = planFleet(
      aProblem({
        models: [{ name: 'a', gib: 30, replicas: 4, placement: { exclusive: true } }],
        inventories: [anInventory({ cards: [degraded] })],
      }),
    );
    expect(plan.changes).toEqual([]);
    expect(plan.placements.map(({ shares: [share] }) => share?.partition).toSorted()).toEqual([
      0, 2, 3,
    ]);
    expect(codes(plan, 'a')).toEqual(['no-room']);
  });
});

describe('a cordoned card', () => {
  it('keeps what runs there and takes nothing new', () => {
    const first = aProblem({ models: [{ name: 'a', gib: 30 }] });
    const problem = aProblem({
      models: [
        { name: 'a', gib: 30 },
        { name: 'b', gib: 30 },
      ],
    });
    const nodes = problem.fleet.nodes.map((node) => ({ ...node, cordoned: 'all' as const }));
    const plan = planFleet({
      ...problem,
      fleet: { ...problem.fleet, nodes },
      assignments: running(planFleet(first)),
    });
    expect(placed(plan)).toEqual(['a-0']);
    expect(codes(plan, 'b')).toEqual(['cordoned']);
  });
});

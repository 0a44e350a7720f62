/**
 * Random fleets that several tenants share, over nodes of mixed products with cordoned and degraded cards and something
 * running already; and their rules, written against plan and problem alone. Used by the gate's property test and the soak.
 */
import {
  type Assignment,
  BANDS,
  type Band,
  bytes,
  type CardId,
  type Fleet,
  GIB,
  hiveId,
  type InstanceId,
  type Inventory,
  instanceId,
  nodeName,
  type ObservedCard,
  type Placement,
  type Plan,
  type Rng,
  type Tenant,
  tenantName,
  type Workload,
  workloadName,
} from '@aim-gpu/core';
import { findProduct, partitionGeometry } from '@aim-gpu/core/products';
import { anInventory, aTenant, someCards } from '@aim-gpu/core/testing';
import { toPartitions } from '../../src/card-inventory.js';
import { type FleetProblem, planFleet } from '../../src/index.js';
import { aProblem, type ModelWords } from './problems.js';

const PRODUCTS = ['MI300X', 'MI325X', 'MI355X', 'MI300A'] as const;
const TENANTS = ['red', 'blue'] as const;
/** What runs is planned in random layouts as they are: it need not be good, only possible. */
const FIXED = { repartition: { allow: false, maxDowntimeMs: 0 } } as const;

/** A random fleet with what runs on it. */
export interface SharedFleet {
  readonly problem: FleetProblem;
  /** The models are still those that run: what must stay can. */
  readonly unchanged: boolean;
}

/** A random fleet with what runs on it. */
export function sharedFleet(rng: Rng): SharedFleet {
  const below = (limit: number): number => Math.floor(rng.next() * limit);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  const nodes = Array.from({ length: 1 + below(3) }, (_, at) => {
    const node = nodeName(`node${at}`);
    const product = pick(PRODUCTS);
    const layouts = (findProduct(product)?.layouts ?? []).filter(({ memory }) => memory === 'NPS1');
    const cards = someCards(1 + below(2), { product, hive: hiveId(`hive-${at}`) }).map((card) => {
      const layout = pick(layouts);
      return { ...card, layout, partitions: toPartitions(product, layout) };
    });
    return anInventory({ node, cards });
  });
  const running = withTenants(
    aProblem({ models: someModels(below, pick), inventories: nodes, policy: FIXED }),
    below,
  );
  const plan = planFleet(running);
  const applied = applyPlan(running, plan);
  const models = below(2) === 0 ? someModels(below, pick) : null;
  const next =
    models === null
      ? applied
      : {
          ...withTenants(
            aProblem({ models, inventories: applied.inventories, policy: FIXED }),
            below,
          ),
          assignments: applied.assignments ?? [],
        };
  const { policy } = next.fleet;
  const repartition = { allow: below(6) === 0, maxDowntimeMs: 120_000 };
  const free = { ...next, fleet: { ...next.fleet, policy: { ...policy, repartition } } };
  return { problem: withTroubles(free, below), unchanged: models === null };
}

type Below = (limit: number) => number;
type Pick = <T>(list: readonly T[]) => T;

function someModels(below: Below, pick: Pick): readonly ModelWords[] {
  const count = 1 + below(5);
  return Array.from({ length: count }, (_, at): ModelWords => {
    const kind = at > 0 && below(4) === 0 ? 'guardrail' : below(5) === 0 ? 'finetune' : 'inference';
    const firm = kind === 'inference';
    return {
      name: `m${at}`,
      gib: 1 + below(below(3) === 0 ? 180 : 50),
      band: pick<Band>(BANDS),
      replicas: 1 + below(3),
      ranks: below(8) === 0 ? 2 : 1,
      requestsPerSecond: 0.01 + below(20) / 10,
      placement: {
        exclusive: below(6) === 0,
        apart: at > 0 && firm && below(6) === 0 ? [workloadName(`m${below(at)}`)] : [],
        products: below(10) === 0 ? [pick(PRODUCTS)] : [],
        spread:
          below(3) === 0
            ? { over: pick(['node', 'card', 'hive'] as const), maxSkew: 1 + below(2) }
            : null,
        protected: below(6) === 0,
      },
      workload: {
        kind,
        tenant: below(2) === 0 ? tenantName(pick(TENANTS)) : null,
        gang: firm && below(4) === 0 ? pick(['g1', 'g2']) : null,
        of:
          kind === 'guardrail'
            ? { model: workloadName(`m${below(at)}`), within: pick(['card', 'node'] as const) }
            : null,
      },
    };
  });
}

function withTenants(problem: FleetProblem, below: Below): FleetProblem {
  const tenants = TENANTS.map((name): Tenant => {
    const memoryGib = 20 + below(300);
    return aTenant({
      name: tenantName(name),
      quota:
        below(3) === 0
          ? null
          : {
              memoryBytes: bytes(memoryGib * GIB),
              borrowBytes: below(3) === 0 ? null : bytes(below(200) * GIB),
              guaranteedBytes: bytes(below(memoryGib) * GIB),
            },
    });
  });
  return { ...problem, fleet: { ...problem.fleet, tenants } };
}

/** The problem once a plan has been applied. */
function applyPlan(problem: FleetProblem, plan: Plan): FleetProblem {
  const planned = new Map(
    plan.nodes.flatMap(({ name, cards }) => cards.map((card) => [`${name} ${card.id}`, card])),
  );
  return {
    ...problem,
    inventories: problem.inventories.map((inventory) => ({
      ...inventory,
      generation: plan.id,
      cards: inventory.cards.map((card) => {
        const { layout, product } = planned.get(`${inventory.node} ${card.id}`) ?? {};
        return layout === undefined
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

/** Cards break, are cordoned by hand or by the file, and instances become precious. */
function withTroubles(problem: FleetProblem, below: Below): FleetProblem {
  const inventories = problem.inventories.map((inventory) => ({
    ...inventory,
    cards: inventory.cards.map((card) =>
      below(5) === 0 ? withoutOnePartition(card, below) : card,
    ),
  }));
  const there = new Set(
    inventories.flatMap(({ node, cards }) =>
      cards.flatMap(({ id, partitions }) =>
        partitions.map(({ index }) => `${node} ${id} ${index}`),
      ),
    ),
  );
  const assignments = (problem.assignments ?? []).filter(({ shares }) =>
    shares.every(({ node, card, partition }) => there.has(`${node} ${card} ${partition}`)),
  );
  const all = inventories.flatMap(({ node, cards }) => cards.map(({ id }) => ({ node, card: id })));
  const nodes: Fleet['nodes'] = inventories.map(({ node }) => ({
    name: node,
    driver: 'simulated',
    cards: [],
    cordoned: below(8) === 0 ? 'all' : [],
  }));
  return {
    ...problem,
    inventories,
    assignments,
    fleet: { ...problem.fleet, nodes },
    cordoned: all.filter(() => below(6) === 0),
    protectedInstances: assignments.filter(() => below(5) === 0).map(({ instance }) => instance),
  };
}

/** A card that has lost one of its partitions, whichever. */
function withoutOnePartition(card: ObservedCard, below: Below): ObservedCard {
  const lost = below(Math.max(1, card.partitions.length));
  return { ...card, partitions: card.partitions.filter((_, at) => at !== lost) };
}

/** Every rule that a plan breaks, in words; empty when it keeps them all. */
export function brokenFleetRules(
  { problem, unchanged }: SharedFleet,
  plan: Plan,
): readonly string[] {
  const view = { ...toView(problem, plan), unchanged };
  return [
    ...hardwareRules(view),
    ...stayRules(view),
    ...quotaRules(view),
    ...groupRules(view),
    ...accountRules(view),
  ];
}

interface View {
  readonly problem: FleetProblem;
  readonly plan: Plan;
  readonly placed: ReadonlyMap<InstanceId, Placement>;
  readonly assigned: ReadonlyMap<InstanceId, Assignment>;
  readonly kept: ReadonlySet<InstanceId>;
  readonly unchanged: boolean;
}

function toView(problem: FleetProblem, plan: Plan): Omit<View, 'unchanged'> {
  const assigned = new Map((problem.assignments ?? []).map((one) => [one.instance, one]));
  const kept = new Set(
    [...assigned.values()].flatMap(({ instance, workload }) => {
      const model = problem.fleet.models.find(({ name }) => name === workload);
      const precious =
        problem.protectedInstances?.includes(instance) === true ||
        model?.placement.protected === true;
      return precious && model !== undefined && instancesOf(model).includes(instance)
        ? [instance]
        : [];
    }),
  );
  const placed = new Map(plan.placements.map((one) => [one.instance, one]));
  return { problem, plan, placed, assigned, kept };
}

function instancesOf({ name, replicas }: Workload): readonly InstanceId[] {
  return Array.from({ length: Math.max(1, replicas.min) }, (_, at) => instanceId(name, at));
}

function observedCards(inventories: readonly Inventory[]): ReadonlyMap<string, ObservedCard> {
  return new Map(
    inventories.flatMap(({ node, cards }) => cards.map((card) => [`${node} ${card.id}`, card])),
  );
}

function isCordoned({ fleet, cordoned = [] }: FleetProblem, node: string, card: string): boolean {
  const wished = fleet.nodes.find(({ name }) => name === node)?.cordoned ?? [];
  return (
    wished === 'all' ||
    wished.includes(card as CardId) ||
    cordoned.some((one) => one.node === node && one.card === card)
  );
}

function hardwareRules({ problem, plan, placed }: View): readonly string[] {
  const broken: string[] = [];
  const observed = observedCards(problem.inventories);
  const modes = new Map<string, string>();
  const exclusive = new Set(
    problem.fleet.models.filter(({ placement }) => placement.exclusive).map(({ name }) => name),
  );
  for (const { name: node, cards } of plan.nodes) {
    for (const { id, layout, partitions, product } of cards) {
      const card = observed.get(`${node} ${id}`);
      if (card === undefined) {
        broken.push(`${id} is not there`);
        continue;
      }
      const hive = `${node} ${card.hive}`;
      if ((modes.get(hive) ?? layout.memory) !== layout.memory) broken.push(`${hive} mixes modes`);
      modes.set(hive, layout.memory);
      const same = layout.compute === card.layout.compute && layout.memory === card.layout.memory;
      const found = findProduct(product ?? '');
      const whole = found === null ? 0 : partitionGeometry(found, { ...layout }).length;
      const now = card.layout.compute;
      const before =
        found === null || now === null || card.layout.memory === null
          ? 0
          : partitionGeometry(found, { compute: now, memory: card.layout.memory }).length;
      if (!same && card.partitions.length < before) broken.push(`${id} is degraded and changes`);
      if (!same && isCordoned(problem, node, id)) broken.push(`${id} is cordoned and changes`);
      const known = new Set(
        same ? card.partitions.map(({ index }) => index) : [...Array(whole).keys()],
      );
      for (const { index, memoryBytes, shares } of partitions) {
        const used = shares.reduce((sum, share) => sum + share.memoryBytes, 0);
        if (!known.has(index)) broken.push(`${id}/${index} is lost and planned`);
        if (used > memoryBytes * (1 - problem.fleet.policy.memoryReserve))
          broken.push(`${id}/${index} is oversubscribed`);
        const owners = shares.filter(({ instance }) =>
          exclusive.has(placed.get(instance)?.workload ?? workloadName('x')),
        );
        if (owners.length > 0 && shares.length > 1) broken.push(`${id}/${index} is shared`);
      }
    }
  }
  for (const { instance, workload, shares } of plan.placements) {
    const model = problem.fleet.models.find(({ name }) => name === workload);
    const ranks = problem.demands.get(workload)?.ranks ?? 0;
    if (new Set(shares.map(({ card, partition }) => `${card}/${partition}`)).size !== ranks)
      broken.push(`${instance} has not ${ranks} partitions`);
    for (const { node, card } of shares) {
      const product = observed.get(`${node} ${card}`)?.product ?? '';
      const wanted = model?.placement.products ?? [];
      if (wanted.length > 0 && !wanted.includes(product))
        broken.push(`${instance} is on ${product}`);
      const enemies = plan.placements.filter(
        (other) =>
          model?.placement.apart.includes(other.workload) === true &&
          other.shares.some((share) => share.node === node && share.card === card),
      );
      if (enemies.length > 0) broken.push(`${instance} is not apart`);
    }
  }
  return broken;
}

/** What must stay stays, and cordoned cards take nothing new. */
function stayRules({ problem, plan, placed, assigned, kept, unchanged }: View): readonly string[] {
  const write = ({ node, card, partition }: Placement['shares'][number]): string =>
    `${node} ${card}/${partition}`;
  const moved = [...kept].filter((instance) => {
    const before = (assigned.get(instance)?.shares ?? []).map(write);
    const now = (placed.get(instance)?.shares ?? []).map(write);
    // A model that needs more now than there is where it runs has no place at all, and never another one.
    return unchanged ? now.join() !== before.join() : now.some((place) => !before.includes(place));
  });
  const fresh = plan.placements.flatMap(({ instance, shares }) => {
    const before = new Set((assigned.get(instance)?.shares ?? []).map(write));
    return shares
      .filter((share) => isCordoned(problem, share.node, share.card) && !before.has(write(share)))
      .map(({ card }) => `${instance} is new on cordoned ${card}`);
  });
  return [...moved.map((instance) => `${instance} was moved`), ...fresh];
}

function quotaRules({ problem, placed, kept }: View): readonly string[] {
  const { fleet } = problem;
  const limited = fleet.tenants.flatMap(({ name, quota = null }) => {
    if (quota === null) return [];
    const own = fleet.models
      .filter(({ tenant }) => tenant === name)
      .flatMap(instancesOf)
      .filter((instance) => placed.has(instance));
    const used = own
      .flatMap((instance) => placed.get(instance)?.shares ?? [])
      .reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
    // What must stay stays, whatever it costs its tenant.
    const free = own.some((instance) => !kept.has(instance));
    return [{ name, quota, used, free }];
  });
  const owned = limited.reduce((sum, { quota }) => sum + quota.memoryBytes, 0);
  const used = limited.reduce((sum, tenant) => sum + tenant.used, 0);
  return limited.flatMap(({ name, quota, used: own, free }) => {
    if (!free) return [];
    const most = quota.memoryBytes + (quota.borrowBytes ?? Number.POSITIVE_INFINITY);
    if (own > most) return [`${name} has more than it may`];
    return own > quota.memoryBytes && used > owned ? [`${name} borrows what nobody lends`] : [];
  });
}

/** Gangs, spread and guarded models. */
function groupRules({ problem, plan, placed, kept }: View): readonly string[] {
  const broken: string[] = [];
  const { models } = problem.fleet;
  for (const gang of new Set(models.flatMap(({ gang: own }) => own ?? []))) {
    const instances = models.filter((model) => model.gang === gang).flatMap(instancesOf);
    const there = instances.filter((instance) => placed.has(instance)).length;
    if (instances.some((instance) => kept.has(instance))) continue;
    if (there > 0 && there < instances.length) broken.push(`gang ${gang} is placed in part`);
  }
  const observed = observedCards(problem.inventories);
  for (const model of models) {
    const { spread = null, products } = model.placement;
    const instances = instancesOf(model);
    if (spread !== null && !instances.some((one) => kept.has(one))) {
      const domainOf = (node: string, card: string): string =>
        spread.over === 'node'
          ? node
          : spread.over === 'card'
            ? `${node} ${card}`
            : `${node} ${observed.get(`${node} ${card}`)?.hive}`;
      const counts = new Map<string, number>();
      for (const { node, cards } of problem.inventories)
        for (const { id, product } of cards)
          if (
            !isCordoned(problem, node, id) &&
            (products.length === 0 || products.includes(product ?? ''))
          )
            counts.set(domainOf(node, id), 0);
      const least = (): number => Math.min(...counts.values());
      const open = new Set(counts.keys());
      for (const instance of instances) {
        const share = placed.get(instance)?.shares[0];
        if (share === undefined) continue;
        const domain = domainOf(share.node, share.card);
        counts.set(domain, (counts.get(domain) ?? 0) + 1);
      }
      const lowest = Math.min(...[...open].map((domain) => counts.get(domain) ?? 0));
      if (open.size > 0 && Math.max(...counts.values()) - lowest > spread.maxSkew)
        broken.push(`${model.name} is spread ${[...counts.values()].join()}, least ${least()}`);
    }
    const { of = null } = model;
    if (of === null) continue;
    const homes = new Set(
      plan.placements
        .filter(({ workload }) => workload === of.model)
        .flatMap(({ shares }) =>
          shares.map(({ node, card }) => (of.within === 'node' ? node : `${node} ${card}`)),
        ),
    );
    for (const instance of instances) {
      const shares = placed.get(instance)?.shares;
      if (shares === undefined || kept.has(instance)) continue;
      const beside = shares.some(({ node, card }) =>
        homes.has(of.within === 'node' ? node : `${node} ${card}`),
      );
      if (!beside) broken.push(`${instance} is not beside ${of.model}`);
    }
  }
  return broken;
}

/** Everybody is placed or has a coded reason with a fix. */
function accountRules({ problem, plan }: View): readonly string[] {
  return problem.fleet.models.flatMap((model) => {
    const placed = plan.placements.filter(({ workload }) => workload === model.name).length;
    const left = plan.unplaced.find(({ workload }) => workload === model.name);
    const broken: string[] = [];
    if (placed + (left?.replicas ?? 0) !== instancesOf(model).length)
      broken.push(`${model.name} has ${placed} placed and ${left?.replicas ?? 0} not`);
    for (const { code, message, fix } of left?.reasons ?? [])
      if (!/^[a-z-]+$/.test(code) || message === '' || fix === '')
        broken.push(`${code} says nothing`);
    if (left !== undefined && left.reasons.length === 0) broken.push(`${model.name} has no reason`);
    return broken;
  });
}

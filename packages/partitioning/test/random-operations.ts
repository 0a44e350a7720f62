/**
 * Random operations on a node's partitions and shares, checked after each: claims, releases, resizes, switches on demand,
 * merges, crashes that derive everything anew, and devices that change under the ledger. A plain model keeps its own
 * books (a map from instance to its shares and the capacity of each partition), so that the ledger is not held against
 * itself.
 */
import {
  type Bytes,
  bytes,
  type CardId,
  createRng,
  type EpochMs,
  type Inventory,
  instanceId,
  type Layout,
  nodeName,
  type Rng,
  workloadName,
} from '@aim-gpu/core';
import { aCard, anAssignment, aShare } from '@aim-gpu/core/testing';
import {
  type CardActivity,
  chooseMerges,
  choosePartition,
  claimShares,
  DEFAULT_SWITCH_POLICY,
  deriveLedger,
  legalLayouts,
  planRepartition,
  releaseShares,
  resizeShares,
  type ShareClaim,
  type ShareLedger,
  toCardActivity,
} from '../src/index.js';
import { aModel, MI300X, type ModelMachine, operate, toInventory } from './model-machine.js';

const NODE = nodeName('node-a');
const RESERVE = 0.02;
const INSTANCES = Array.from({ length: 8 }, (_, index) => instanceId(workloadName('m'), index));
const GIB = 2 ** 30;

/** What a run came to. */
export interface OperationsReport {
  readonly operations: number;
  readonly granted: number;
  readonly refused: number;
  readonly switches: number;
  readonly merges: number;
  readonly crashes: number;
  /** The first invariant that broke, with its operation; null when none did. */
  readonly broken: string | null;
}

interface World {
  machine: ModelMachine;
  ledger: ShareLedger;
  /** The plain model: who holds what. */
  readonly books: Map<string, readonly ShareClaim[]>;
  activity: readonly CardActivity[];
  now: number;
}

/** Runs operations until the count is reached, `stop` says so, or an invariant breaks. */
export function runOperations(options: {
  readonly seed: number;
  readonly count: number;
  readonly cards?: number;
  readonly stop?: () => boolean;
}): OperationsReport {
  const { seed, count, cards = 3, stop } = options;
  const rng = createRng(seed);
  const world = begin(cards);
  const totals = { granted: 0, refused: 0, switches: 0, merges: 0, crashes: 0 };
  for (let at = 0; at < count; at += 1) {
    if (at % 1000 === 0 && stop?.() === true) return { operations: at, ...totals, broken: null };
    world.now += Math.floor(rng.next() * 60_000);
    const what = step(world, rng, totals);
    const broken = brokenInvariant(world);
    if (broken !== null)
      return {
        operations: at,
        ...totals,
        broken: `operation ${at} of seed ${seed}, ${what}: ${broken}`,
      };
  }
  return { operations: count, ...totals, broken: null };
}

function begin(cards: number): World {
  const machine = aModel(cards, 1);
  return {
    machine,
    ledger: deriveLedger({ inventory: see(machine), assignments: [], memoryReserve: RESERVE }),
    books: new Map(),
    activity: [],
    now: 1_700_000_000_000,
  };
}

const see = (machine: ModelMachine): Inventory => toInventory(machine);

function step(
  world: World,
  rng: Rng,
  totals: { granted: number; refused: number; switches: number; merges: number; crashes: number },
): string {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(rng.next() * list.length)] as T;
  const instance = pick(INSTANCES);
  const dice = rng.next();
  const inventory = see(world.machine);
  if (dice < 0.35) {
    const claims = someClaims(inventory, rng);
    const operation = world.books.has(instance) && rng.next() < 0.5 ? resizeShares : claimShares;
    const result = operation(world.ledger, instance, claims);
    if (result.ok) {
      totals.granted += 1;
      world.ledger = result.ledger;
      world.books.set(instance, claims);
    } else totals.refused += 1;
    return `${operation.name} of ${instance}`;
  }
  if (dice < 0.5) {
    const card = pick(inventory.cards).id;
    for (const [name, claims] of [...world.books]) {
      if (claims.every((claim) => claim.card !== card)) continue;
      world.ledger = releaseShares(world.ledger, name as (typeof INSTANCES)[number]);
      world.books.delete(name);
    }
    return `everybody leaves ${card}`;
  }
  if (dice < 0.6) {
    world.ledger = releaseShares(world.ledger, instance);
    world.books.delete(instance);
    return `release of ${instance}`;
  }
  if (dice < 0.8) {
    const choice = choosePartition(
      {
        memoryBytes: bytes(Math.floor(rng.next() * 200 * GIB)),
        exclusive: rng.next() < 0.3,
        allowReload: rng.next() < 0.5,
      },
      choiceOf(world, inventory),
    );
    if (!choice.ok) return 'a request that is refused';
    if (choice.kind === 'existing') {
      const free = world.ledger.accounts.find(
        (account) => account.card === choice.card && account.partition === choice.partition,
      );
      if (free === undefined) throw new Error('a choice that is no partition');
      return 'a request for what is there';
    }
    totals.switches += 1;
    change(world, choice.desired);
    return `a switch to ${choice.desired.map((wish) => `${wish.card} ${wish.layout.compute}/${wish.layout.memory}`).join(' ')}`;
  }
  if (dice < 0.9) {
    world.now += DEFAULT_SWITCH_POLICY.idleBeforeMergeMs;
    const merges = chooseMerges(choiceOf(world, inventory));
    totals.merges += merges.length;
    if (merges.length > 0) change(world, merges);
    return `${merges.length} merges`;
  }
  totals.crashes += 1;
  rederive(world);
  return 'a crash';
}

const choiceOf = (world: World, inventory: Inventory) => ({
  inventory,
  ledger: world.ledger,
  activity: world.activity,
  policy: DEFAULT_SWITCH_POLICY,
  now: world.now as EpochMs,
});

function someClaims(inventory: Inventory, rng: Rng): readonly ShareClaim[] {
  const count = rng.next() < 0.8 ? 1 : 2;
  return Array.from({ length: count }, () => {
    const card = inventory.cards[Math.floor(rng.next() * inventory.cards.length)] ?? aCard();
    // Now and then a partition that is not there.
    const partition = Math.floor(rng.next() * (card.partitions.length + 0.1));
    const memoryBytes = bytes(Math.floor(rng.next() ** 2 * 100 * GIB));
    return { card: card.id, partition, memoryBytes, exclusive: rng.next() < 0.1 };
  });
}

/** Plans and does a change of layouts as the machine's rules allow; nothing that is held may be hit. */
function change(
  world: World,
  desired: readonly { readonly card: CardId; readonly layout: Layout }[],
): void {
  const inventory = see(world.machine);
  const plan = planRepartition({ inventory, desired, assignments: assignmentsOf(world) });
  if (!plan.ok) throw new Error(JSON.stringify(plan.reasons));
  if (plan.plan.stops.length > 0) throw new Error(`it would stop ${plan.plan.stops.join(', ')}`);
  for (const { change: one } of plan.plan.steps) {
    const next = operate(world.machine, one);
    if (next === null) throw new Error(`the machine refuses ${JSON.stringify(one)}`);
    world.machine = next;
  }
  const switched = plan.plan.blastRadius.cards;
  rederive(world);
  world.activity = toCardActivity({
    before: world.activity,
    inventory: see(world.machine),
    assignments: assignmentsOf(world),
    switched,
    now: world.now as EpochMs,
  });
}

function assignmentsOf(world: World) {
  return [...world.books].map(([instance, claims]) =>
    anAssignment({
      instance: instance as (typeof INSTANCES)[number],
      shares: claims.map((claim) => aShare({ node: NODE, ...withoutExclusive(claim) })),
    }),
  );
}

function withoutExclusive({ card, partition, memoryBytes }: ShareClaim) {
  return { card, partition, memoryBytes };
}

/** As after a crash: from the devices and the assignments alone. */
function rederive(world: World): void {
  // Who holds a partition alone is the plan's to say, not the assignment's.
  world.ledger = deriveLedger({
    inventory: see(world.machine),
    assignments: assignmentsOf(world),
    memoryReserve: RESERVE,
  });
}

function brokenInvariant(world: World): string | null {
  const { ledger, books } = world;
  const inventory = see(world.machine);
  const capacity = new Map<string, Bytes | null>(
    inventory.cards.flatMap((card) =>
      card.partitions.map((entry) => [`${card.id}/${entry.index}`, entry.memoryBytes] as const),
    ),
  );
  const sold = new Map<string, number>();
  for (const claims of books.values())
    for (const claim of claims) {
      const key = `${claim.card}/${claim.partition}`;
      if (!capacity.has(key)) return `somebody holds ${key}, which is not there`;
      sold.set(key, (sold.get(key) ?? 0) + claim.memoryBytes);
    }
  for (const [key, total] of sold) {
    const most = (capacity.get(key) ?? 0) * (1 - RESERVE);
    if (total > most) return `${key} is oversold: ${total} of ${most}`;
  }
  for (const account of ledger.accounts) {
    const total = sold.get(`${account.card}/${account.partition}`) ?? 0;
    const held = account.held.reduce((sum, share) => sum + share.memoryBytes, 0);
    if (total !== held) return `the ledger says ${held}, the books ${total}`;
    if (account.freeBytes + held + account.reserveBytes !== account.capacityBytes)
      return 'an account does not add up';
  }
  if (ledger.problems.length > 0) return ledger.problems.map((one) => one.message).join('; ');
  for (const card of inventory.cards) {
    const legal = legalLayouts(card).legal.some(
      ({ layout }) =>
        layout.compute === card.layout.compute && layout.memory === card.layout.memory,
    );
    if (!legal) return `${card.id} is in an illegal layout`;
    const xcds = card.partitions.reduce((sum, entry) => sum + entry.xcds, 0);
    if (xcds !== MI300X.xcds) return `${card.id} has ${xcds} XCDs`;
  }
  return null;
}

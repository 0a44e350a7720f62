/**
 * From a fleet to the bare layout problem that search and exact solver work on: speeds and busy shares from the speed
 * model, times of change from partitioning. What only the full plan knows (neighbours on other partitions, wishes to be
 * near) is left to packing.
 */
import { formatLayout, type Layout, type Plan, sameLayout } from '@aim-gpu/core';
import { expectedSwitchMs, toSwitchTiming } from '@aim-gpu/partitioning';
import { type CardChoice, toSlots } from './card-choice.js';
import type { FleetProblem } from './fleet-problem.js';
import { createLatencyModel, type LatencyModel } from './latency.js';
import { toLayoutModel } from './layout-model.js';
import type { LayoutCard, LayoutInstance, LayoutProblem } from './layout-problem.js';
import { LayoutState } from './layout-state.js';
import type { Worth } from './objective.js';
import { type Candidate, type SearchProblem, toSearchProblem } from './problem.js';

/** The layout problem of a fleet. Throws `ERR_DEMAND_MISSING` (internal) for a workload without a demand. */
export function toLayoutProblem(problem: FleetProblem): LayoutProblem {
  return fromSearchProblem(
    toSearchProblem(problem),
    createLatencyModel(problem.calibrations ?? []),
  );
}

/** What a plan is worth as a solution of its fleet's layout problem, to be compared with a bound. */
export function worthOfPlan(problem: LayoutProblem, plan: Plan): Worth {
  const model = toLayoutModel(problem);
  const cards = plan.nodes.flatMap((node) =>
    node.cards.map((card) => [`${node.name} ${card.id}`, formatLayout(card.layout)] as const),
  );
  const layoutOf = new Map<string, string>(cards);
  const options = problem.cards.map(({ id, options: list, current }) => {
    const at = list.findIndex((option) => option.layout === layoutOf.get(id));
    return at >= 0 ? at : (current ?? 0);
  });
  const state = new LayoutState(model, options);
  const cardIndex = new Map(problem.cards.map(({ id }, index) => [id, index]));
  const instanceIndex = new Map(problem.instances.map(({ id }, index) => [id, index]));
  for (const { instance, shares } of plan.placements) {
    const index = instanceIndex.get(instance);
    if (index === undefined) continue;
    const seats = shares.flatMap(({ node, card, partition }) => {
      const at = cardIndex.get(`${node} ${card}`);
      return at === undefined ? [] : [at * model.seatsPerCard + partition];
    });
    state.add(index, seats);
  }
  return state.worth();
}

/** A card's name in a layout problem: ids repeat over nodes. */
export function cardName(card: CardChoice): string {
  return `${card.node} ${card.id}`;
}

/** The layout problem of a translated fleet. Cards are named `node id`, in the problem's order. */
export function fromSearchProblem(problem: SearchProblem, latency: LatencyModel): LayoutProblem {
  const cards = problem.cards.map((card) => toCard(card, problem));
  const shapes = toShapes(problem);
  const { objective, slowdown } = problem.fleet.policy;
  // Replicas are alike but for where they run.
  const figures = new Map<string, Pick<LayoutInstance, 'busy' | 'tpotMs' | 'measured'>>();
  return {
    name: problem.fleet.name,
    preset: objective === 'pack' || objective === 'spread' ? 'pack' : 'latency',
    slowdown,
    cards,
    instances: problem.candidates.map((candidate) => {
      const { name } = candidate.workload;
      const known = figures.get(name) ?? toFigures(candidate, problem, shapes, latency);
      figures.set(name, known);
      return toInstance(candidate, problem, known);
    }),
  };
}

function toCard(card: CardChoice, problem: SearchProblem): LayoutCard {
  const timing = toSwitchTiming({ driver: card.driver });
  return {
    id: cardName(card),
    hive: `${card.node} ${card.hive ?? card.id}`,
    product: card.product.name,
    options: card.layouts.map((layout) => {
      const slots = toSlots(card, layout, problem.fleet);
      return {
        layout: formatLayout(layout),
        partitions: Math.max(1, slots.length),
        usableBytes: slots.reduce(
          (least, slot) => Math.min(least, slot.usableBytes),
          Number.MAX_SAFE_INTEGER,
        ),
        speed: (slots[0]?.xcds ?? card.product.xcds) / card.product.xcds,
        changeMs: sameLayout(layout, card.current) ? 0 : changeMs(card.current, layout, timing),
      };
    }),
    current: 0,
  };
}

function changeMs(from: Layout, to: Layout, timing: ReturnType<typeof toSwitchTiming>): number {
  const reload = from.memory === to.memory ? 0 : expectedSwitchMs({ kind: 'reload', timing });
  const compute =
    from.compute === to.compute ? 0 : expectedSwitchMs({ kind: 'set-compute', timing });
  return reload + compute;
}

interface Shape {
  readonly key: string;
  readonly card: CardChoice;
  readonly layout: Layout;
}

/** One card for each product and layout. */
function toShapes(problem: SearchProblem): readonly Shape[] {
  const shapes = new Map<string, Shape>();
  for (const card of problem.cards) {
    for (const layout of card.layouts) {
      const key = `${card.product.name} ${formatLayout(layout)}`;
      if (!shapes.has(key)) shapes.set(key, { key, card, layout });
    }
  }
  return [...shapes.values()];
}

function toFigures(
  candidate: Candidate,
  problem: SearchProblem,
  shapes: readonly Shape[],
  latency: LatencyModel,
): Pick<LayoutInstance, 'busy' | 'tpotMs' | 'measured'> {
  const measured = Object.fromEntries(
    shapes.flatMap(({ key, card, layout }) => {
      const slots = toSlots(card, layout, problem.fleet).slice(0, candidate.demand.ranks);
      return slots.length === 0 ? [] : [[key, latency.alone(candidate, slots)] as const];
    }),
  );
  const least = Object.values(measured).toSorted((a, b) => a.tpotMs - b.tpotMs)[0];
  return {
    busy: Math.min(1, least?.busy ?? 1),
    tpotMs: Math.max(1e-3, least?.tpotMs ?? 1),
    measured,
  };
}

function toInstance(
  candidate: Candidate,
  problem: SearchProblem,
  figures: Pick<LayoutInstance, 'busy' | 'tpotMs' | 'measured'>,
): LayoutInstance {
  const { workload, demand, assigned } = candidate;
  const { nodes, products, apart, exclusive } = workload.placement;
  const first = assigned?.shares[0];
  return {
    id: candidate.instance,
    band: workload.band,
    value: 1,
    ranks: demand.ranks,
    bytes: candidate.shareBytes,
    ...figures,
    targetTpotMs: workload.slo.tpotMs,
    exclusive,
    products,
    ...toCards(candidate, problem, nodes),
    apart: (apart.length === 0 ? [] : problem.candidates)
      .filter((other) => apart.includes(other.workload.name))
      .map((other) => other.instance),
    pin: toPin(candidate),
    assigned:
      first === undefined || assigned === null
        ? null
        : {
            card: `${first.node} ${first.card}`,
            partitions: assigned.shares.map((share) => share.partition),
          },
  };
}

/** A wish for a card, or where a protected instance is. */
function toPin({ workload, isProtected, assigned }: Candidate): LayoutInstance['pin'] {
  const share = isProtected ? assigned?.shares[0] : undefined;
  if (share !== undefined && assigned?.shares.length === 1)
    return { card: `${share.node} ${share.card}`, partition: share.partition };
  const { pin } = workload.placement;
  return pin === null ? null : { card: `${pin.node} ${pin.card}`, partition: pin.partition };
}

/** The cards of the wanted nodes, without the cordoned ones it does not run on; nothing when any card will do. */
function toCards(
  { assigned }: Candidate,
  problem: SearchProblem,
  nodes: readonly string[],
): Pick<LayoutInstance, 'cards'> {
  if (nodes.length === 0 && !problem.cards.some((card) => card.cordoned)) return {};
  const runsOn = (card: CardChoice): boolean =>
    (assigned?.shares ?? []).some((share) => share.node === card.node && share.card === card.id);
  const open = problem.cards.filter(
    (card) => (nodes.length === 0 || nodes.includes(card.node)) && (!card.cordoned || runsOn(card)),
  );
  return { cards: open.map(cardName) };
}

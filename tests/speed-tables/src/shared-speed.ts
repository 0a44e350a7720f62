/**
 * Shared against dedicated: pairs and triples of the quickstart's models, in every layout of an MI300X, together on one
 * partition and each on its own, at their declared loads. Everything is read out of the planner's own plans: first one
 * that may slow anybody down, then one with the fleet's policy, which refuses or does not.
 */
import path from 'node:path';
import {
  type Demand,
  type Fleet,
  formatLayout,
  type Layout,
  type PlacementWish,
  type Plan,
  type Workload,
  type WorkloadName,
} from '@aim-gpu/core';
import { findProduct } from '@aim-gpu/core/products';
import { aCard, anInventory } from '@aim-gpu/core/testing';
import { readFleetFile } from '@aim-gpu/fleet';
import { planFleet } from '@aim-gpu/scheduler';
import { createModelLibrary, sizeWorkload } from '@aim-gpu/sizing';

/** One model of a company. */
export interface MemberSpeed {
  readonly model: string;
  readonly band: string;
  readonly tpotMs: number;
  /** On the same share of the same partition, with its neighbours idle. */
  readonly aloneTpotMs: number;
  /** On the whole idle card, SPX/NPS1. */
  readonly wholeCardTpotMs: number;
}

/** Models together in one place. */
interface CompanySpeed {
  readonly layout: string;
  readonly where: 'one partition' | 'own partitions';
  readonly members: readonly MemberSpeed[];
  /** What the planner says under the fleet's own policy: `placed`, or the codes of its refusals. */
  readonly verdict: string;
  /** Largest tpotMs ÷ aloneTpotMs of a critical or interactive member; 1 without one. */
  readonly urgentRatio: number;
}

/** A company that has no room even where nobody minds being slow. */
interface NoRoom {
  readonly layout: string;
  readonly where: CompanySpeed['where'];
  readonly models: readonly string[];
  readonly noRoom: true;
}

/** What {@link createSharedSpeed} makes. */
export interface SharedSpeed {
  readonly fleet: Fleet;
  readonly layouts: readonly Layout[];
  /** Every pair and triple of models. */
  readonly companies: readonly (readonly Workload[])[];
  speedOf(
    members: readonly Workload[],
    layout: Layout,
    where: CompanySpeed['where'],
  ): CompanySpeed | NoRoom;
}

const QUICKSTART = path.resolve(import.meta.dirname, '../../../examples/quickstart/fleet.yaml');
const CARD = aCard().id;
const NODE = anInventory().node;
const URGENT = ['critical', 'interactive'];

/** Reads the quickstart and sizes its models once. */
export async function createSharedSpeed(): Promise<SharedSpeed> {
  const { fleet } = await readFleetFile(QUICKSTART);
  const product = findProduct('MI300X');
  if (product === null) throw new Error('MI300X is not in the catalogue');
  const library = createModelLibrary();
  const demands = new Map<WorkloadName, Demand>();
  for (const workload of fleet.models)
    demands.set(workload.name, sizeWorkload(workload, await library.load(workload.source)));

  // Whom nobody promised a pace may be slowed down without limit: that shows what the policy would refuse.
  const plan = (
    members: readonly Workload[],
    layout: Layout,
    where: string,
    band?: Workload['band'],
  ): Plan =>
    planFleet({
      fleet: {
        ...fleet,
        models: members.map((workload, index) => ({
          ...workload,
          band: band ?? workload.band,
          placement: pinned(where === 'one partition' ? 0 : index),
        })),
        policy: {
          ...fleet.policy,
          repartition: { ...fleet.policy.repartition, allow: false },
        },
      },
      inventories: [anInventory({ cards: [aCard({ layout })] })],
      demands: new Map([...demands].filter(([name]) => members.some((one) => one.name === name))),
    });
  const whole = new Map(
    fleet.models.map((workload) => {
      const made = plan([workload], { compute: 'SPX', memory: 'NPS1' }, 'one partition');
      return [workload.name, made.placements[0]?.predicted.aloneTpotMs ?? Number.NaN];
    }),
  );

  return {
    fleet,
    layouts: product.layouts.map(({ compute, memory }) => ({ compute, memory })),
    companies: [2, 3].flatMap((count) => combinations(fleet.models, count)),
    speedOf: (members, layout, where) => {
      const at = { layout: formatLayout(layout), where };
      const free = plan(members, layout, where, 'batch');
      if (free.unplaced.length > 0) {
        return { ...at, models: members.map(({ name }) => name), noRoom: true };
      }
      const speeds = members.map((workload): MemberSpeed => {
        const predicted = free.placements.find(
          (placement) => placement.workload === workload.name,
        )?.predicted;
        return {
          model: workload.name,
          band: workload.band,
          tpotMs: predicted?.tpotMs ?? Number.NaN,
          aloneTpotMs: predicted?.aloneTpotMs ?? Number.NaN,
          wholeCardTpotMs: whole.get(workload.name) ?? Number.NaN,
        };
      });
      const ratios = speeds
        .filter(({ band }) => URGENT.includes(band))
        .map(({ tpotMs, aloneTpotMs }) => tpotMs / aloneTpotMs);
      const strict = plan(members, layout, where);
      return {
        ...at,
        members: speeds,
        verdict: strict.unplaced.length === 0 ? 'placed' : refusals(strict),
        urgentRatio: Math.max(1, ...ratios),
      };
    },
  };
}

function pinned(partition: number): PlacementWish {
  return {
    ...{ exclusive: false, products: [], nodes: [], near: [], apart: [], minShareBytes: null },
    pin: { node: NODE, card: CARD, partition },
  };
}

function refusals(plan: Plan): string {
  return plan.unplaced
    .map(
      ({ workload, reasons }) =>
        `${workload}: ${[...new Set(reasons.map(({ code }) => code))].join(', ')}`,
    )
    .join('; ');
}

function combinations<T>(values: readonly T[], count: number): (readonly T[])[] {
  if (count === 0) return [[]];
  return values.flatMap((value, index) =>
    combinations(values.slice(index + 1), count - 1).map((rest) => [value, ...rest]),
  );
}

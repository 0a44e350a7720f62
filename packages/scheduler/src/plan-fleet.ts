/**
 * planFleet: desired, observed and assigned state in, a plan out. Pure and deterministic: same input, same bytes.
 * Composes search, changes and reasons; holds no rule of its own.
 */
import { createHash } from 'node:crypto';
import {
  AimError,
  type Inventory,
  type Placement,
  type Plan,
  type PlannedNode,
} from '@aim-gpu/core';
import type { CardChoice, Slot } from './card-choice.js';
import { toLayoutChanges } from './changes.js';
import type { FleetProblem } from './fleet-problem.js';
import { searchLayouts } from './layout-search.js';
import { type Packing, residentsBySlot } from './packing.js';
import { planIdOf } from './plan-id.js';
import { type Resident, type SearchProblem, toSearchProblem } from './problem.js';
import { reasonsOf } from './reasons.js';
import { toUnplaced } from './unplaced.js';

/**
 * Plans which layout every card gets and which share every instance gets, with a coded reason for each choice.
 * What finds no place is listed in `unplaced` with the nearest fix; that is an outcome, not an error.
 * Throws `ERR_DEMAND_MISSING` (internal) when a workload has no demand.
 */
export function planFleet(problem: FleetProblem): Plan {
  const search = toSearchProblem(problem);
  const { packing } = searchLayouts(search);
  const content: Omit<Plan, 'id'> = {
    apiVersion: 'aim-gpu/v1alpha1',
    kind: 'Plan',
    observed: { generation: generationOf(problem.inventories) },
    nodes: toPlannedNodes(search, packing, problem.inventories),
    placements: toPlacements(search, packing),
    changes: toLayoutChanges(search, packing),
    unplaced: toUnplaced(search, packing),
  };
  const { apiVersion, kind, ...rest } = content;
  return { apiVersion, kind, id: planIdOf(content), ...rest };
}

/** The generation of several nodes at once: of one node its own, of more a hash over theirs. */
export function generationOf(inventories: readonly Inventory[]): string {
  const [only, ...more] = inventories;
  if (only !== undefined && more.length === 0) return only.generation;
  const all = inventories
    .map((inventory) => `${inventory.node}=${inventory.generation}`)
    .toSorted();
  return createHash('sha256').update(all.join('\n')).digest('hex').slice(0, 16);
}

function toPlannedNodes(
  problem: SearchProblem,
  packing: Packing,
  inventories: readonly Inventory[],
): readonly PlannedNode[] {
  const residents = residentsBySlot(packing);
  const slotsOf = new Map<CardChoice, Slot[]>();
  for (const slot of packing.slots) {
    const list = slotsOf.get(slot.card);
    if (list === undefined) slotsOf.set(slot.card, [slot]);
    else list.push(slot);
  }
  return inventories.map((inventory) => ({
    name: inventory.node,
    driver: inventory.driver,
    cards: problem.cards.flatMap((card, index) => {
      if (card.node !== inventory.node) return [];
      const layout = packing.layouts[index] ?? card.current;
      const partitions = (slotsOf.get(card) ?? []).map((slot) => ({
        index: slot.index,
        memoryBytes: slot.memoryBytes,
        computeUnits: slot.computeUnits,
        shares: (residents.get(slot) ?? []).map(({ candidate, memoryBytes }) => ({
          instance: candidate.instance,
          memoryBytes,
        })),
      }));
      return [{ id: card.id, product: card.product.name, layout, partitions }];
    }),
  }));
}

function toPlacements(problem: SearchProblem, packing: Packing): readonly Placement[] {
  // In the fleet file's order, which is the order people look for.
  const order = new Map(problem.fleet.models.map((workload, index) => [workload.name, index]));
  const position = ({ candidate }: Resident): number => order.get(candidate.workload.name) ?? 0;
  return packing.residents
    .toSorted((a, b) => position(a) - position(b))
    .map((resident) => {
      const { candidate, slots, memoryBytes } = resident;
      const predicted = packing.latencies.get(candidate.instance);
      if (predicted === undefined) {
        throw new AimError({
          code: 'ERR_INVARIANT',
          kind: 'internal',
          message: `instance ${candidate.instance} was placed without a prediction`,
        });
      }
      return {
        instance: candidate.instance,
        workload: candidate.workload.name,
        shares: slots.map((slot) => ({
          node: slot.card.node,
          card: slot.card.id,
          partition: slot.index,
          memoryBytes,
        })),
        predicted: {
          ttftMs: predicted.ttftMs,
          tpotMs: predicted.tpotMs,
          aloneTpotMs: predicted.aloneTpotMs,
        },
        reasons: reasonsOf(problem, packing, resident, predicted),
      };
    });
}

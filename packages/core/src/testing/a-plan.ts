/**
 * Builders of plans, placements and assignments for tests: one instance alone on an MI300X.
 */
import { cardId, instanceId, nodeName, planId, workloadName } from '../ids.js';
import type { Assignment, Placement, Plan, Share } from '../plan.js';
import { gib, mib } from '../units.js';

/** Makes a share of 40 GiB on the first partition of the card that {@link aCard} makes. */
export function aShare(overrides: Partial<Share> = {}): Share {
  return {
    node: nodeName('node0'),
    card: cardId('0000:0c:00.0'),
    partition: 0,
    memoryBytes: gib(40),
    ...overrides,
  };
}

/** Makes a placement of instance `chat-0` on one share. */
export function aPlacement(overrides: Partial<Placement> = {}): Placement {
  return {
    instance: instanceId(workloadName('chat'), 0),
    workload: workloadName('chat'),
    shares: [aShare()],
    predicted: { ttftMs: 120, tpotMs: 12, aloneTpotMs: 12 },
    reasons: [{ code: 'FITS', message: 'fits its share with room for the KV cache' }],
    ...overrides,
  };
}

/** Makes the journal's word on one running instance, in agreement with {@link aPlacement}. */
export function anAssignment(overrides: Partial<Assignment> = {}): Assignment {
  return {
    instance: instanceId(workloadName('chat'), 0),
    workload: workloadName('chat'),
    shares: [aShare()],
    plan: planId('p1'),
    ...overrides,
  };
}

/** Makes a plan without changes: one placement on an MI300X that stays in SPX/NPS1. */
export function aPlan(overrides: Partial<Plan> = {}): Plan {
  const placement = aPlacement();
  return {
    apiVersion: 'aim-gpu/v1alpha1',
    kind: 'Plan',
    id: planId('p1'),
    observed: { generation: 'g1' },
    nodes: [
      {
        name: nodeName('node0'),
        driver: 'simulated',
        cards: [
          {
            id: cardId('0000:0c:00.0'),
            product: 'MI300X',
            layout: { compute: 'SPX', memory: 'NPS1' },
            partitions: [
              {
                index: 0,
                memoryBytes: mib(196_592),
                computeUnits: 304,
                shares: [{ instance: placement.instance, memoryBytes: gib(40) }],
              },
            ],
          },
        ],
      },
    ],
    placements: [placement],
    changes: [],
    unplaced: [],
    ...overrides,
  };
}

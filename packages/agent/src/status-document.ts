/**
 * Builds the status document from the three states. Pure.
 */
import type { EpochMs, Fleet, Inventory, NodeName, Plan } from '@aim-gpu/core';
import type {
  AgentState,
  CardStatus,
  Degradation,
  InstanceStatus,
  StatusDocument,
} from './status.js';

/** What a status document is made of. */
export interface StatusParts {
  readonly fleet: Fleet;
  readonly node: NodeName;
  readonly driver: string;
  readonly pid: number;
  readonly state: AgentState;
  readonly since: EpochMs;
  readonly inventory: Inventory | null;
  readonly plan: Plan | null;
  readonly gateway: StatusDocument['gateway'];
  readonly instances: readonly InstanceStatus[];
  readonly degradations?: readonly Degradation[];
}

/** Makes the document. */
export function toStatusDocument(parts: StatusParts): StatusDocument {
  return {
    apiVersion: 'aim-gpu/v1alpha1',
    kind: 'Status',
    node: parts.node,
    driver: parts.driver,
    fleet: parts.fleet.name,
    state: parts.state,
    since: parts.since,
    pid: parts.pid,
    plan: parts.plan?.id ?? null,
    gateway: parts.gateway,
    cards: toCards(parts),
    instances: parts.instances,
    unplaced: parts.plan?.unplaced ?? [],
    degradations: parts.degradations ?? [],
    problems: parts.inventory?.problems ?? [],
    warnings: [],
  };
}

function toCards({ fleet, inventory, instances }: StatusParts): readonly CardStatus[] {
  return (inventory?.cards ?? []).map((card) => ({
    id: card.id,
    product: card.product,
    layout: card.layout,
    partitions: card.partitions.map((partition) => {
      const shares = instances.flatMap((status) =>
        status.shares
          .filter((share) => share.card === card.id && share.partition === partition.index)
          .map((share) => ({ instance: status.instance, memoryBytes: share.memoryBytes })),
      );
      return {
        index: partition.index,
        memoryBytes: partition.memoryBytes,
        reservedBytes:
          shares.reduce((sum, share) => sum + share.memoryBytes, 0) +
          Math.ceil((partition.memoryBytes ?? 0) * fleet.policy.memoryReserve),
        computeUnits: partition.computeUnits,
        shares,
      };
    }),
  }));
}

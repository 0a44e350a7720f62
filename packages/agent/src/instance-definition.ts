/**
 * What an instance is: everything that, when it changes, needs a new process. Owns the comparison; pure.
 */
import { createHash } from 'node:crypto';
import type {
  Demand,
  EndpointAddress,
  InstanceSpec,
  LaunchEnvelope,
  Placement,
  ServingEngine,
  Share,
  Workload,
} from '@aim-gpu/core';

/** An instance as a plan wants it. */
export interface InstanceDefinition {
  readonly placement: Placement;
  readonly workload: Workload;
  readonly demand: Demand;
  readonly envelope: LaunchEnvelope;
  readonly engine: ServingEngine;
}

/** A definition as it is written down: the engine follows from the workload. */
export type StoredDefinition = Omit<InstanceDefinition, 'engine'>;

/** The part of a definition that is written down. */
export function toStoredDefinition(definition: InstanceDefinition): StoredDefinition {
  const { placement, workload, demand, envelope } = definition;
  return { placement, workload, demand, envelope };
}

/**
 * Digest of what a running process cannot change: two definitions with the same digest are served by the same process.
 * Band, targets, load and wishes of placement are not in it; nor is the envelope, whose device numbers may change under
 * a process that holds its devices already.
 */
export function digestOf({
  placement,
  workload,
  demand,
}: Pick<InstanceDefinition, 'placement' | 'workload' | 'demand'>): string {
  const { name, aliases, source, dtype, quantization, kvCacheDtype } = workload;
  const { engine, parallel, adapters } = workload;
  const { memory, maxModelLen, maxNumSeqs, maxNumBatchedTokens } = demand;
  const fixed = {
    shares: placement.shares.map(sharePlace),
    model: { name, aliases, source, dtype, quantization, kvCacheDtype, engine, parallel, adapters },
    demand: { memory, maxModelLen, maxNumSeqs, maxNumBatchedTokens },
  };
  return createHash('sha256').update(JSON.stringify(fixed)).digest('hex').slice(0, 16);
}

/** A share as text that is equal for equal shares. */
function sharePlace({ node, card, partition, memoryBytes }: Share): string {
  return `${node} ${card} ${partition} ${memoryBytes}`;
}

/** A partition as text, for everything that is counted by partition. */
export function partitionKey({ node, card, partition }: Omit<Share, 'memoryBytes'>): string {
  return `${node} ${card} ${partition}`;
}

/** What an engine is told to start an instance at an address. */
export function toSpec(definition: InstanceDefinition, address: EndpointAddress): InstanceSpec {
  const { placement, workload, demand, envelope } = definition;
  return { instance: placement.instance, workload, demand, envelope, ...address };
}

/** Tokens the KV cache of an instance holds; null when its size is not known by tokens. */
export function kvCapacityOf({ demand, envelope }: InstanceDefinition): number | null {
  const { bytesPerToken } = demand.kv;
  return bytesPerToken > 0 ? Math.floor(envelope.kvCacheMemoryBytes / bytesPerToken) : null;
}

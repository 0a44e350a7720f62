/**
 * Assigned state: which instances have which shares, kept in the state store so that a crash does not forget it. Owns
 * its name and its reading and writing.
 */
import type { Assignment, InstanceId, Placement, Plan, StateStore } from '@aim-gpu/core';

/** The assigned state of one node. */
export interface Assigned {
  /** What is assigned now. */
  read(): Promise<readonly Assignment[]>;
  /** Replaces it by what a plan places. */
  replace(plan: Plan, placements: readonly Placement[]): Promise<void>;
  /** Forgets instances that were stopped. */
  drop(instances: readonly InstanceId[]): Promise<void>;
  /** Forgets everything. */
  clear(): Promise<void>;
}

/** Opens the assigned state in a store. */
export function createAssigned(store: StateStore): Assigned {
  const snapshot = store.snapshot<readonly Assignment[]>('assignments');
  const read = async (): Promise<readonly Assignment[]> => (await snapshot.read()) ?? [];
  return {
    read,
    replace: (plan, placements) =>
      snapshot.write(
        placements.map(({ instance, workload, shares }) => ({
          instance,
          workload,
          shares,
          plan: plan.id,
        })),
      ),
    drop: async (instances) => {
      const before = await read();
      const left = before.filter(({ instance }) => !instances.includes(instance));
      if (left.length < before.length) await snapshot.write(left);
    },
    clear: () => snapshot.write([]),
  };
}

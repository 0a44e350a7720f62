/**
 * Desired state as it is kept: the fleet a user asked for, the fleet as it can be served now, its sizes and its plan.
 * Owns its name, its format and what may be read back; decides nothing.
 */
import {
  AimError,
  type Demand,
  type Fleet,
  type Plan,
  type StateStore,
  type WorkloadName,
} from '@aim-gpu/core';
import type { Degradation } from './status.js';

/** What the node is to be. */
export interface Desired {
  /** As the user asked. */
  readonly fleet: Fleet;
  /** The same, or less where a lost device forces it. */
  readonly served: Fleet;
  readonly demands: ReadonlyMap<WorkloadName, Demand>;
  readonly plan: Plan;
  readonly degradations: readonly Degradation[];
}

interface StoredDesired extends Omit<Desired, 'demands'> {
  readonly format: number;
  readonly demands: readonly (readonly [WorkloadName, Demand])[];
}

const FORMAT = 1;
const NAME = 'desired';

/** The desired state of one node. */
export interface DesiredStore {
  /** The last one written, or null. Throws `ERR_STATE_CORRUPT` and `ERR_STATE_NEWER` (conflict). */
  read(): Promise<Desired | null>;
  /** Null: nothing is to run. */
  write(desired: Desired | null): Promise<void>;
}

/** Opens it in a store. Fleets hold references to keys, never keys. */
export function createDesiredStore(store: StateStore): DesiredStore {
  const snapshot = store.snapshot<StoredDesired | null>(NAME);
  return {
    read: async () => {
      const stored = await snapshot.read();
      if (stored === null) return null;
      if (stored.format > FORMAT) throw newer(stored.format);
      const { format: _, demands, ...rest } = stored;
      return { ...rest, demands: new Map(demands) };
    },
    write: async (desired) => {
      if (desired === null) return snapshot.write(null);
      const { demands, ...rest } = desired;
      return snapshot.write({ format: FORMAT, ...rest, demands: [...demands] });
    },
  };
}

function newer(version: number): AimError {
  return new AimError({
    code: 'ERR_STATE_NEWER',
    kind: 'conflict',
    message: `the desired state was written by a later version (format ${version})`,
    details: { version, known: FORMAT },
    hint: 'run the later version, or use another --state-dir',
  });
}

/** The fleet that a state directory's last agent served, or null. Takes no lock. Throws as `DesiredStore`. */
export async function readDesiredFleet(store: StateStore): Promise<Fleet | null> {
  return (await createDesiredStore(store).read())?.fleet ?? null;
}

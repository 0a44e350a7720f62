/**
 * What the control API needs of whoever serves it. Types alone: routes are in api-routes.ts, the agent's side in
 * node-agent.ts.
 */
import type { Fleet, InstanceId, Plan } from '@aim-gpu/core';
import type { AppliedFleet, ApplyFleetOptions } from './agent.js';
import type { EventLog } from './event-log.js';
import type { StatusDocument } from './status.js';

/** An agent as its API sees it. */
export interface ControlTarget {
  /** The node as it is now. */
  status(): Promise<StatusDocument>;
  /** The plan that runs, or null before the first one. */
  plan(): Plan | null;
  /** The fleet that is served. */
  fleet(): Fleet;
  /** Reads the text of a fleet file; relative paths are relative to `base`. Throws `ERR_CONFIG_INVALID` (invalid). */
  readFleet(text: string, options: { readonly base: string | null }): Promise<Fleet>;
  /** See the agent's `applyFleet`. */
  applyFleet(fleet: Fleet, options: ApplyFleetOptions): Promise<AppliedFleet>;
  /** The last lines an instance printed. Throws `ERR_INSTANCE_UNKNOWN` (missing). */
  logs(instance: string): readonly string[];
  /** See the agent's `drain`. */
  drain(instance: InstanceId | null, options: { readonly undo: boolean }): Promise<void>;
  /** See the agent's `restart`. */
  restart(instance: InstanceId): Promise<void>;
  readonly events: EventLog;
  /** Begins to shut down; the socket disappears when that is done. */
  down(options: { readonly restoreLayout: boolean }): void;
}

/**
 * What the agent of one node is made of, and which part tells which. Owns the wiring alone; nothing begins by it.
 */
import { isAbort, type WorkloadName } from '@aim-gpu/core';
import type { AgentOptions } from './agent.js';
import { createAssigned } from './assigned.js';
import { createDesiredStore, type DesiredStore } from './desired.js';
import { createEndpointDirectory, type WritableDirectory } from './endpoint-directory.js';
import { createEventJournal } from './event-journal.js';
import { createEventLog, type WritableEventLog } from './event-log.js';
import { createInstances, type Instances } from './instances.js';
import { createKeeper, type Keeper } from './keeper.js';
import { createNodeChanges, type NodeChanges } from './node-changes.js';
import { createNodeState, type NodeState } from './node-state.js';
import type { NodeParts } from './reconcile.js';
import { createStartTimes } from './start-times.js';
import { createTurns } from './turns.js';

/** The parts of one node's agent. */
export interface ComposedNode {
  readonly directory: WritableDirectory;
  readonly events: WritableEventLog;
  readonly parts: NodeParts;
  readonly store: DesiredStore;
  readonly state: NodeState;
  readonly changes: NodeChanges;
  /** Keeps the node as it is wanted. */
  readonly keeper: Keeper;
}

/** What the parts need of the agent they are for. */
export interface NodeOwner {
  /** Runs work after everything that was asked for before it. */
  readonly inTurn: <T>(work: (signal: AbortSignal) => Promise<T>) => Promise<T>;
  readonly isClosed: () => boolean;
}

/** Makes the parts of an agent. */
export function composeNode(options: AgentOptions, owner: NodeOwner): ComposedNode {
  const { clock, rng } = options;
  const events = createEventLog({ clock, journal: createEventJournal(options) });
  const startTimes = createStartTimes({ clock });
  const directory = createEndpointDirectory({
    expectedReadyMs: startTimes.expectedReadyMs,
    onRequest: (workload) => wake(instances, workload),
  });
  const assigned = createAssigned(options.store);
  const instances = createInstances({
    assigned,
    launcher: options.launcher,
    directory,
    turns: createTurns(),
    clock,
    rng,
    logger: options.logger,
    metrics: options.metrics,
    host: options.engineHost ?? '127.0.0.1',
    logFile: (instance) => options.logFile?.(instance) ?? null,
    ...(options.runnerTiming === undefined ? {} : { timing: options.runnerTiming }),
  });
  const parts: NodeParts = { options, instances, assigned };
  const store = createDesiredStore(options.store);
  const state = createNodeState({ options, events, directory, instances, store });
  instances.subscribe((status) => {
    startTimes.note(status);
    state.noteInstance(status);
  });
  const changes = createNodeChanges({
    parts,
    state,
    events,
    keep: () => void keeper.keep(),
    isClosed: owner.isClosed,
  });
  const keeper = createKeeper({
    clock,
    rng,
    work: (onBegin) =>
      owner.inTurn(async (signal) => {
        onBegin();
        await changes.restore(signal);
      }),
    // A driver that cannot be read now is no reason to touch engines that serve: it is tried again.
    onFailure: (error) => {
      if (owner.isClosed() || isAbort(error)) return false;
      const message = error instanceof Error ? error.message : String(error);
      options.logger.warn('node-not-kept', { message });
      events.add({ event: 'node-not-kept', subject: options.node, message });
      return true;
    },
  });
  return { directory, events, parts, store, state, changes, keeper };
}

function wake(instances: Instances, workload: WorkloadName): void {
  for (const status of instances.statuses()) {
    if (status.workload === workload && status.state === 'parked') {
      instances.find(status.instance).wake();
    }
  }
}

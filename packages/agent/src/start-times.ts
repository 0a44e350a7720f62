/**
 * How long instances take to become ready, learned from their state changes, so that a client of a model that is not
 * ready can be told when to come back. Owns the estimate; nothing waits for it.
 */
import type { Clock, InstanceId, WorkloadName } from '@aim-gpu/core';
import type { InstanceStatus } from './status.js';

/** An estimate that is used up still asks for a second. */
const LEAST_MS = 1000;

/** Start times of one node. */
export interface StartTimes {
  /** Learns from an instance's change of state. */
  note(status: Pick<InstanceStatus, 'instance' | 'workload' | 'state'>): void;
  /** When a model should have a ready instance, in milliseconds from now; null when none starts or nobody knows. */
  expectedReadyMs(workload: WorkloadName): number | null;
}

/** Makes start times without experience: the first start of a model is the first that is known. */
export function createStartTimes(options: { readonly clock: Clock }): StartTimes {
  const { clock } = options;
  const begun = new Map<InstanceId, { readonly workload: WorkloadName; readonly atMs: number }>();
  const tookMs = new Map<WorkloadName, number>();
  return {
    note: ({ instance, workload, state }) => {
      const nowMs = clock.monoMs();
      if (state === 'starting' || state === 'restarting') {
        begun.set(instance, { workload, atMs: nowMs });
        return;
      }
      const start = begun.get(instance);
      begun.delete(instance);
      if (state === 'ready' && start !== undefined) tookMs.set(workload, nowMs - start.atMs);
    },
    expectedReadyMs: (workload) => {
      const took = tookMs.get(workload);
      if (took === undefined) return null;
      const left = [...begun.values()]
        .filter((start) => start.workload === workload)
        .map((start) => took - (clock.monoMs() - start.atMs));
      return left.length === 0 ? null : Math.max(LEAST_MS, Math.min(...left));
    },
  };
}

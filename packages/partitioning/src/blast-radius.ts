/**
 * Whom and what a repartition hits: the instances that must stop and why, the cards whose partitions go, and what that
 * costs. Pure arithmetic over steps; chooses nothing.
 */
import type { Assignment, Bytes, CardId, InstanceId, NodeName, WorkloadName } from '@aim-gpu/core';
import { bytes } from '@aim-gpu/core';
import type { LayoutStep } from './next-step.js';

/** Why an instance has to stop. */
export type StopCause =
  /** The card it is on is switched. */
  | 'card-switched'
  /** The driver of the whole node is reloaded. */
  | 'driver-reloaded'
  /** It is on another card, but the kernel refuses a switch while any GPU process of the node lives. */
  | 'kernel-blocks';

/** An instance that has to stop. */
export interface StoppedInstance {
  readonly instance: InstanceId;
  readonly workload: WorkloadName;
  readonly cause: StopCause;
  /** Number of the step that needs it stopped, from 0. All are stopped before the first step. */
  readonly step: number;
}

/** What a repartition hits. */
export interface BlastRadius {
  /** Cards whose partitions go and come anew, also where the layout stays; sorted. */
  readonly cards: readonly CardId[];
  /** Whether the driver of the node is reloaded. */
  readonly nodeWide: boolean;
  /** Sorted by instance. */
  readonly instances: readonly StoppedInstance[];
  /** Memory of their shares. */
  readonly memoryBytes: Bytes;
}

/** What a repartition costs. */
export interface RepartitionCost {
  readonly steps: number;
  readonly reloads: number;
  readonly expectedMs: number;
  /** Time all stopped instances together do not serve, in milliseconds, without their draining and starting. */
  readonly instanceDowntimeMs: number;
}

/** Why a change needs an assignment stopped; null when it does not. */
export function stopCause(
  assignment: Assignment,
  change: LayoutStep,
  busyScope: 'card' | 'node',
): StopCause | null {
  if (change.kind === 'stage-memory') return null;
  if (change.kind === 'reload') return 'driver-reloaded';
  if (assignment.shares.some((share) => share.card === change.card)) return 'card-switched';
  return busyScope === 'node' ? 'kernel-blocks' : null;
}

/** Adds up what steps hit. An instance is listed once, with the first step that needs it stopped. */
export function measureBlast(options: {
  readonly node: NodeName;
  readonly cards: readonly CardId[];
  readonly assignments: readonly Assignment[];
  readonly steps: readonly { readonly change: LayoutStep; readonly expectedMs: number }[];
  readonly busyScope: 'card' | 'node';
}): { readonly blastRadius: BlastRadius; readonly cost: RepartitionCost } {
  const { node, assignments, steps, busyScope } = options;
  const reloads = steps.filter(({ change }) => change.kind === 'reload').length;
  const switched = steps.flatMap(({ change }) =>
    change.kind === 'set-compute' ? [change.card] : [],
  );
  const stopped = assignments.flatMap((assignment) => {
    for (const [step, { change }] of steps.entries()) {
      const cause = stopCause(assignment, change, busyScope);
      if (cause !== null) return [{ assignment, cause, step }];
    }
    return [];
  });
  const shares = stopped.flatMap(({ assignment }) => assignment.shares);
  const expectedMs = steps.reduce((sum, step) => sum + step.expectedMs, 0);
  return {
    blastRadius: {
      cards: [...new Set(reloads > 0 ? options.cards : switched)].sort(),
      nodeWide: reloads > 0,
      instances: stopped
        .map(({ assignment: { instance, workload }, cause, step }) => ({
          instance,
          workload,
          cause,
          step,
        }))
        .sort((a, b) => (a.instance < b.instance ? -1 : 1)),
      memoryBytes: bytes(
        shares.reduce((sum, share) => sum + (share.node === node ? share.memoryBytes : 0), 0),
      ),
    },
    cost: {
      steps: steps.length,
      reloads,
      expectedMs,
      instanceDowntimeMs: expectedMs * stopped.length,
    },
  };
}

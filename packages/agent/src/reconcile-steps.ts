/**
 * The next safe step from what runs to what is wanted. Pure: the loop takes a step, looks again, and asks again, so that
 * a crash or a surprise between two steps needs no path of its own.
 */
import type { InstanceId, Share } from '@aim-gpu/core';
import { partitionKey } from './instance-definition.js';

/** One instance as it runs, or as it is wanted. */
export interface InstanceShape {
  readonly instance: InstanceId;
  /** Equal digests need no new process. */
  readonly digest: string;
  readonly shares: readonly Share[];
  /** Whether it tolerates nobody else on its partitions. */
  readonly exclusive: boolean;
}

/** What a step is chosen from. */
export interface ReconcileState {
  readonly running: readonly InstanceShape[];
  /** In the order of urgency: the last one is stopped first. */
  readonly wanted: readonly InstanceShape[];
  /** Cards whose layout is not the wanted one yet. */
  readonly changing: readonly { readonly node: string; readonly card: string }[];
  /** Memory that may be handed out, by partition of the wanted layouts. */
  readonly usableBytes: ReadonlyMap<string, number>;
  /** Instances whose replacement failed: what runs goes on. */
  readonly kept: ReadonlySet<InstanceId>;
}

/** What to do next. */
export type ReconcileStep =
  /** Drain and stop: nobody wants them, or there is no room for old and new at once. */
  | { readonly kind: 'stop'; readonly instances: readonly InstanceId[] }
  /** Start the new one beside the old one, shift the traffic, drain the old one. */
  | { readonly kind: 'replace'; readonly instance: InstanceId }
  /** Stop what is on the changing cards and change their layouts. */
  | { readonly kind: 'layouts' }
  | { readonly kind: 'start'; readonly instances: readonly InstanceId[] };

/** The next step; null when what runs is what is wanted. */
export function nextReconcileStep(state: ReconcileState): ReconcileStep | null {
  const wanted = new Map(state.wanted.map((shape) => [shape.instance, shape]));
  const leaving = state.running.filter(({ instance }) => !wanted.has(instance));
  if (leaving.length > 0) return { kind: 'stop', instances: leaving.map((each) => each.instance) };

  const changed = state.running.flatMap(({ instance, digest }) => {
    const target = wanted.get(instance);
    const differs = target !== undefined && target.digest !== digest;
    return differs && !state.kept.has(instance) ? [target] : [];
  });
  const movable = changed.find((target) => !isOnChanging(state, target) && hasRoom(state, target));
  if (movable !== undefined) return { kind: 'replace', instance: movable.instance };
  if (state.changing.length > 0) return { kind: 'layouts' };

  const last = state.wanted.findLast((target) => changed.includes(target));
  if (last !== undefined) return { kind: 'stop', instances: [last.instance] };

  const running = new Set(state.running.map(({ instance }) => instance));
  const missing = state.wanted.filter(({ instance }) => !running.has(instance));
  if (missing.length === 0) return null;
  return { kind: 'start', instances: missing.map(({ instance }) => instance) };
}

/**
 * Every step that is to be expected, in order, if each works. `memoryChanges`: a memory mode changes, for which the
 * driver of the node is reloaded and every instance of it stops.
 */
export function foreseeSteps(
  state: ReconcileState,
  memoryChanges: boolean,
): readonly (ReconcileStep & { readonly stops: readonly InstanceId[] })[] {
  const steps: (ReconcileStep & { readonly stops: readonly InstanceId[] })[] = [];
  let now = state;
  for (let step = nextReconcileStep(now); step !== null; step = nextReconcileStep(now)) {
    const current = now;
    const stops =
      step.kind === 'stop'
        ? step.instances
        : step.kind === 'layouts'
          ? current.running
              .filter((shape) => memoryChanges || isOnChanging(current, shape))
              .map(({ instance }) => instance)
          : [];
    steps.push({ ...step, stops });
    const stopped = new Set<InstanceId>(step.kind === 'replace' ? [step.instance] : stops);
    const begun = new Set<InstanceId>(
      step.kind === 'replace' ? [step.instance] : step.kind === 'start' ? step.instances : [],
    );
    now = {
      ...current,
      running: [
        ...current.running.filter(({ instance }) => !stopped.has(instance)),
        ...current.wanted.filter(({ instance }) => begun.has(instance)),
      ],
      changing: step.kind === 'layouts' ? [] : current.changing,
    };
  }
  return steps;
}

/** Whether an instance can start now beside everything that runs, its own predecessor included. */
export function hasRoom(
  state: Pick<ReconcileState, 'running' | 'usableBytes'>,
  target: InstanceShape,
): boolean {
  return target.shares.every((share) => {
    const key = partitionKey(share);
    const there = state.running.flatMap((shape) =>
      shape.shares
        .filter((other) => partitionKey(other) === key)
        .map(({ memoryBytes }) => ({ ...shape, memoryBytes })),
    );
    const strangers = there.filter(({ instance }) => instance !== target.instance);
    if (target.exclusive && strangers.length > 0) return false;
    if (strangers.some(({ exclusive }) => exclusive)) return false;
    const used = there.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
    return used + share.memoryBytes <= (state.usableBytes.get(key) ?? 0);
  });
}

function isOnChanging({ changing }: ReconcileState, { shares }: InstanceShape): boolean {
  return shares.some((share) =>
    changing.some(({ node, card }) => node === share.node && card === share.card),
  );
}

/**
 * The instances of one node: a runner for each, started from a definition, stopped when a plan no longer has it as it
 * runs. Owns the set and the notices of its changes; what runs where is decided by the plan.
 */
import type { InstanceId, Placement } from '@aim-gpu/core';
import { unknownInstance } from './agent-errors.js';
import {
  createInstanceRunner,
  type InstanceDefinition,
  type InstanceRunner,
  type InstanceRunnerOptions,
} from './instance-runner.js';
import type { InstanceStatus } from './status.js';

/** The instances of one node. */
export interface Instances {
  statuses(): readonly InstanceStatus[];
  /** Throws `ERR_INSTANCE_UNKNOWN` (missing). */
  find(instance: InstanceId): InstanceRunner;
  /** Starts one; nothing happens when it runs. */
  start(definition: InstanceDefinition): void;
  /** Those that placements no longer have, or have elsewhere or with another size. */
  leaving(placements: readonly Placement[]): readonly InstanceId[];
  /** Drains and stops instances; those that do not run are stopped already. */
  stop(instances: readonly InstanceId[]): Promise<void>;
  stopAll(): Promise<void>;
  /** Calls back when an instance changes state, until the returned function is called. */
  subscribe(listener: (status: InstanceStatus) => void): () => void;
}

/** What all instances of a node have in common. */
export type InstancesOptions = Omit<
  InstanceRunnerOptions,
  'definition' | 'logFile' | 'onChange'
> & {
  readonly logFile: (instance: InstanceId) => string | null;
};

/** Makes an empty set. */
export function createInstances(options: InstancesOptions): Instances {
  const runners = new Map<InstanceId, InstanceRunner>();
  const listeners = new Set<(status: InstanceStatus) => void>();

  /** A listener that throws must not stop the instance it is told about. */
  const tell = (listener: (status: InstanceStatus) => void, status: InstanceStatus): void => {
    try {
      listener(status);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      options.logger.error('listener-failed', { instance: status.instance, message });
    }
  };
  const stop = async (instances: readonly InstanceId[]): Promise<void> => {
    await Promise.all(
      instances.map(async (instance) => {
        await runners.get(instance)?.stop();
        runners.delete(instance);
      }),
    );
  };

  return {
    statuses: () => [...runners.values()].map((runner) => runner.status()),
    find: (instance) => {
      const runner = runners.get(instance);
      if (runner === undefined) throw unknownInstance(instance, [...runners.keys()]);
      return runner;
    },
    start: (definition) => {
      const { instance } = definition.placement;
      if (runners.has(instance)) return;
      const runner = createInstanceRunner({
        ...options,
        definition,
        logFile: options.logFile(instance),
        onChange: () => {
          for (const listener of [...listeners]) tell(listener, runner.status());
        },
      });
      runners.set(instance, runner);
      runner.start();
    },
    leaving: (placements) => {
      const wanted = new Map(
        placements.map(({ instance, shares }) => [instance, JSON.stringify(shares)]),
      );
      return [...runners].flatMap(([instance, { definition }]) =>
        wanted.get(instance) === JSON.stringify(definition.placement.shares) ? [] : [instance],
      );
    },
    stop,
    stopAll: () => stop([...runners.keys()]),
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

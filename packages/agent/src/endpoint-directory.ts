/**
 * The agent's side of the EndpointDirectory port: which endpoints serve which model now. Owns the table and its
 * change notices; decides nothing and starts nothing.
 */
import {
  AimError,
  type CallOptions,
  type Endpoint,
  type EndpointDirectory,
  type InstanceId,
  type ServedModel,
  type WorkloadName,
} from '@aim-gpu/core';

/** An {@link EndpointDirectory} that its owner fills. */
export interface WritableDirectory extends EndpointDirectory {
  /** Replaces the models that may be asked for. */
  setModels(models: readonly ServedModel[]): void;
  /** Adds or replaces an instance's endpoint. */
  put(endpoint: Endpoint): void;
  /** Removes an instance's endpoint; nothing happens when it has none. */
  remove(instance: InstanceId): void;
}

/** Input of {@link createEndpointDirectory}. */
export interface EndpointDirectoryOptions {
  /** When a model without endpoint may have one again, or null when nobody knows. */
  readonly expectedReadyMs?: (workload: WorkloadName) => number | null;
  /** Told of every request for a model that has no endpoint: a parked one is started. */
  readonly onRequest?: (workload: WorkloadName) => void;
}

/** Makes an empty directory. */
export function createEndpointDirectory(options: EndpointDirectoryOptions = {}): WritableDirectory {
  let models: readonly ServedModel[] = [];
  const endpoints = new Map<InstanceId, Endpoint>();
  const listeners = new Set<() => void>();

  const changed = (): void => {
    for (const listener of [...listeners]) listener();
  };
  const subscribe = (onChange: () => void): (() => void) => {
    listeners.add(onChange);
    return () => void listeners.delete(onChange);
  };
  const of = (workload: WorkloadName): readonly Endpoint[] =>
    [...endpoints.values()].filter((endpoint) => endpoint.workload === workload);
  const isReady = (workload: WorkloadName): boolean =>
    of(workload).some(({ state }) => state === 'ready');

  const isKnown = (workload: WorkloadName): boolean =>
    models.some((model) => model.workload === workload);

  const unavailable = (workload: WorkloadName): AimError => {
    const retryAfterMs = options.expectedReadyMs?.(workload) ?? null;
    return new AimError({
      code: 'ERR_MODEL_UNAVAILABLE',
      kind: 'unavailable',
      message: `no instance of ${workload} is ready`,
      hint: 'see `aim-gpu status`',
      ...(retryAfterMs === null ? {} : { retryAfterMs }),
    });
  };

  return {
    models: () => models,
    endpoints: of,
    subscribe,
    setModels: (next) => {
      models = next;
      changed();
    },
    put: (endpoint) => {
      endpoints.set(endpoint.instance, endpoint);
      changed();
    },
    remove: (instance) => {
      if (endpoints.delete(instance)) changed();
    },
    request: (workload, { signal }: CallOptions = {}) => {
      if (isReady(workload)) return Promise.resolve();
      if (!isKnown(workload)) return Promise.reject(unavailable(workload));
      options.onRequest?.(workload);
      return new Promise((resolve, reject) => {
        const finish = (outcome: () => void): void => {
          unsubscribe();
          signal?.removeEventListener('abort', giveUp);
          outcome();
        };
        // The caller bounds the wait with its signal and gets to know how long it may still take; so does one whose
        // model went away meanwhile.
        const giveUp = (): void => finish(() => reject(unavailable(workload)));
        const unsubscribe = subscribe(() => {
          if (isReady(workload)) finish(resolve);
          else if (!isKnown(workload)) giveUp();
        });
        if (signal?.aborted) giveUp();
        else signal?.addEventListener('abort', giveUp, { once: true });
      });
    },
  };
}

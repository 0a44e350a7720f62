/**
 * What the directory serves, indexed for the way of every request: names to models, instances to endpoints, who is
 * ready. Owns a copy that follows the directory's change notices; decides nothing.
 */
import type { Clock, Endpoint, EndpointDirectory, InstanceId, ServedModel } from '@aim-gpu/core';

/** A model with the endpoints it has now. */
export interface Served {
  readonly model: ServedModel;
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  /** How many endpoints take new requests. */
  readonly ready: number;
  /** Since when none does, by the monotonic clock; null while one does. */
  readonly unreadyMs: number | null;
}

/** The index. */
export interface ServedModels {
  /** The model a client means by a name, an alias or an adapter; undefined when there is none. */
  find(name: string): Served | undefined;
  all(): readonly Served[];
  /** OpenAI's list of models: every name that may be asked for. */
  list(): readonly ModelEntry[];
  /** Stops following the directory. */
  close(): void;
}

/** One entry of the list. */
interface ModelEntry {
  readonly id: string;
  readonly object: 'model';
  readonly created: number;
  readonly owned_by: string;
  readonly root: string;
  readonly max_model_len: number;
}

/** Indexes a directory and follows its changes. */
export function createServedModels(
  directory: EndpointDirectory,
  options: { readonly clock: Clock },
): ServedModels {
  const { clock } = options;
  const createdSeconds = Math.floor(clock.epochMs() / 1000);
  let all: readonly Served[] = [];
  let byName: ReadonlyMap<string, Served> = new Map();
  let entries: readonly ModelEntry[] = [];
  const refresh = (): void => {
    const before = new Map(all.map((served) => [served.model.workload, served.unreadyMs]));
    const nowMs = clock.monoMs();
    all = directory.models().map((model) => {
      const unreadyMs = before.get(model.workload) ?? nowMs;
      return toServed(model, directory.endpoints(model.workload), unreadyMs);
    });
    byName = indexByName(all);
    entries = all.flatMap(({ model }) => toEntries(model, createdSeconds));
  };
  refresh();
  const close = directory.subscribe(refresh);
  return { find: (name) => byName.get(name), all: () => all, list: () => entries, close };
}

function toServed(model: ServedModel, endpoints: readonly Endpoint[], unreadyMs: number): Served {
  const ready = endpoints.filter(({ state }) => state === 'ready').length;
  return {
    model,
    endpoints: new Map<InstanceId, Endpoint>(
      endpoints.map((endpoint) => [endpoint.instance, endpoint]),
    ),
    ready,
    unreadyMs: ready > 0 ? null : unreadyMs,
  };
}

/** Whether nobody but this instance takes new requests of a model, if even that. */
export function isLastReady(served: Served | undefined, instance: string): boolean {
  if (served === undefined) return false;
  return served.ready === (served.endpoints.get(instance)?.state === 'ready' ? 1 : 0);
}

/** Of two models with the same name the first one has it, and a model's own name goes before another's alias. */
function indexByName(all: readonly Served[]): ReadonlyMap<string, Served> {
  const byName = new Map<string, Served>();
  const add = (name: string, served: Served): void => {
    if (!byName.has(name)) byName.set(name, served);
  };
  for (const served of all) add(served.model.workload, served);
  for (const served of all)
    for (const name of [...served.model.aliases, ...served.model.adapters]) add(name, served);
  return byName;
}

function toEntries(model: ServedModel, created: number): readonly ModelEntry[] {
  return [model.workload, ...model.aliases, ...model.adapters].map((id) => ({
    id,
    object: 'model' as const,
    created,
    owned_by: 'aim-gpu',
    root: model.workload,
    max_model_len: model.maxModelLen,
  }));
}

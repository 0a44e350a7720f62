/**
 * Assigned state: which instances were given which shares, which processes run for them, and which were drained, as a
 * journal in the state store. What is not written here was never promised. Owns the records, their folding and their
 * bound; decides nothing.
 */
import {
  AimError,
  type Assignment,
  type EndpointAddress,
  type InstanceId,
  type PlanId,
  type ProcessMark,
  type StateStore,
} from '@aim-gpu/core';
import type { StoredDefinition } from './instance-definition.js';

/** A process as it was written down. */
export interface NotedProcess {
  readonly mark: ProcessMark;
  readonly address: EndpointAddress;
  /** Whether it had answered its health check. */
  readonly ready: boolean;
}

/** One tenure: an instance on its shares. While it is replaced, an instance has two. */
export interface Tenure {
  readonly key: string;
  readonly definition: StoredDefinition;
  readonly digest: string;
  readonly plan: PlanId;
  /** Its process, when one was started. */
  readonly process: NotedProcess | null;
  /** Whether requests go to it rather than to the one it replaces. */
  readonly shown: boolean;
}

type Record =
  | { readonly type: 'format'; readonly version: number }
  | {
      readonly type: 'assigned';
      readonly key: string;
      readonly definition: StoredDefinition;
      readonly digest: string;
      readonly plan: PlanId;
      readonly shown: boolean;
    }
  | ({ readonly type: 'process'; readonly key: string } & NotedProcess)
  | { readonly type: 'shown'; readonly key: string }
  | { readonly type: 'ended'; readonly key: string }
  | { readonly type: 'dropped'; readonly key: string }
  | { readonly type: 'drained'; readonly instances: readonly InstanceId[] };

/** The assigned state of one node. Every call that changes it is on disk when it resolves. */
export interface Assigned {
  /** Reads it. Throws `ERR_STATE_CORRUPT` and `ERR_STATE_NEWER` (conflict). */
  load(): Promise<readonly Tenure[]>;
  /** What is assigned now, for planning; one entry for each instance. */
  assignments(): readonly Assignment[];
  assign(tenure: Omit<Tenure, 'process'>): Promise<void>;
  /** Notes the process of a tenure before it runs, and again when it is ready. */
  noteProcess(key: string, process: NotedProcess): Promise<void>;
  noteShown(key: string): Promise<void>;
  noteEnded(key: string): Promise<void>;
  drop(key: string): Promise<void>;
  /** Instances somebody has told to take no new requests, whatever process they have. */
  drained(): ReadonlySet<InstanceId>;
  /** Those are drained now, and no others. When it throws, those before are. */
  noteDrained(instances: ReadonlySet<InstanceId>): Promise<void>;
  /** Forgets everything. */
  clear(): Promise<void>;
}

/**
 * Format 1 was a snapshot of assignments without processes; its engines ended with their agent. Early versions of format
 * 2 know no drains and pass them over.
 */
const FORMAT = 2;
const JOURNAL = 'assigned';
const FORMAT_1 = 'assignments';
/** The journal is rewritten when it has grown to so many records; what it says fits in three for each instance and one. */
const MOST_RECORDS = 256;

/** Opens the assigned state in a store; nothing is read before {@link Assigned.load}. */
export function createAssigned(store: StateStore): Assigned {
  const journal = store.journal<Record>(JOURNAL);
  const state: Folded = { tenures: new Map(), drained: new Set() };
  const { tenures } = state;
  let records = 0;

  const append = async (record: Record): Promise<void> => {
    fold(state, record);
    if (records >= MOST_RECORDS) {
      const whole = toRecords(state);
      await journal.compact(whole);
      // A node with many instances must not rewrite its journal at every step.
      records = Math.min(whole.length, MOST_RECORDS / 2);
      return;
    }
    if (records === 0) await journal.append({ type: 'format', version: FORMAT });
    await journal.append(record);
    records += records === 0 ? 2 : 1;
  };

  return {
    load: async () => {
      const read = await journal.read();
      tenures.clear();
      state.drained = new Set();
      for (const record of read) fold(state, record);
      records = read.length;
      const old = store.snapshot<readonly Assignment[]>(FORMAT_1);
      if (((await old.read()) ?? []).length > 0) await old.write([]);
      return [...tenures.values()];
    },
    assignments: () => toAssignments([...tenures.values()]),
    assign: (tenure) => append({ type: 'assigned', ...tenure }),
    noteProcess: (key, process) => append({ type: 'process', key, ...process }),
    noteShown: (key) => append({ type: 'shown', key }),
    noteEnded: async (key) => {
      if (tenures.get(key)?.process != null) await append({ type: 'ended', key });
    },
    drop: async (key) => {
      if (tenures.has(key)) await append({ type: 'dropped', key });
    },
    drained: () => state.drained,
    noteDrained: async (instances) => {
      const before = state.drained;
      if (sameSet(instances, before)) return;
      try {
        await append({ type: 'drained', instances: [...instances] });
      } catch (error) {
        state.drained = before;
        throw error;
      }
    },
    clear: async () => {
      tenures.clear();
      state.drained = new Set();
      await journal.compact([{ type: 'format', version: FORMAT }]);
      records = 1;
    },
  };
}

/** What the records say together. */
interface Folded {
  readonly tenures: Map<string, Tenure>;
  drained: ReadonlySet<InstanceId>;
}

function fold(state: Folded, record: Record): void {
  const { tenures } = state;
  if (record.type === 'format') {
    if (record.version > FORMAT) throw newer(record.version);
    return;
  }
  if (record.type === 'drained') {
    state.drained = new Set(record.instances);
    return;
  }
  const { key } = record;
  if (record.type === 'assigned') {
    const { definition, digest, plan, shown } = record;
    tenures.set(key, { key, definition, digest, plan, shown, process: null });
    return;
  }
  const tenure = tenures.get(key);
  if (tenure === undefined) return;
  switch (record.type) {
    case 'process': {
      const { mark, address, ready } = record;
      tenures.set(key, { ...tenure, process: { mark, address, ready } });
      break;
    }
    case 'shown':
      tenures.set(key, { ...tenure, shown: true });
      break;
    case 'ended':
      tenures.set(key, { ...tenure, process: null });
      break;
    case 'dropped':
      tenures.delete(key);
  }
}

function toRecords({ tenures, drained }: Folded): readonly Record[] {
  return [
    { type: 'format', version: FORMAT },
    ...(drained.size === 0 ? [] : [{ type: 'drained', instances: [...drained] } as const]),
    ...[...tenures.values()].flatMap(({ process, ...tenure }): Record[] => [
      { type: 'assigned', ...tenure },
      ...(process === null ? [] : [{ type: 'process', key: tenure.key, ...process } as const]),
    ]),
  ];
}

function sameSet<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): boolean {
  return a.size === b.size && [...a].every((each) => b.has(each));
}

/** An instance that is being replaced counts where its requests go. */
function toAssignments(tenures: readonly Tenure[]): readonly Assignment[] {
  const byInstance = new Map<InstanceId, Assignment>();
  for (const { definition, plan, shown } of tenures) {
    const { instance, workload, shares } = definition.placement;
    if (shown || !byInstance.has(instance))
      byInstance.set(instance, { instance, workload, shares, plan });
  }
  return [...byInstance.values()];
}

function newer(version: number): AimError {
  return new AimError({
    code: 'ERR_STATE_NEWER',
    kind: 'conflict',
    message: `the state directory was written by a later version (format ${version}, this one knows ${FORMAT})`,
    details: { version, known: FORMAT },
    hint: 'run the later version, or use another --state-dir',
  });
}

/**
 * What went wrong with one instance last: kept for its status, and written to the log at once. Owns the names of the log's
 * events; the words are in trouble.ts.
 */
import type { Logger, ProcessExit, RunningProcess } from '@aim-gpu/core';
import type { StartedEngine } from './current-engine.js';
import type { InstanceDefinition } from './instance-definition.js';
import {
  type Trouble,
  toErrorTrouble,
  toExitTrouble,
  toHungTrouble,
  toLateTrouble,
} from './trouble.js';

/** The troubles of one instance. */
export interface TroubleLog {
  readonly last: Trouble | null;
  /** It serves: what was is over. */
  clear(): void;
  noteExit(definition: InstanceDefinition, process: RunningProcess, exit: ProcessExit): void;
  noteHung(definition: InstanceDefinition, why: 'hung' | 'stopped'): void;
  noteFailedStart(definition: InstanceDefinition, started: StartedEngine): void;
  noteError(definition: InstanceDefinition, error: unknown): void;
}

/** Makes one without trouble. */
export function createTroubleLog(options: { readonly logger: Logger }): TroubleLog {
  const { logger } = options;
  let last: Trouble | null = null;
  const note = (
    event: string,
    { placement }: InstanceDefinition,
    trouble: Trouble,
    facts: object = {},
  ): void => {
    last = trouble;
    logger.warn(event, { instance: placement.instance, ...facts, message: trouble.message });
  };
  const log: TroubleLog = {
    get last() {
      return last;
    },
    clear: () => {
      last = null;
    },
    noteExit: (definition, process, exit) => {
      const { instance } = definition.placement;
      const { code, signal } = exit;
      const trouble = toExitTrouble({ instance, engine: definition.engine, process, exit });
      note('instance-exit', definition, trouble, { code, signal });
    },
    noteHung: (definition, why) =>
      note('instance-hung', definition, toHungTrouble(definition.placement.instance, why)),
    noteFailedStart: (definition, { engine: { process }, result }) => {
      if (result.ok) return;
      if (result.why === 'exited') return log.noteExit(definition, process, result.exit);
      const { instance } = definition.placement;
      const { limitMs } = result;
      note('instance-late', definition, toLateTrouble({ instance, process, limitMs }));
    },
    noteError: (definition, error) => note('instance-error', definition, toErrorTrouble(error)),
  };
  return log;
}

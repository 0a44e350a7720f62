/**
 * The engine process an instance has now, if any: the one found, else one that is launched; until it is seen to be gone.
 * Owns the process and what is known of it; when there is to be one, the runner says.
 */
import type { EndpointAddress } from '@aim-gpu/core';
import {
  type EngineProcess,
  type EngineTools,
  launchEngine,
  type StartResult,
  stopEngine,
  untilServing,
} from './engine-start.js';

/** The engine process of one instance. */
export interface CurrentEngine {
  readonly pid: number | null;
  readonly address: EndpointAddress | null;
  /** Has the next start take over a process instead of launching one. */
  find(engine: EngineProcess): void;
  /** One attempt: take over or launch, and wait until it answers. Throws what launching and asking throw. */
  start(tools: EngineTools, signal: AbortSignal): Promise<StartedEngine>;
  /** The last lines of the process that was started last. */
  lastOutput(): readonly string[];
  /** Sees to it that its process is gone; false when there was none. A hung one gets no time to end by itself. */
  end(tools: EngineTools, options: { readonly hung: boolean }): Promise<boolean>;
  /** Leaves its process as it is. */
  leave(): void;
}

/** A process with how its start ended. */
export interface StartedEngine {
  readonly engine: EngineProcess;
  readonly result: StartResult;
}

/** Makes the place of an engine; it is empty. */
export function createCurrentEngine(): CurrentEngine {
  let found: EngineProcess | null = null;
  let now: EngineProcess | null = null;
  let words: () => readonly string[] = () => [];
  return {
    get pid() {
      return now?.process.pid ?? null;
    },
    get address() {
      return now?.address ?? null;
    },
    find: (engine) => {
      found = engine;
    },
    start: async (tools, signal) => {
      const engine = found ?? (await launchEngine(tools, signal));
      found = null;
      now = engine;
      words = () => engine.process.lastOutput();
      return { engine, result: await untilServing(tools, engine, signal) };
    },
    lastOutput: () => words(),
    end: async (tools, options) => {
      if (now === null) return false;
      await stopEngine(tools, now.process, options);
      now = null;
      return true;
    },
    leave: () => now?.process.leave?.(),
  };
}

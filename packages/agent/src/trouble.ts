/**
 * Why an instance is not ready, in one sentence with one fix. Pure.
 */
import {
  AimError,
  type InstanceId,
  type ProcessExit,
  type RunningProcess,
  type ServingEngine,
} from '@aim-gpu/core';
import type { InstanceStatus } from './status.js';

/** What `status` says of an instance that is not ready. */
export type Trouble = NonNullable<InstanceStatus['trouble']>;

/** The trouble of a process that ended: what the engine is known for, else its last words. */
export function toExitTrouble(options: {
  readonly instance: InstanceId;
  readonly engine: ServingEngine;
  readonly process: RunningProcess;
  readonly exit: ProcessExit;
}): Trouble {
  const { instance, engine, process, exit } = options;
  const words = process.lastOutput();
  return (
    engine.explainExit(words) ?? {
      message: withLastWords(`engine ${describeEnd(exit)}`, words),
      hint: logHint(instance),
    }
  );
}

function withLastWords(what: string, words: readonly string[]): string {
  const last = words.at(-1);
  return last === undefined ? what : `${what}; its last words: ${last}`;
}

function describeEnd({ code, signal }: ProcessExit): string {
  if (signal !== null) return `was killed by ${signal}`;
  // Of an adopted process only its parent, init, knows.
  return code === null ? 'ended' : `exited with code ${code}`;
}

/** The trouble of an engine that stopped answering, or was stopped. */
export function toHungTrouble(instance: InstanceId, why: 'hung' | 'stopped'): Trouble {
  return {
    message:
      why === 'hung'
        ? 'it runs and does not answer its health check any more'
        : 'its process was stopped by a signal and stood still',
    hint: logHint(instance),
  };
}

/** The trouble of an engine that ran and was not ready in time. */
export function toLateTrouble(options: {
  readonly instance: InstanceId;
  readonly process: RunningProcess;
  readonly limitMs: number;
}): Trouble {
  const { instance, process, limitMs } = options;
  return {
    message: withLastWords(
      `engine did not become ready within ${Math.round(limitMs / 1000)} s`,
      process.lastOutput(),
    ),
    hint: logHint(instance),
  };
}

/** The trouble of an attempt that threw. */
export function toErrorTrouble(error: unknown): Trouble {
  const hint = AimError.is(error) ? error.hint : undefined;
  return {
    message: error instanceof Error ? error.message : String(error),
    hint: hint ?? 'see the log of the agent',
  };
}

function logHint(instance: InstanceId): string {
  return `read its log: aim-gpu logs ${instance}`;
}

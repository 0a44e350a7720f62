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
  const last = words.at(-1);
  const how = describeEnd(exit);
  return (
    engine.explainExit(words) ?? {
      message: last === undefined ? `engine ${how}` : `engine ${how}; its last words: ${last}`,
      hint: logHint(instance),
    }
  );
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

/** The trouble of an engine that was not ready in time. */
export function toLateTrouble(instance: InstanceId, readyTimeoutMs: number): Trouble {
  return {
    message: `did not become ready within ${readyTimeoutMs / 1000} s`,
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

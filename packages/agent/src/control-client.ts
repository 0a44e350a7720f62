/**
 * Client of the control socket: what other commands call to talk to a running agent. Owns the transport and turning
 * error documents back into errors.
 */
import { request } from 'node:http';
import { connect } from 'node:net';
import {
  AimError,
  type CallOptions,
  type ErrorDocument,
  fromErrorDocument,
  type Plan,
} from '@aim-gpu/core';
import type { StatusDocument } from './status.js';

/** A running agent as seen from another process. */
export interface ControlClient {
  /** The node as it is now. */
  status(options?: CallOptions): Promise<StatusDocument>;
  /** The plan that runs. Throws `ERR_PLAN_UNKNOWN` (missing) before the first one. */
  plan(options?: CallOptions): Promise<Plan>;
  /** The last lines an instance printed. Throws `ERR_INSTANCE_UNKNOWN` (missing). */
  logs(instance: string, options?: CallOptions): Promise<readonly string[]>;
  /** Asks the agent to shut down; returns when it has accepted, not when it is done. */
  down(options?: CallOptions & { readonly restoreLayout?: boolean }): Promise<void>;
}

/** Options of {@link createControlClient}. */
export interface ControlClientOptions {
  readonly socketPath: string;
  /** Silence after which an agent counts as hung, in milliseconds of the socket's own timer; default 10,000. */
  readonly answerLimitMs?: number;
}

/** Every answer comes from memory; an agent that is silent for so long hangs. */
const ANSWER_LIMIT_MS = 10_000;

/**
 * Makes a client. Every call throws `ERR_AGENT_NOT_RUNNING` (missing) when nobody listens on the socket,
 * `ERR_AGENT_ANSWER` (unavailable) when who listens is silent or speaks another protocol, and what the agent threw.
 */
export function createControlClient(options: ControlClientOptions): ControlClient {
  const { socketPath, answerLimitMs = ANSWER_LIMIT_MS } = options;
  const call = <T>(method: string, path: string, callOptions: CallOptions = {}): Promise<T> =>
    exchange<T>({ socketPath, answerLimitMs, method, path, ...callOptions });
  return {
    status: (callOptions) => call('GET', '/v1/status', callOptions),
    plan: (callOptions) => call('GET', '/v1/plan', callOptions),
    logs: async (instance, callOptions) => {
      const path = `/v1/instances/${encodeURIComponent(instance)}/logs`;
      return (await call<{ lines: readonly string[] }>('GET', path, callOptions)).lines;
    },
    down: async ({ restoreLayout, signal } = {}) => {
      const path = `/v1/down?restoreLayout=${restoreLayout === true}`;
      await call('POST', path, signal === undefined ? {} : { signal });
    },
  };
}

/** Whether somebody accepts connections on a unix socket. */
export function isListening(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

interface Exchange extends CallOptions {
  readonly socketPath: string;
  readonly answerLimitMs: number;
  readonly method: string;
  readonly path: string;
}

function exchange<T>({ socketPath, answerLimitMs, method, path, signal }: Exchange): Promise<T> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        socketPath,
        method,
        path,
        timeout: answerLimitMs,
        ...(signal === undefined ? {} : { signal }),
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.once('error', reject);
        response.once('end', () => {
          try {
            const body: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
            if ((response.statusCode ?? 500) < 400) resolve(body as T);
            else reject(fromErrorDocument((body as { error: ErrorDocument }).error));
          } catch (cause) {
            reject(unreadable(socketPath, cause));
          }
        });
      },
    );
    outgoing.once('timeout', () => outgoing.destroy(silent(socketPath, answerLimitMs)));
    outgoing.once('error', (cause) => {
      if (signal?.aborted) reject(signal.reason);
      else reject(AimError.is(cause) ? cause : notRunning(socketPath, cause));
    });
    outgoing.end();
  });
}

function notRunning(socketPath: string, cause: unknown): AimError {
  return new AimError({
    code: 'ERR_AGENT_NOT_RUNNING',
    kind: 'missing',
    message: `no agent answers on ${socketPath}`,
    hint: 'start one with `aim-gpu up FLEET`, or name its --state-dir',
    cause,
  });
}

function silent(socketPath: string, answerLimitMs: number): AimError {
  return new AimError({
    code: 'ERR_AGENT_ANSWER',
    kind: 'unavailable',
    message: `the agent on ${socketPath} did not answer for ${answerLimitMs} ms`,
    hint: 'see whether it hangs; stopping its process is safe, its engines end with it',
  });
}

function unreadable(socketPath: string, cause: unknown): AimError {
  return new AimError({
    code: 'ERR_AGENT_ANSWER',
    kind: 'unavailable',
    message: `what answers on ${socketPath} does not speak the control protocol`,
    cause,
  });
}

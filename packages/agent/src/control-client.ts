/**
 * Client of the control socket: what other commands call to talk to a running agent. Owns the transport and turning
 * error documents back into errors.
 */
import { request } from 'node:http';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import {
  AimError,
  type CallOptions,
  type ErrorDocument,
  type Fleet,
  fromErrorDocument,
  type Plan,
} from '@aim-gpu/core';
import type { AppliedFleet } from './agent.js';
import type { AgentEvent } from './event-log.js';
import type { StatusDocument } from './status.js';

/** A running agent as seen from another process. */
export interface ControlClient {
  /** The node as it is now. */
  status(options?: CallOptions): Promise<StatusDocument>;
  /** The plan that runs. Throws `ERR_PLAN_UNKNOWN` (missing) before the first one. */
  plan(options?: CallOptions): Promise<Plan>;
  /** The fleet that is served. */
  fleet(options?: CallOptions): Promise<Fleet>;
  /**
   * Brings the node to a fleet, or says what that would change; waits as long as it takes. Throws what the agent
   * refuses it for.
   */
  apply(request: ApplyCall, options?: CallOptions): Promise<AppliedFleet>;
  /** The last lines an instance printed. Throws `ERR_INSTANCE_UNKNOWN` (missing). */
  logs(instance: string, options?: CallOptions): Promise<readonly string[]>;
  /** Events of a range, oldest first. */
  events(options?: CallOptions & EventRange): Promise<readonly AgentEvent[]>;
  /** Hands on events of a range and those to come; resolves when the agent ends, throws the signal's reason. */
  follow(onEvent: (event: AgentEvent) => void, options?: CallOptions & EventRange): Promise<void>;
  /** Has an instance, or every one (null), take no new requests, or take them again. */
  drain(
    instance: string | null,
    options?: CallOptions & { readonly undo?: boolean },
  ): Promise<void>;
  /** Replaces the process of an instance. */
  restart(instance: string, options?: CallOptions): Promise<void>;
  /** Asks the agent to shut down; returns when it has accepted, not when it is done. */
  down(options?: CallOptions & { readonly restoreLayout?: boolean }): Promise<void>;
}

/** Which events are wanted. */
export interface EventRange {
  /** Only those after this id. */
  readonly after?: number;
  /** Only those from this time on, in milliseconds since 1970. */
  readonly sinceMs?: number;
}

/** What {@link ControlClient.apply} asks for. */
export interface ApplyCall {
  /** Text of a fleet file; the fleet that runs when left out. */
  readonly fleet?: string;
  /** Directory its relative paths are relative to. */
  readonly base?: string;
  /** A plan made earlier, instead of a new one. */
  readonly plan?: Plan;
  readonly dryRun?: boolean;
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
  const call = <T>(
    method: string,
    path: string,
    more: Pick<Exchange, 'body' | 'patient' | 'signal'> = {},
  ): Promise<T> => exchange<T>({ socketPath, answerLimitMs, method, path, ...more });
  const onInstance = (instance: string, what: string): string =>
    `/v1/instances/${encodeURIComponent(instance)}/${what}`;
  return {
    status: (options) => call('GET', '/v1/status', options),
    plan: (options) => call('GET', '/v1/plan', options),
    fleet: (options) => call('GET', '/v1/fleet', options),
    apply: (body, options) => call('POST', '/v1/apply', { ...options, body, patient: true }),
    logs: async (instance, options) =>
      (await call<{ lines: readonly string[] }>('GET', onInstance(instance, 'logs'), options))
        .lines,
    events: async ({ after, sinceMs, ...options } = {}) => {
      const path = toEventsPath({ after, sinceMs });
      return (await call<{ events: readonly AgentEvent[] }>('GET', path, options)).events;
    },
    follow: (onEvent, { after, sinceMs, ...options } = {}) =>
      followEvents({ socketPath, path: toEventsPath({ after, sinceMs }), onEvent, ...options }),
    drain: async (instance, { undo = false, ...options } = {}) => {
      const path = instance === null ? '/v1/drain' : onInstance(instance, 'drain');
      await call('POST', path, { ...options, body: { undo } });
    },
    restart: async (instance, options) => {
      await call('POST', onInstance(instance, 'restart'), { ...options, patient: true });
    },
    down: async ({ restoreLayout, signal } = {}) => {
      const path = `/v1/down?restoreLayout=${restoreLayout === true}`;
      await call('POST', path, signal === undefined ? {} : { signal });
    },
  };
}

function toEventsPath({
  after = 0,
  sinceMs = 0,
}: { readonly [K in keyof EventRange]: EventRange[K] | undefined }): string {
  return `/v1/events?after=${after}&since=${Math.floor(sinceMs)}`;
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
  readonly body?: object;
  /** The answer comes when the work is done, however long that takes. */
  readonly patient?: boolean;
}

function exchange<T>(options: Exchange): Promise<T> {
  const { socketPath, answerLimitMs, method, path, body, patient, signal } = options;
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        socketPath,
        method,
        path,
        ...(patient === true ? {} : { timeout: answerLimitMs }),
        ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' } }),
        ...(signal === undefined ? {} : { signal }),
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.once('error', reject);
        response.once('end', () => {
          try {
            const answer: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
            if ((response.statusCode ?? 500) < 400) resolve(answer as T);
            else reject(fromErrorDocument((answer as { error: ErrorDocument }).error));
          } catch (cause) {
            reject(unreadable(socketPath, cause));
          }
        });
      },
    );
    // Node's own agent has a limit too: who is patient must not listen to it.
    if (patient !== true) {
      outgoing.once('timeout', () => outgoing.destroy(silent(socketPath, answerLimitMs)));
    }
    outgoing.once('error', (cause) => {
      if (signal?.aborted) reject(signal.reason);
      else reject(AimError.is(cause) ? cause : notRunning(socketPath, cause));
    });
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** Server-sent events, one `data:` line each as the agent writes them. */
function followEvents(
  options: CallOptions & {
    readonly socketPath: string;
    readonly path: string;
    readonly onEvent: (event: AgentEvent) => void;
  },
): Promise<void> {
  const { socketPath, path, onEvent, signal } = options;
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown): void => {
      reject(signal?.aborted ? signal.reason : notRunning(socketPath, cause));
    };
    const outgoing = request(
      {
        socketPath,
        path,
        headers: { accept: 'text/event-stream' },
        ...(signal === undefined ? {} : { signal }),
      },
      (response) => {
        const lines = createInterface(response);
        lines.on('line', (line) => {
          if (line.startsWith('data:')) onEvent(JSON.parse(line.slice(5)) as AgentEvent);
        });
        response.once('error', () => undefined);
        response.once('close', () => {
          lines.close();
          if (signal?.aborted) reject(signal.reason);
          else resolve();
        });
      },
    );
    outgoing.once('error', fail);
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

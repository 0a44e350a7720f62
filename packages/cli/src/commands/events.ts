/**
 * `aim-gpu events`: what happened on the node, told by its agent, or by the state directory when none runs.
 */
import {
  type AgentEvent,
  createControlClient,
  type EventRange,
  readStoredEvents,
} from '@aim-gpu/agent';
import { AimError, toMilliseconds } from '@aim-gpu/core';
import type { CommandContext } from '../context.js';

/** Options of `events`. */
export interface EventsOptions {
  readonly follow?: boolean;
  readonly after?: number;
  /** A time such as `2026-11-25T14:00:00Z`, or how long ago: `10m`. */
  readonly since?: string;
}

/**
 * Runs `events`. With `--follow` it goes on until a signal or the agent's end; JSON is one object a line then. Throws
 * `ERR_USAGE` (invalid) for a `--since` that is no time, and `ERR_AGENT_NOT_RUNNING` (missing) when no agent runs and
 * none has kept anything, or it is to be followed.
 */
export async function events(context: CommandContext, options: EventsOptions): Promise<number> {
  const client = createControlClient({ socketPath: context.socketPath });
  const { after = 0, since } = options;
  const range = { after, sinceMs: since === undefined ? 0 : toEpochMs(context, since) };
  if (options.follow !== true) {
    const all = await client.events(range).catch((error: unknown) => {
      if (AimError.is(error, 'ERR_AGENT_NOT_RUNNING')) return readKept(context, range, error);
      throw error;
    });
    if (context.json) context.print({ events: all });
    else for (const event of all) context.say(eventToText(event));
    return 0;
  }
  const stop = new AbortController();
  const forget = context.io.onStopSignal(() => stop.abort());
  try {
    const onEvent = (event: AgentEvent): void => {
      if (context.json) context.print(event);
      else context.say(eventToText(event));
    };
    await client.follow(onEvent, { ...range, signal: stop.signal });
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    forget();
  }
  return 0;
}

/** What the last agent kept; that none runs is the answer where there is nothing. */
async function readKept(
  { store }: CommandContext,
  { after, sinceMs }: Required<EventRange>,
  notRunning: AimError,
): Promise<readonly AgentEvent[]> {
  const kept = await readStoredEvents(store);
  if (kept.length === 0) throw notRunning;
  return kept.filter(({ id, at }) => id > after && at >= sinceMs);
}

function toEpochMs({ clock }: CommandContext, text: string): number {
  const ago = toMilliseconds(text);
  // biome-ignore lint/style/noRestrictedGlobals: reads a date that was typed; no clock is asked.
  const at = ago === null ? Date.parse(text) : clock.epochMs() - ago;
  if (Number.isFinite(at) && at >= 0) return at;
  throw new AimError({
    code: 'ERR_USAGE',
    kind: 'invalid',
    message: `--since must be a time, not ${text}`,
    hint: 'how long ago, such as 10m, or a date such as 2026-11-25T14:00:00Z',
  });
}

/** `2026-11-25 14:03:11  instance-ready  assistant-0  assistant is ready`. */
function eventToText({ at, event, subject, message }: AgentEvent): string {
  const time = new Intl.DateTimeFormat('sv-SE', { dateStyle: 'short', timeStyle: 'medium' });
  return `${time.format(at)}  ${event.padEnd(20)}  ${subject}  ${message}`;
}

/**
 * `aim-gpu events`: what happened on the node of the running agent.
 */
import { type AgentEvent, createControlClient } from '@aim-gpu/agent';
import type { CommandContext } from '../context.js';

/** Options of `events`. */
export interface EventsOptions {
  readonly follow?: boolean;
  readonly after?: number;
}

/** Runs `events`. With `--follow` it goes on until a signal or the agent's end; JSON is one object a line then. */
export async function events(context: CommandContext, options: EventsOptions): Promise<number> {
  const client = createControlClient({ socketPath: context.socketPath });
  const after = options.after ?? 0;
  if (options.follow !== true) {
    const all = await client.events({ after });
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
    await client.follow(onEvent, { after, signal: stop.signal });
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    forget();
  }
  return 0;
}

/** `14:03:11  instance-ready  assistant-0  assistant is ready`. */
function eventToText({ at, event, subject, message }: AgentEvent): string {
  const time = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' }).format(at);
  return `${time}  ${event.padEnd(20)}  ${subject}  ${message}`;
}

/**
 * `aim-gpu logs I`: the last lines an instance's engine printed.
 */
import { createControlClient } from '@aim-gpu/agent';
import type { CommandContext } from '../context.js';

/** Runs `logs`. Throws `ERR_INSTANCE_UNKNOWN` and `ERR_AGENT_NOT_RUNNING` (missing). */
export async function logs(context: CommandContext, instance: string): Promise<number> {
  const lines = await createControlClient({ socketPath: context.socketPath }).logs(instance);
  if (context.json) context.print({ instance, lines });
  else if (lines.length > 0) context.say(lines.join('\n'));
  return 0;
}

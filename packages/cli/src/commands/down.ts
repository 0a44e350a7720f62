/**
 * `aim-gpu down`: stops the running agent of this state directory and waits until it is gone.
 */
import { createControlClient, isListening } from '@aim-gpu/agent';
import { AimError } from '@aim-gpu/core';
import type { CommandContext } from '../context.js';

/** Options of `down`. */
export interface DownOptions {
  readonly restoreLayout?: boolean;
  /** Longest wait in milliseconds. */
  readonly timeoutMs: number;
}

const POLL_MS = 50;

/**
 * Runs `down`. Throws `ERR_AGENT_NOT_RUNNING` (missing) when no agent runs, `ERR_DOWN_TIMEOUT` (timeout) when it is
 * still there after the wait.
 */
export async function down(context: CommandContext, options: DownOptions): Promise<number> {
  const { clock, socketPath } = context;
  const client = createControlClient({ socketPath });
  const { node } = await client.status();
  await client.down({ restoreLayout: options.restoreLayout === true });
  const deadline = clock.monoMs() + options.timeoutMs;
  while (await isListening(socketPath)) {
    if (clock.monoMs() > deadline) {
      throw new AimError({
        code: 'ERR_DOWN_TIMEOUT',
        kind: 'timeout',
        message: `the agent of ${node} is still draining after ${options.timeoutMs / 1000} s`,
        hint: 'wait with a longer --timeout, or see `aim-gpu status`',
      });
    }
    await clock.sleep(POLL_MS);
  }
  if (context.json) context.print({ node, state: 'stopped' });
  else context.say(`${node}: stopped`);
  return 0;
}

/**
 * `aim-gpu drain [I]` and `aim-gpu restart I`: keep new requests away from an instance, or give it a new process.
 */
import { createControlClient } from '@aim-gpu/agent';
import type { CommandContext } from '../context.js';

/** Runs `drain`; every instance when none is named. Throws `ERR_INSTANCE_UNKNOWN` (missing). */
export async function drain(
  context: CommandContext,
  instance: string | undefined,
  options: { readonly undo?: boolean },
): Promise<number> {
  const undo = options.undo === true;
  const client = createControlClient({ socketPath: context.socketPath });
  await client.drain(instance ?? null, { undo });
  const what = instance ?? 'every instance';
  if (context.json) context.print({ instance: instance ?? null, draining: !undo });
  else context.say(`${what}: ${undo ? 'takes requests again' : 'takes no new requests'}`);
  return 0;
}

/** Runs `restart`. Throws `ERR_INSTANCE_UNKNOWN` (missing) and `ERR_ENGINE_FAILED` (unavailable). */
export async function restart(context: CommandContext, instance: string): Promise<number> {
  const client = createControlClient({ socketPath: context.socketPath });
  await client.restart(instance);
  const found = (await client.status()).instances.find((each) => each.instance === instance);
  const state = found?.state ?? 'starting';
  if (context.json) context.print({ instance, state, pid: found?.pid ?? null });
  else context.say(`${instance}: ${state}`);
  return 0;
}

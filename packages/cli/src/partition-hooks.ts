/**
 * Hooks of a repartition on this host: which units the options name, and running a hook as a program.
 */
import type { Clock } from '@aim-gpu/core';
import { createHostCommands } from '@aim-gpu/driver-rocm';
import type { HookRunner, RepartitionHook } from '@aim-gpu/partitioning';
import type { PartitionOptions } from './partition-input.js';

const UNIT_TIMEOUT_MS = 60_000;

/** The hooks that `--stop-unit` and `--restart-unit` ask for. */
export function hooksOf({
  stopUnit = [],
  restartUnit = [],
}: PartitionOptions): readonly RepartitionHook[] {
  const unit = (
    name: string,
    when: RepartitionHook['when'],
    verb: 'stop' | 'start' | 'restart',
  ): RepartitionHook => ({
    name: `${verb} ${name}`,
    when,
    argv: ['/usr/bin/systemctl', verb, '--', name],
    timeoutMs: UNIT_TIMEOUT_MS,
    required: verb === 'stop',
  });
  return [
    ...stopUnit.map((name) => unit(name, 'before', 'stop')),
    ...stopUnit.map((name) => unit(name, 'after', 'start')),
    ...restartUnit.map((name) => unit(name, 'after', 'restart')),
  ];
}

/** Runs hooks as programs of this host; the last line of what a failing one says is its message. */
export function createHostHookRunner({ clock }: { readonly clock: Clock }): HookRunner {
  const commands = createHostCommands({ clock });
  return {
    run: async ({ argv: [file, ...args], timeoutMs }, call = {}) => {
      const outcome = await commands.run({ file, args, timeoutMs, ...call });
      if (outcome.kind === 'not-started') return { ok: false, message: outcome.message };
      if (outcome.kind !== 'ended') return { ok: false, message: 'it did not end in time' };
      if (outcome.exitCode === 0) return { ok: true };
      const words = outcome.stderr.trim().split('\n').at(-1);
      return { ok: false, message: `exit code ${outcome.exitCode}: ${words ?? ''}` };
    },
  };
}

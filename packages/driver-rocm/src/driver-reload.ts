/**
 * Reloading amdgpu through modprobe, which applies staged memory modes and stops every GPU of the node. Owns the two
 * commands and what their words mean; whether it is allowed at all is the caller's decision.
 */
import { AimError, type CallOptions, type DeviceHolder } from '@aim-gpu/core';
import { deviceBusy, switchTimeout, writeRefused } from './change-errors.js';
import type { ChangeHost } from './mode-change.js';
import { findProgram } from './tool-reports.js';

const MODULE = 'amdgpu';

/**
 * Unloads and loads the driver. Throws `ERR_DEVICE_BUSY` when something holds the module, `ERR_DRIVER_PERMISSION`,
 * `ERR_SWITCH_TIMEOUT`, and `ERR_DRIVER_IO`, whose details say whether the driver is now unloaded.
 */
export async function reloadDriver(
  host: ChangeHost,
  options: CallOptions & { readonly holders: () => Promise<readonly DeviceHolder[]> },
): Promise<void> {
  const { holders, ...call } = options;
  const modprobe = await findProgram(host.tree, host.root, 'modprobe');
  if (modprobe === null) {
    throw new AimError({
      code: 'ERR_DRIVER_IO',
      kind: 'unavailable',
      message: 'modprobe is not installed, so the driver cannot be reloaded',
      hint: 'install kmod; in a container it also takes CAP_SYS_MODULE and /lib/modules',
    });
  }
  host.logger?.info('driver reload', { module: MODULE, program: modprobe });
  const refusal = await run(host, modprobe, ['-r', MODULE], call);
  if (refusal !== null && !/not (?:currently )?loaded|not found/i.test(refusal)) {
    if (/in use|busy/i.test(refusal)) throw deviceBusy('unloading amdgpu', await holders());
    throw failed('unloading amdgpu', refusal, false);
  }
  // From here on the node has no GPU until the driver is back: a cancelled call must not leave it so.
  const failure = await run(host, modprobe, [MODULE], {});
  if (failure !== null) throw failed('loading amdgpu', failure, true);
  call.signal?.throwIfAborted();
}

/** Null when it went well, else what was printed. */
async function run(
  host: ChangeHost,
  file: string,
  args: readonly string[],
  call: CallOptions,
): Promise<string | null> {
  const timeoutMs = host.timing.reloadTimeoutMs;
  const outcome = await host.commands.run({ file, args, timeoutMs, ...call });
  switch (outcome.kind) {
    case 'not-started':
      return outcome.message;
    case 'timed-out':
      throw switchTimeout(`modprobe ${args.join(' ')}`, timeoutMs);
    case 'too-large':
      return 'it prints without end';
    case 'ended':
      return outcome.exitCode === 0
        ? null
        : `${outcome.stderr}${outcome.stdout}`.trim() || `exit code ${outcome.exitCode}`;
  }
}

function failed(what: string, text: string, unloaded: boolean): AimError {
  const words = text.split('\n').at(-1) ?? text;
  if (/not permitted|permission denied/i.test(text))
    return writeRefused(what, 'EACCES', 'the kernel modules');
  return new AimError({
    code: 'ERR_DRIVER_IO',
    kind: 'unavailable',
    message: `${what}: ${words}`,
    details: { unloaded, output: text.slice(0, 2000) },
    hint: unloaded
      ? 'the node has no GPU driver now: run `modprobe amdgpu` and look at dmesg'
      : 'look at dmesg; the driver is still loaded',
  });
}

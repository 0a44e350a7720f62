/**
 * The simulated modprobe: unloads and loads the amdgpu module of the machine. Owns its grammar and its exit codes.
 */
import { AimError } from '@aim-gpu/core';
import type { MachineChanges } from '../machine-changes.js';
import { loadDriver, unloadDriver } from '../operations.js';
import type { ToolCall, ToolResult } from './amd-smi.js';

const MODULE = 'amdgpu';

/** Makes the tool. */
export function createModprobe(options: {
  readonly changes: MachineChanges;
  readonly privileged: boolean;
}): (call: ToolCall) => Promise<ToolResult> {
  const { changes, privileged } = options;
  return async (call) => {
    const flags = call.argv.filter((argument) => argument.startsWith('-'));
    const modules = call.argv.filter((argument) => !argument.startsWith('-'));
    if (modules.length !== 1 || modules[0] !== MODULE) {
      return failed(`modprobe: FATAL: Module ${modules[0] ?? ''} not found.\n`);
    }
    if (!privileged)
      return failed(`modprobe: ERROR: could not insert 'amdgpu': Operation not permitted\n`);
    const removing = flags.includes('-r') || flags.includes('--remove');
    const request = { call: 'reload', kind: 'reload', card: null, expect: null } as const;
    try {
      // A module that cannot be removed is refused at once; what else goes wrong does when it comes up again.
      const part = removing
        ? ({ work: unloadDriver, faults: ['busy', 'io', 'permission'] } as const)
        : ({ work: loadDriver, faults: ['no-change', 'half', 'hang', 'power-cut'] } as const);
      const window = await changes.begin({ ...request, ...part }, call);
      if (window !== null) await changes.waitFor(window, 'end', call);
      return { exitCode: 0, stdout: '', stderr: '' };
    } catch (error) {
      if (!AimError.is(error)) throw error;
      const words = String(error.details['machine'] ?? error.message);
      return failed(words.startsWith('modprobe:') ? `${words}\n` : `modprobe: ERROR: ${words}\n`);
    }
  };
}

function failed(stderr: string): ToolResult {
  return { exitCode: 1, stdout: '', stderr };
}

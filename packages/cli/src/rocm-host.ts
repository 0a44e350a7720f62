/**
 * This host's real GPUs, or those of a tree or capture that `--root` names: files, programs and the directory they are
 * below. The one place of the command that tells a tree from a capture.
 */
import { readFileSync, statSync } from 'node:fs';
import { AimError } from '@aim-gpu/core';
import {
  type CommandRunner,
  createCaptureFiles,
  createHostCommands,
  createHostFiles,
  parseCapture,
} from '@aim-gpu/driver-rocm';
import type { CommandContext } from './context.js';
import type { DriverOptions } from './drivers.js';

/** Where real cards are read from. */
export interface RocmHost {
  readonly root: string;
  readonly files: ReturnType<typeof createHostFiles>;
  readonly commands: CommandRunner;
}

/** Opens it. Throws `ERR_FILE_MISSING` (missing) for a root that is not there, `ERR_CONFIG_INVALID` for no capture. */
export function openRocmHost(context: CommandContext, options: DriverOptions): RocmHost {
  const root = options.root === undefined ? '/' : context.resolve(options.root);
  const commands = createHostCommands({ clock: context.clock });
  const found = statSync(root, { throwIfNoEntry: false });
  if (found === undefined) {
    throw new AimError({
      code: 'ERR_FILE_MISSING',
      kind: 'missing',
      message: `there is no ${root}`,
      hint: 'name a directory with sys and proc in it, or a capture',
    });
  }
  if (found.isDirectory()) return { root, files: createHostFiles(root), commands };
  const capture = parseCapture(readFileSync(root, 'utf8'));
  return { root, files: createCaptureFiles(capture), commands };
}

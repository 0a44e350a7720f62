/**
 * `aim-gpu capture`: records what a host shows as one file that can be attached to an issue, ids and names taken out.
 * Changes nothing but that file.
 */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { AimError } from '@aim-gpu/core';
import { formatCapture, recordCapture } from '@aim-gpu/driver-rocm';
import type { CommandContext } from '../context.js';
import type { DriverOptions } from '../drivers.js';
import { openRocmHost } from '../rocm-host.js';

/** Options of `capture`. */
export interface CaptureOptions extends DriverOptions {
  readonly out?: string;
}

const DEFAULT_FILE = 'aim-gpu-capture.json';

/** Runs `capture`. With `--json` and no `--out` the capture is the document. Throws `ERR_FILE_EXISTS` (conflict). */
export async function capture(context: CommandContext, options: CaptureOptions): Promise<number> {
  const { io } = context;
  const { root, files, commands } = openRocmHost(context, options);
  const user = io.env['USER'] ?? io.env['LOGNAME'] ?? '';
  const hide = [io.hostName, user === 'root' ? '' : user, path.basename(io.homeDirectory)].filter(
    (word) => word !== 'root' && word !== 'home',
  );
  const recorded = await recordCapture({ root, files, commands, clock: context.clock, hide });
  const text = formatCapture(recorded);
  if (context.json && options.out === undefined) {
    context.print(recorded);
    return 0;
  }
  const file = context.resolve(options.out ?? DEFAULT_FILE);
  await writeNew(file, text);
  const answers = Object.keys(recorded.files).length;
  if (context.json) context.print({ file, files: answers, commands: recorded.commands.length });
  else {
    context.say(`${file}: ${answers} files and ${recorded.commands.length} runs of amd-smi`);
    context.say(
      'ids, names and other processes were taken out; read it through before you send it',
    );
    context.say(`look at it: aim-gpu gpus --driver rocm --root ${path.basename(file)}`);
  }
  return 0;
}

async function writeNew(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text, { flag: 'wx' });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EEXIST') {
      throw new AimError({
        code: 'ERR_FILE_EXISTS',
        kind: 'conflict',
        message: `${file} is there already`,
        hint: 'name another file with --out',
        cause,
      });
    }
    throw new AimError({
      code: 'ERR_FILE_UNWRITABLE',
      kind: 'denied',
      message: `${file} cannot be written: ${code ?? 'unknown error'}`,
      hint: 'name a file in a directory of yours with --out',
      cause,
    });
  }
}

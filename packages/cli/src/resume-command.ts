/**
 * The exact command line by which a person goes on after a change of layouts stopped half way: for this state directory,
 * this node and this driver, quoted for a POSIX shell. Pure.
 */
import type { DegradedState } from '@aim-gpu/partitioning';
import type { CommandContext } from './context.js';
import type { DriverOptions } from './drivers.js';

/** Which node it was, as options name it. */
export interface ResumeOptions extends DriverOptions {
  readonly driver?: string;
  readonly node?: string;
  readonly fleet?: string;
}

/** `doctor` where real cards cannot be read, else `partition rollback`, with the options that lead to the same node. */
export function resumeCommand(
  context: Pick<CommandContext, 'stateDirectory' | 'resolve'>,
  state: DegradedState,
  options: ResumeOptions,
): string {
  const { driver, node, fleet, root } = options;
  const rootWords = root === undefined ? [] : ['--root', context.resolve(root)];
  const words =
    state === 'unreadable' && driver === 'rocm'
      ? ['doctor', ...rootWords]
      : [
          'partition',
          'rollback',
          ...['--state-dir', context.stateDirectory],
          ...(fleet === undefined ? [] : ['--fleet', context.resolve(fleet)]),
          ...(node === undefined ? [] : ['--node', node]),
          ...(driver === undefined ? [] : ['--driver', driver]),
          ...rootWords,
          ...(options.allowDriverReload === true ? ['--allow-driver-reload'] : []),
        ];
  return ['aim-gpu', ...words].map(quote).join(' ');
}

function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

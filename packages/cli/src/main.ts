/**
 * Entry of the `aim-gpu` program: the real process around the command line.
 */
import { createProcessIo } from './process-io.js';
import { runCommandLine } from './program.js';

/** Runs the `aim-gpu` command line with the arguments after the program's name; resolves to the exit code. */
export function main(argv: readonly string[]): Promise<number> {
  return runCommandLine(argv, createProcessIo());
}

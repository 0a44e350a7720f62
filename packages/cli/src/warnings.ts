/**
 * Warnings of a command, on stderr so that they never mix with its output.
 */
import type { Reason } from '@aim-gpu/core';
import type { CommandContext } from './context.js';

/** Prints each warning on a line of its own. */
export function sayWarnings(context: CommandContext, warnings: readonly Reason[]): void {
  for (const { message } of warnings) context.io.writeError(`warning: ${message}\n`);
}

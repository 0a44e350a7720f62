/**
 * How a failure leaves the program: one JSON document on stdout with `--json`, else message, place and hint on stderr.
 * The only place that maps an error to an exit code (DESIGN §5).
 */
import { type AimError, exitCodeOf, toAimError, toErrorDocument } from '@aim-gpu/core';
import type { CommandIo } from './io.js';

/** Prints a failure and returns the exit code. A stack trace is shown with `debug` only. */
export function reportError(
  cause: unknown,
  options: { readonly io: CommandIo; readonly json: boolean; readonly debug: boolean },
): number {
  const error = toAimError(cause);
  const { io } = options;
  if (options.json) io.writeOut(`${JSON.stringify({ error: toErrorDocument(error) })}\n`);
  else io.writeError(toText(error));
  if (options.debug) io.writeError(`${error.stack ?? ''}\n${causes(error)}`);
  return exitCodeOf(error.kind);
}

function toText(error: AimError): string {
  const lines = [`error: ${error.message}`];
  if (error.at !== undefined)
    lines.push(`  at ${error.at.file}:${error.at.line}:${error.at.column}`);
  if (error.excerpt !== undefined) lines.push(error.excerpt);
  if (error.hint !== undefined) lines.push(`hint: ${error.hint}`);
  return `${lines.join('\n')}\n`;
}

function causes(error: Error): string {
  const lines: string[] = [];
  for (let cause: unknown = error.cause; cause instanceof Error; cause = cause.cause) {
    lines.push(`caused by ${cause.stack ?? cause.message}`);
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

/**
 * The log of a command: one line an event on stderr. Warnings and errors always; the rest with `--debug` only, so that
 * the terminal shows the program's own words.
 */
import type { Logger } from '@aim-gpu/core';
import type { CommandIo } from './io.js';

/** Makes the logger. Fields are printed as JSON; callers keep secrets out of them. */
export function createStderrLogger(io: CommandIo, options: { readonly debug: boolean }): Logger {
  const line =
    (level: string, shown: boolean) =>
    (event: string, fields?: Readonly<Record<string, unknown>>): void => {
      if (!shown) return;
      const rest = fields === undefined ? '' : ` ${JSON.stringify(fields)}`;
      io.writeError(`${level} ${event}${rest}\n`);
    };
  return {
    debug: line('debug', options.debug),
    info: line('info', options.debug),
    warn: line('warn', true),
    error: line('error', true),
  };
}

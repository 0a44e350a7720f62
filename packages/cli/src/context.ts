/**
 * What every command works with: io, options common to all commands, and the ports made from them.
 */
import path from 'node:path';
import {
  type Clock,
  type Logger,
  type Rng,
  type StateStore,
  systemClock,
  systemRng,
} from '@aim-gpu/core';
import { createFileStateStore } from '@aim-gpu/core/node';
import type { CommandIo } from './io.js';
import { createStderrLogger } from './stderr-logger.js';

/** Options that every command takes. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly debug?: boolean;
  readonly stateDir?: string;
}

/** The surroundings of one command. */
export interface CommandContext {
  readonly io: CommandIo;
  readonly json: boolean;
  readonly debug: boolean;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly stateDirectory: string;
  readonly socketPath: string;
  /** The file-backed store in the state directory; it is created by the first write. */
  readonly store: StateStore;
  /** A path on the command line, relative to the current directory. */
  resolve(file: string): string;
  /** Prints a line for people; with `--json` it goes to stderr. */
  say(text: string): void;
  /** Prints the command's one JSON document. */
  print(document: unknown): void;
}

/** Makes the context of a command from its common options. */
export function createContext(io: CommandIo, options: CommonOptions): CommandContext {
  const json = options.json === true;
  const stateDirectory = toStateDirectory(io, options.stateDir);
  return {
    io,
    json,
    debug: options.debug === true,
    clock: systemClock,
    rng: systemRng,
    logger: createStderrLogger(io, { debug: options.debug === true }),
    stateDirectory,
    socketPath: path.join(stateDirectory, 'aim-gpu.sock'),
    store: createFileStateStore({ directory: stateDirectory, clock: systemClock }),
    resolve: (file) => path.resolve(io.cwd, file),
    say: (text) => (json ? io.writeError(`${text}\n`) : io.writeOut(`${text}\n`)),
    print: (document) => io.writeOut(`${JSON.stringify(document)}\n`),
  };
}

function toStateDirectory(io: CommandIo, given: string | undefined): string {
  if (given !== undefined) return path.resolve(io.cwd, given);
  const base = io.env['XDG_STATE_HOME'];
  return path.join(
    base === undefined || base === '' ? path.join(io.homeDirectory, '.local/state') : base,
    'aim-gpu',
  );
}

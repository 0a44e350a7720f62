/**
 * {@link CommandIo} over the real process. The only file of the command that touches `process`.
 */
import { homedir, hostname } from 'node:os';
import type { CommandIo } from './io.js';

/** The real process. */
export function createProcessIo(): CommandIo {
  return {
    env: process.env,
    cwd: process.cwd(),
    hostName: hostname(),
    homeDirectory: homedir(),
    // A unit written now runs with the same flags of node.
    program: [process.execPath, ...process.execArgv, process.argv[1] ?? 'aim-gpu'],
    isTerminal: process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined,
    writeOut: (text) => void process.stdout.write(text),
    writeError: (text) => void process.stderr.write(text),
    exitNow: (code) => process.exit(code),
    onStopSignal: (listener) => {
      const onInterrupt = (): void => listener('SIGINT');
      const onTerminate = (): void => listener('SIGTERM');
      process.on('SIGINT', onInterrupt);
      process.on('SIGTERM', onTerminate);
      return () => {
        process.off('SIGINT', onInterrupt);
        process.off('SIGTERM', onTerminate);
      };
    },
  };
}

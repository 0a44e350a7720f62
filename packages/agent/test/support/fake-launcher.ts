/** A launcher of processes that exist in memory: a test says when they end and with which last words. */
import type { LaunchCommand, Launcher, ProcessExit, RunningProcess } from '@aim-gpu/core';

interface FakeProcess extends RunningProcess {
  readonly name: string;
  readonly command: LaunchCommand;
  readonly alive: () => boolean;
  /** Ends it as a crash would; the words are what it printed last. */
  crash(words?: readonly string[], exit?: Partial<ProcessExit>): void;
}

export interface FakeLauncher extends Launcher {
  readonly launched: readonly FakeProcess[];
  alive(): readonly FakeProcess[];
  last(): FakeProcess;
  /** The next launches fail so. */
  failWith(error: Error | null): void;
  /** Launches wait until the returned function is called. */
  hold(): () => void;
  /** Processes started from now on cannot be killed. */
  immortal(): void;
}

export function createFakeLauncher(): FakeLauncher {
  const launched: FakeProcess[] = [];
  let failure: Error | null = null;
  let gate: Promise<void> = Promise.resolve();
  let mortal = true;
  const start = (name: string, command: LaunchCommand): FakeProcess => {
    let words: readonly string[] = ['loading weights'];
    let living = true;
    let end: (exit: ProcessExit) => void = () => undefined;
    const killable = mortal;
    const exited = new Promise<ProcessExit>((resolve) => {
      end = (exit) => {
        living = false;
        resolve(exit);
      };
    });
    return {
      name,
      command,
      pid: 4000 + launched.length,
      exited,
      alive: () => living,
      lastOutput: () => words,
      crash: (last = [], exit = {}) => {
        words = last;
        end({ code: 1, signal: null, at: 0 as ProcessExit['at'], ...exit });
      },
      stop: () => {
        if (killable) end({ code: null, signal: 'SIGTERM', at: 0 as ProcessExit['at'] });
        return exited;
      },
    };
  };
  return {
    specVersion: 1,
    launched,
    alive: () => launched.filter((process) => process.alive()),
    last: () => {
      const process = launched.at(-1);
      if (process === undefined) throw new Error('nothing was launched');
      return process;
    },
    failWith: (error) => {
      failure = error;
    },
    hold: () => {
      let open: () => void = () => undefined;
      gate = new Promise((resolve) => {
        open = resolve;
      });
      return open;
    },
    immortal: () => {
      mortal = false;
    },
    launch: async (command, { name }) => {
      await gate;
      if (failure !== null) throw failure;
      const process = start(name, command);
      launched.push(process);
      return process;
    },
  };
}

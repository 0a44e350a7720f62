/** A launcher of processes that exist in memory: a test says when they end and with which last words. */
import type {
  LaunchCommand,
  Launcher,
  ProcessExit,
  ProcessMark,
  RunningProcess,
} from '@aim-gpu/core';

interface FakeProcess extends RunningProcess {
  readonly mark: () => ProcessMark;
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
  /** Remembers no process that has ended. */
  forget(): void;
  /** The next launches fail so. */
  failWith(error: Error | null): void;
  /** Launches wait until the returned function is called. */
  hold(): () => void;
  /** Processes started from now on cannot be killed. */
  immortal(): void;
  /** What was ended because nobody remembered it. */
  readonly reclaimed: readonly string[];
}

/** No process of the host has such a high one (pid_max is 4,194,304 at most), so that nobody looks at a stranger. */
export const FIRST_PID = 5_000_000;

/** The launcher of a host whose processes outlive their agent: the next agent gets the same one. */
export function createFakeLauncher(): FakeLauncher {
  const reclaimed: string[] = [];
  const launched: FakeProcess[] = [];
  let failure: Error | null = null;
  let gate: Promise<void> = Promise.resolve();
  let mortal = true;
  let begun = 0;
  const start = (name: string, command: LaunchCommand): FakeProcess => {
    let words: readonly string[] = ['loading weights'];
    let living = true;
    let end: (exit: ProcessExit) => void = () => undefined;
    const killable = mortal;
    const number = begun;
    begun += 1;
    const mark: ProcessMark = {
      pid: FIRST_PID + number,
      startTicks: String(number),
      bootId: 'boot',
      nonce: `launch-${number}`,
      argvSha256: 'argv',
    };
    const exited = new Promise<ProcessExit>((resolve) => {
      end = (exit) => {
        living = false;
        resolve(exit);
      };
    });
    return {
      name,
      command,
      pid: mark.pid,
      mark: () => mark,
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
    forget: () => {
      launched.splice(0, launched.length, ...launched.filter((process) => process.alive()));
    },
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
    reclaimed,
    launch: async (command, { name, beforeRun }) => {
      await gate;
      if (failure !== null) throw failure;
      const process = start(name, command);
      launched.push(process);
      try {
        await beforeRun?.(process.mark());
      } catch (error) {
        process.crash();
        throw error;
      }
      return process;
    },
    adopt: (mark) => {
      const found = launched.find((process) => process.mark().nonce === mark.nonce);
      return Promise.resolve(found?.alive() === true ? found : null);
    },
    reclaim: async (keep) => {
      const kept = new Set(keep.map(({ nonce }) => nonce));
      const lost = launched.filter((process) => process.alive() && !kept.has(process.mark().nonce));
      for (const process of lost) {
        reclaimed.push(process.name);
        await process.stop({ graceMs: 0 });
      }
      return lost.length;
    },
  };
}

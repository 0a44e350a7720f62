/**
 * The life of one agent, counted in steps: everything it does outside itself (records it writes, calls of its driver,
 * launches and stops, what it shows in its directory) is a step with a name, and it can be told to die at any of them.
 * Once dead, nothing it has begun goes on: its calls never return, its timers never fire. What it left behind stays.
 */
import type { Clock, GpuDriver, Launcher, RunningProcess, StateStore } from '@aim-gpu/core';
import { createMemoryStateStore } from '@aim-gpu/core/testing';
import type { FakeLauncher } from './fake-launcher.js';

/** One life. */
export interface Life {
  readonly over: () => boolean;
  /** Names of the steps since it was armed, in order. */
  readonly steps: readonly string[];
  /** Counts from now on and dies at the step of that number; null counts only. */
  arm(dieAt: number | null): void;
  /** Counts no more. */
  disarm(): void;
  /** Dies now. */
  end(): void;
  /** A step that cannot wait. */
  touch(what: string): void;
  /** A step: never returns in a life that is over. */
  step(what: string): Promise<void>;
  /** A call with a step before and after it. */
  around<T>(what: string, call: () => Promise<T>): Promise<T>;
  /** Called when it ends. */
  onEnd(callback: () => void): void;
}

const never = <T>(): Promise<T> => new Promise(() => undefined);

/** Begins a life. */
export function createLife(): Life {
  const steps: string[] = [];
  const callbacks: (() => void)[] = [];
  let over = false;
  let armed = false;
  let dieAt: number | null = null;
  const end = (): void => {
    if (over) return;
    over = true;
    for (const callback of callbacks) callback();
  };
  const touch = (what: string): void => {
    if (over || !armed) return;
    steps.push(what);
    if (steps.length - 1 === dieAt) end();
  };
  const step = (what: string): Promise<void> => {
    touch(what);
    return over ? never() : Promise.resolve();
  };
  return {
    over: () => over,
    steps,
    arm: (at) => {
      armed = true;
      dieAt = at;
      steps.length = 0;
    },
    disarm: () => {
      armed = false;
    },
    end,
    touch,
    step,
    around: async (what, call) => {
      await step(`before ${what}`);
      const result = await call();
      await step(`after ${what}`);
      return result;
    },
    onEnd: (callback) => void callbacks.push(callback),
  };
}

/** The host's clock as one life sees it. */
export function mortalClock(clock: Clock, life: Life): Clock {
  return {
    ...clock,
    timer: (ms, callback) =>
      clock.timer(ms, () => {
        if (!life.over()) callback();
      }),
    sleep: async (ms, options) => {
      try {
        await clock.sleep(ms, options);
      } finally {
        if (life.over()) await never();
      }
    },
  };
}

/** The files of a host as one life sees them; its locks end with it. */
export function mortalStore(files: StateStore, life: Life): StateStore {
  return {
    specVersion: 1,
    lock: createMemoryStateStore().lock,
    snapshot: <T>(name: string) => {
      const inner = files.snapshot<T>(name);
      return {
        read: () => (life.over() ? never<T | null>() : inner.read()),
        write: (value: T) => life.around(`${name}: replaced`, () => inner.write(value)),
      };
    },
    journal: <T>(name: string) => {
      const inner = files.journal<T>(name);
      return {
        read: () => (life.over() ? never<readonly T[]>() : inner.read()),
        append: (record: T) =>
          life.around(`${name}: ${(record as { readonly type?: string }).type}`, () =>
            inner.append(record),
          ),
        compact: (records: readonly T[]) =>
          life.around(`${name}: compacted`, () => inner.compact(records)),
      };
    },
  };
}

/** The devices of a host as one life sees them: a change it has begun goes on without it. */
export function mortalDriver(
  driver: GpuDriver,
  life: Life,
  options: { readonly clock: Clock; readonly onChange: (card: string | null) => void },
): GpuDriver {
  const change = async <T>(what: string, card: string | null, call: () => Promise<T>) => {
    await life.step(`before driver ${what}`);
    options.onChange(card);
    const done = call();
    done.catch(() => undefined);
    await Promise.race([done.catch(() => undefined), options.clock.sleep(1)]);
    await life.step(`amid driver ${what}`);
    const result = await done;
    await life.step(`after driver ${what}`);
    return result;
  };
  return {
    ...driver,
    discover: (call) => life.around('driver discover', () => driver.discover(call)),
    setComputeMode: (card, mode, call) =>
      change(`compute ${mode}`, card, () => driver.setComputeMode(card, mode, call)),
    stageMemoryMode: (card, mode, call) =>
      change(`stage ${mode}`, card, () => driver.stageMemoryMode(card, mode, call)),
    reload: (call) => change('reload', null, () => driver.reload(call)),
    watch: (onEvent) =>
      driver.watch((event) => {
        if (!life.over()) onEvent(event);
      }),
  };
}

/** The processes of a host as one life sees them: one that waits at its gate when it dies never runs. */
export function mortalLauncher(
  processes: FakeLauncher,
  life: Life,
  onRun: (name: string) => void,
): Launcher {
  const atGate = new Set<ReturnType<FakeLauncher['last']>>();
  life.onEnd(() => {
    for (const process of atGate) process.crash([], { code: 125 });
  });
  const mortal = (process: RunningProcess, name: string): RunningProcess => ({
    ...process,
    stop: (options) => life.around(`stop ${name}`, () => process.stop(options)),
  });
  return {
    specVersion: 1,
    launch: async (command, options) => {
      const { name, beforeRun } = options;
      await life.step(`before launch ${name}`);
      const process = await processes.launch(command, {
        ...options,
        beforeRun: async (mark) => {
          const gated = processes.last();
          atGate.add(gated);
          await life.step(`at the gate ${name}`);
          await beforeRun?.(mark);
          atGate.delete(gated);
          onRun(name);
        },
      });
      await life.step(`after launch ${name}`);
      return mortal(process, name);
    },
    adopt: async (mark, options) => {
      const found = await life.around(`adopt ${options.name}`, async () =>
        processes.adopt === undefined ? null : processes.adopt(mark, options),
      );
      return found === null ? null : mortal(found, options.name);
    },
    reclaim: (keep) =>
      life.around('reclaim', async () =>
        processes.reclaim === undefined ? 0 : processes.reclaim(keep),
      ),
  };
}

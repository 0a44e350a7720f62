/** A simulated machine on a manual clock, with calls that run to their end without waiting for real time. */
import { cardId, createRng, hiveId, nodeName, type SimulatedCard } from '@aim-gpu/core';
import { createManualClock, createMemoryStateStore } from '@aim-gpu/core/testing';
import {
  createSimulatedDriver,
  type ProcessTable,
  type SimulatedDriver,
  type SimulatedDriverOptions,
} from '../src/index.js';

export const CARD = cardId('0000:0c:00.0');

export function someSimulatedCards(count: number, product = 'MI300X', hives = 1): SimulatedCard[] {
  return Array.from({ length: count }, (_, index) => ({
    id: cardId(`0000:${(0x0c + index * 16).toString(16).padStart(2, '0')}:00.0`),
    product,
    hive: hiveId(`hive${Math.floor((index * hives) / count)}`),
  }));
}

/** A host whose processes a test starts and ends. */
function fakeProcesses(): ProcessTable & {
  readonly alive: Map<number, string>;
} {
  const alive = new Map<number, string>([
    [100, 'a'],
    [101, 'a'],
    [102, 'a'],
  ]);
  return { alive, startTime: (pid) => alive.get(pid) ?? null };
}

export interface Bench {
  readonly driver: SimulatedDriver;
  readonly clock: ReturnType<typeof createManualClock>;
  readonly store: ReturnType<typeof createMemoryStateStore>;
  readonly processes: ReturnType<typeof fakeProcesses>;
  /** Runs a call to its end, moving the clock as far as it needs. */
  run<T>(call: Promise<T>): Promise<T>;
  /** Another driver over the same machine, as another command has. */
  again(options?: Partial<SimulatedDriverOptions>): SimulatedDriver;
}

export function createBench(options: Partial<SimulatedDriverOptions> = {}): Bench {
  const clock = createManualClock();
  const store = createMemoryStateStore();
  const processes = fakeProcesses();
  const again = (more: Partial<SimulatedDriverOptions> = {}): SimulatedDriver =>
    createSimulatedDriver({
      node: nodeName('node-a'),
      cards: someSimulatedCards(1),
      store,
      clock,
      rng: createRng(7),
      timing: 'short',
      processes,
      ...options,
      ...more,
    });
  const run = async <T>(call: Promise<T>): Promise<T> => {
    let ended = false;
    const done = call.finally(() => {
      ended = true;
    });
    done.catch(() => undefined);
    for (let turn = 0; !ended; turn += 1) {
      if (turn > 100_000) throw new Error('the call does not end');
      await clock.advance(100);
    }
    return done;
  };
  return { driver: again(), clock, store, processes, run, again };
}

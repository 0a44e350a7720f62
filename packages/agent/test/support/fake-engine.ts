/** An engine without a server: a test says whether it is ready and how many requests it runs. */
import { AimError, type EngineSample, type ServingEngine } from '@aim-gpu/core';

export interface FakeEngine extends ServingEngine {
  /** `hang`: the health check is never answered. `broken`: asking itself goes wrong. */
  health: 'ready' | 'loading' | 'hang' | 'broken';
  /** Requests it runs; null when it does not answer, `hang` when it never does. */
  load: number | null | 'hang';
}

const IDLE: EngineSample = {
  running: 0,
  waiting: 0,
  kvUsage: 0,
  kvCapacityTokens: null,
  preemptionsTotal: 0,
  promptTokensTotal: 0,
  generationTokensTotal: 0,
};

const never = <T>(): Promise<T> => new Promise(() => undefined);

export function createFakeEngine(): FakeEngine {
  const engine: FakeEngine = {
    specVersion: 1,
    name: 'fake',
    health: 'ready',
    load: 0,
    toCommand: ({ instance, port }) => ({ argv: ['engine', instance, String(port)], env: {} }),
    isReady: (_, { signal } = {}) => {
      signal?.throwIfAborted();
      if (engine.health === 'hang') return never();
      if (engine.health === 'broken') return Promise.reject(new Error('the answer was no HTTP'));
      return Promise.resolve(engine.health === 'ready');
    },
    sample: () => {
      if (engine.load === 'hang') return never();
      if (engine.load !== null) return Promise.resolve({ ...IDLE, running: engine.load });
      const message = 'the engine did not answer';
      return Promise.reject(
        new AimError({ code: 'ERR_ENGINE_UNREACHABLE', kind: 'unavailable', message }),
      );
    },
    explainExit: (words) =>
      words.some((line) => line.includes('out of memory'))
        ? { message: 'the KV cache did not fit its share', hint: 'lower maxModelLen' }
        : null,
  };
  return engine;
}

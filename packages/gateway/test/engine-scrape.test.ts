import type { EngineSample } from '@aim-gpu/core';
import { createManualClock, createRecordingLogger } from '@aim-gpu/core/testing';
import { expect, test } from 'vitest';
import { scrapeEngines } from '../src/engine-scrape.js';
import { createEngineTrust } from '../src/engine-trust.js';
import type { LiveExchanges } from '../src/live-exchanges.js';
import type { ServedModels } from '../src/served-models.js';

const IDLE: EngineSample = {
  running: 0,
  waiting: 0,
  kvUsage: 0,
  kvCapacityTokens: null,
  preemptionsTotal: 0,
  promptTokensTotal: 0,
  generationTokensTotal: 0,
};

function aScrape() {
  const clock = createManualClock();
  const seen = { asked: 0, running: 0, size: 0, answers: true, suspended: 0, abandoned: 0 };
  const endpoint = { instance: 'chat-0' };
  const served = { all: () => [{ endpoints: new Map([['chat-0', endpoint]]) }] };
  const live = {
    get size() {
      return seen.size;
    },
    abandon: () => {
      seen.abandoned += 1;
    },
  };
  const stop = scrapeEngines({
    sample: () => {
      seen.asked += 1;
      if (!seen.answers) return Promise.reject(new Error('silent'));
      return Promise.resolve({ ...IDLE, running: seen.running });
    },
    everyMs: 1000,
    served: served as unknown as ServedModels,
    live: live as unknown as LiveExchanges,
    qos: {
      observe: () => undefined,
      suspend: () => {
        seen.suspended += 1;
      },
    },
    trust: createEngineTrust(),
    clock,
    logger: createRecordingLogger(),
  });
  const asksIn = async (seconds: number): Promise<number> => {
    const before = seen.asked;
    for (let second = 0; second < seconds; second += 1) await clock.advance(1000);
    return seen.asked - before;
  };
  return { seen, asksIn, stop };
}

test('an idle engine is asked in every fifth round, a busy one and any under traffic in each', async () => {
  const { seen, asksIn, stop } = aScrape();
  expect(await asksIn(20)).toBe(4);
  seen.size = 1;
  expect(await asksIn(5)).toBe(5);
  seen.size = 0;
  seen.running = 1;
  await asksIn(5);
  expect(await asksIn(5)).toBe(5);
  stop();
  expect(await asksIn(5)).toBe(0);
});

test('an idle engine that falls silent is asked in each round from the first miss on', async () => {
  const { seen, asksIn, stop } = aScrape();
  await asksIn(1);
  seen.answers = false;
  // At most four rounds until it is asked, then three misses in a row.
  await asksIn(7);
  expect(seen.abandoned).toBe(1);
  expect(seen.suspended).toBe(1);
  stop();
});

/**
 * A million tenants, each seen once, through one qos object: some are let in at once, some wait, all have limits.
 * What is remembered of them, and the heap, must not grow with their number. `--seed N`, `--operations N` tenants.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { BANDS, type Band, createRng } from '@aim-gpu/core';
import { createManualClock } from '@aim-gpu/core/testing';
import type { Soak } from '../../../tools/soak.js';
import { createQos, type Permit } from '../src/index.js';

const LOOK_EVERY = 100_000;
const MAX_GROWTH_BYTES = 16 * 2 ** 20;
const MAX_ACCOUNTS = 10_000;
/** Each model remembers so many idle tenants a band at most. */
const MAX_LAGS = 5 * 10_000;

export const soak: Soak = {
  name: 'qos-tenants',
  summary: '1,000,000 tenants seen once each: accounts, fairness and heap stay bounded',
  run: async ({ values, signal, log }) => {
    const { seed: seedText = '7', operations: text = '1000000', ...unknown } = values;
    const [surplus] = Object.keys(unknown);
    if (surplus !== undefined) throw new Error(`there is no option --${surplus}`);
    const tenants = Number(text);
    const rng = createRng(Number(seedText));
    const clock = createManualClock();
    const qos = createQos({ clock, rng: createRng(2) });
    qos.setModel({ name: 'm', band: 'interactive' });
    qos.setEndpoints('m', [{ id: 'e', maxSeqs: 16, kvCapacityTokens: null, ready: true }]);
    const limits = {
      requestsPerMinute: 600,
      inputTokensPerMinute: 1e6,
      outputTokensPerMinute: 1e6,
      concurrent: 4,
    };
    const failures: string[] = [];
    const results: Record<string, number>[] = [];
    const running: Permit[] = [];
    const end = (): void => {
      const permit = running.shift();
      permit?.firstByte();
      permit?.usage({ outputTokens: Math.floor(rng.next() * 400) });
      permit?.done();
    };
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    let refused = 0;
    let baseBytes = 0;
    for (let index = 1; index <= tenants && !signal.aborted; index += 1) {
      const tenant = `tenant-${index}`;
      const admitted = qos.admit({
        tenant,
        model: 'm',
        band: BANDS[Math.floor(rng.next() * BANDS.length)] as Band,
        promptTokens: Math.floor(rng.next() * 500),
        maxOutputTokens: 200,
        limits: [{ account: tenant, limits }],
      });
      void admitted.then((admission) => {
        if (admission.ok) running.push(admission.permit);
        else refused += 1;
      });
      if (index % 8 === 0) await clock.advance(5);
      // In every second stretch of 2,000 a queue builds up, in the others it is worked off.
      const ends = index % 4_000 < 2_000 ? 0.95 : 1.2;
      for (let left = ends; left > 0; left -= 1) if (rng.next() < left) end();
      if (index % LOOK_EVERY !== 0) continue;
      while (qos.waiting + qos.inFlight > 0) {
        end();
        await clock.advance(1);
      }
      collect();
      const heapBytes = process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;
      if (baseBytes === 0) baseBytes = heapBytes;
      const lags = Object.values(qos.snapshot().models[0]?.lags ?? {});
      const lagging = lags.reduce((sum, entries) => sum + (entries?.length ?? 0), 0);
      const accounts = qos.limits.size;
      results.push({ tenants: index, accounts, lagging, refused, heapBytes });
      log(`${index} tenants: ${accounts} accounts, heap ${Math.round(heapBytes / 2 ** 20)} MiB`);
      if (accounts > MAX_ACCOUNTS) failures.push(`${accounts} accounts are remembered`);
      if (lagging > MAX_LAGS) failures.push(`${lagging} tenants are remembered`);
      if (heapBytes - baseBytes > MAX_GROWTH_BYTES)
        failures.push(`the heap grew by ${heapBytes - baseBytes} bytes`);
    }
    qos.close();
    return { results, failures };
  },
};

/**
 * A million random operations and more on one qos object, and a million tenants through it: every request ends exactly
 * once, endpoints are never overfilled, memory does not grow. `--seed N`, `--operations N`.
 */
import { BANDS, type Band, createRng } from '@aim-gpu/core';
import { createManualClock } from '@aim-gpu/core/testing';
import type { Soak } from '../../../tools/soak.js';
import { type Admission, createQos, type Permit } from '../src/index.js';

const MAX_SEQS = 3;
const TOKENS = 4_000;
const ENDPOINTS = ['e1', 'e2', 'e3'] as const;
const LOOK_EVERY = 50_000;
const MAX_GROWTH_BYTES = 64 * 2 ** 20;

export const soak: Soak = {
  name: 'qos',
  summary: '1,000,000 random operations and as many tenants: conservation, bounds, memory',
  run: async ({ seconds, values, signal, log }) => {
    const { seed: seedText = '7', operations: text = '1000000', ...unknown } = values;
    const [surplus] = Object.keys(unknown);
    if (surplus !== undefined) throw new Error(`there is no option --${surplus}`);
    const least = Number(text);
    const rng = createRng(Number(seedText));
    const clock = createManualClock();
    const failures: string[] = [];
    let ended = 0;
    let asked = 0;
    let preempted = 0;
    const reasons = new Map<string, number>();
    const qos = createQos({
      clock,
      rng: createRng(2),
      total: { count: 60 },
      preemptStreams: true,
      leakAfterMs: 1e9,
      observer: {
        refused: (_, reason) => {
          ended += 1;
          reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
        },
        ended: () => {
          ended += 1;
        },
        preempted: () => {
          preempted += 1;
        },
      },
    });
    qos.setModel({ name: 'm', band: 'interactive' });
    const endpoints = (ready: (id: string) => boolean): void =>
      qos.setEndpoints(
        'm',
        ENDPOINTS.map((id) => ({
          id,
          maxSeqs: MAX_SEQS,
          kvCapacityTokens: TOKENS,
          ready: ready(id),
          group: 'card',
        })),
      );
    endpoints(() => true);
    const gold = [{ name: 'gold', tenant: 'gold', seqs: 1, lendable: 0.5 }];
    const limits = {
      requestsPerMinute: null,
      inputTokensPerMinute: null,
      outputTokensPerMinute: null,
      concurrent: 10,
    };
    const running: Permit[] = [];
    const aborts: AbortController[] = [];
    const keep = (admission: Admission): void => {
      if (admission.ok) running.push(admission.permit);
    };
    const drawn = (): Permit | undefined => {
      const at = Math.floor(rng.next() * running.length);
      const permit = running[at];
      const last = running.pop();
      if (permit !== undefined && last !== undefined && at < running.length) running[at] = last;
      return permit;
    };
    const ask = (): void => {
      asked += 1;
      const abort = new AbortController();
      aborts.push(abort);
      if (aborts.length > 20) aborts.shift();
      // Most tenants are never seen again.
      const tenant = rng.next() < 0.2 ? 'gold' : `t${asked}`;
      void qos
        .admit(
          {
            tenant,
            model: 'm',
            band: BANDS[Math.floor(rng.next() * BANDS.length)] as Band,
            promptTokens: Math.floor(rng.next() * 1_500),
            maxOutputTokens: 1 + Math.floor(rng.next() * 300),
            limits: [{ account: tenant, limits }],
            deadlineMs: rng.next() < 0.2 ? 50 : null,
            ttftMs: rng.next() < 0.2 ? 500 : null,
            affinity: rng.next() < 0.2 ? 'e2' : null,
          },
          { signal: abort.signal },
        )
        .then(keep);
    };
    const end = (): void => {
      const permit = drawn();
      if (permit === undefined) return;
      if (permit.signal.aborted && permit.ttftMs === null) {
        void permit.retry().then(keep);
        return;
      }
      if (rng.next() < 0.8) permit.firstByte();
      permit.tokens(3);
      permit.usage({ outputTokens: Math.floor(rng.next() * 300) });
      if (rng.next() < 0.3 && !permit.signal.aborted) {
        running.push(permit);
        return;
      }
      permit.done(rng.next() < 0.9 ? 'complete' : 'failed');
      if (rng.next() < 0.2) permit.done();
    };

    const heap = (): number => {
      globalThis.gc?.();
      return process.memoryUsage().heapUsed;
    };
    const startMs = performance.now();
    let baseBytes = 0;
    let operations = 0;
    for (; !signal.aborted; operations += 1) {
      if (operations >= least && performance.now() - startMs >= seconds * 1_000) break;
      const action = rng.next();
      if (action < 0.45) ask();
      else if (action < 0.85) end();
      else if (action < 0.9) aborts[Math.floor(rng.next() * aborts.length)]?.abort();
      else if (action < 0.91) qos.suspend(ENDPOINTS[operations % 3] as string, 20);
      else if (action < 0.915) endpoints(() => rng.next() < 0.7);
      else if (action < 0.916) qos.setReservations('m', rng.next() < 0.5 ? gold : []);
      else if (action < 0.95) await Promise.resolve();
      else await clock.advance(Math.floor(rng.next() * 60));
      if (operations % 500 === 0) {
        for (const { id, inFlight, inFlightTokens } of qos.report()[0]?.endpoints ?? []) {
          if (inFlight > MAX_SEQS || inFlightTokens > TOKENS)
            failures.push(`${id} holds ${inFlight} requests, ${inFlightTokens} tokens`);
        }
      }
      if (operations > 0 && operations % LOOK_EVERY === 0) {
        const bytes = heap();
        if (baseBytes === 0) baseBytes = bytes;
        if (operations % (4 * LOOK_EVERY) === 0)
          log(
            `${operations} operations, ${asked} requests, heap ${Math.round(bytes / 2 ** 20)} MiB`,
          );
      }
      if (failures.length > 20) break;
    }
    const growthBytes = heap() - baseBytes;
    endpoints(() => true);
    for (let round = 0; round < 5_000 && qos.inFlight + qos.waiting > 0; round += 1) {
      for (const permit of running.splice(0)) {
        if (permit.signal.aborted && permit.ttftMs === null) void permit.retry().then(keep);
        else permit.done();
      }
      await clock.advance(50);
    }
    if (qos.inFlight + qos.waiting > 0) failures.push(`${qos.inFlight} run, ${qos.waiting} wait`);
    if (ended !== asked) failures.push(`${asked} requests came, ${ended} ended`);
    for (const { id, inFlightTokens } of qos.report()[0]?.endpoints ?? []) {
      if (inFlightTokens !== 0) failures.push(`${id} still holds ${inFlightTokens} tokens`);
    }
    if (growthBytes > MAX_GROWTH_BYTES) failures.push(`the heap grew by ${growthBytes} bytes`);
    const accounts = qos.limits.size;
    if (accounts > 5_000) failures.push(`${accounts} accounts are remembered`);
    qos.close();
    return {
      results: [
        { operations, requests: asked, ended, preempted, accounts, heapGrowthBytes: growthBytes },
        { refusals: Object.fromEntries(reasons) },
      ],
      failures,
    };
  },
};

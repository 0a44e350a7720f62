/**
 * Asks every engine for its own figures and tells qos. Owns the pace and what silence means: an engine that misses
 * three looks in a row gets no new requests until it answers again. A late figure alone never closes anything.
 * While the gateway has no request under way, an engine that had nothing to do is asked in every fifth round only.
 */
import type { CallOptions, Clock, Endpoint, EngineSample, Logger } from '@aim-gpu/core';
import type { Qos } from '@aim-gpu/qos';
import type { EngineTrust } from './engine-trust.js';
import type { LiveExchanges } from './live-exchanges.js';
import type { ServedModels } from './served-models.js';

/** Reads an engine's figures; rejects when it does not answer. */
export type SampleEngine = (endpoint: Endpoint, options: CallOptions) => Promise<EngineSample>;

/** Makes the rounds begin; the returned function ends them. */
export function scrapeEngines(options: {
  readonly sample: SampleEngine;
  readonly everyMs: number;
  readonly served: ServedModels;
  readonly live: LiveExchanges;
  readonly qos: Pick<Qos, 'observe' | 'suspend'>;
  readonly trust: EngineTrust;
  readonly clock: Clock;
  readonly logger: Logger;
}): () => void {
  const { sample, everyMs, served, live, qos, trust, clock, logger } = options;
  const over = new AbortController();
  const asked = new Set<string>();
  const missed = new Map<string, number>();
  /** Those that had nothing to do when they were last asked. */
  const quiet = new Set<string>();
  let rounds = 0;
  let disarm = (): void => undefined;

  const suspend = (instance: string, ms: number): void => {
    qos.suspend(instance, ms);
    trust.of(instance).leaveAlone(clock.monoMs() + ms);
  };
  const silent = (instance: string): void => {
    const count = (missed.get(instance) ?? 0) + 1;
    missed.set(instance, count);
    quiet.delete(instance);
    if (count < MISSES) return;
    if (count === MISSES) logger.warn('engine-silent', { instance });
    suspend(instance, Math.max(everyMs * 2, LEAST_SUSPENSION_MS));
    live.abandon(instance);
  };
  const look = async (endpoint: Endpoint): Promise<void> => {
    const { instance } = endpoint;
    // One that owes the last answer is not asked again; that it owes it counts as a miss.
    if (asked.has(instance)) return silent(instance);
    asked.add(instance);
    try {
      const figures = await sample(endpoint, { signal: over.signal });
      if ((missed.get(instance) ?? 0) >= MISSES) suspend(instance, 0);
      missed.delete(instance);
      if (figures.running + figures.waiting > 0) quiet.delete(instance);
      else quiet.add(instance);
      qos.observe(instance, figures);
    } catch {
      if (!over.signal.aborted) silent(instance);
    } finally {
      asked.delete(instance);
    }
  };
  const round = (): void => {
    const endpoints = served.all().flatMap((each) => [...each.endpoints.values()]);
    const known = new Set<string>(endpoints.map(({ instance }) => instance));
    for (const instance of missed.keys()) if (!known.has(instance)) missed.delete(instance);
    for (const instance of quiet) if (!known.has(instance)) quiet.delete(instance);
    const all = live.size > 0 || rounds % IDLE_ROUNDS === 0;
    rounds += 1;
    for (const endpoint of endpoints) if (all || !quiet.has(endpoint.instance)) void look(endpoint);
    disarm = clock.timer(everyMs, round);
  };
  disarm = clock.timer(everyMs, round);
  return () => {
    disarm();
    over.abort();
  };
}

const MISSES = 3;
/** An idle engine's figures say the same again and again; old figures count as idle in admission anyway. */
const IDLE_ROUNDS = 5;
const LEAST_SUSPENSION_MS = 1_000;

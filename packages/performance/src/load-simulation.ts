/**
 * Drives one simulated engine core with a load in simulated time and measures it as a client would: TTFT, TPOT,
 * throughput and the share of time the engine was busy. Deterministic from its generator; owns no real clock.
 */
import type { Rng } from '@aim-gpu/core';
import { createEngineSimulation, type EngineSimulationOptions } from './engine-simulation.js';
import type { EngineSequence } from './engine-step.js';
import { type Traffic, validateTraffic } from './traffic.js';
import { requireWhole } from './validation.js';

/** Input of {@link simulateLoad}. */
export interface LoadSimulationOptions extends EngineSimulationOptions {
  readonly traffic: Traffic;
  /** Requests that are measured, after the warm-up. */
  readonly requests: number;
  /** Requests before measuring starts; by default three times the concurrency, or 200. */
  readonly warmUpRequests?: number;
  readonly rng: Rng;
  /** Co-tenants' slowdown of every step, by default 1. */
  readonly slowdown?: number;
}

/** Mean and percentiles of a measured time. */
export interface Percentiles {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

/** What {@link simulateLoad} measured. */
export interface LoadMeasurement {
  readonly requests: number;
  readonly durationMs: number;
  readonly ttftMs: Percentiles;
  /** Time between tokens after the first, over requests of two tokens or more. */
  readonly tpotMs: Percentiles;
  readonly endToEndMs: Percentiles;
  readonly outputTokensPerSecond: number;
  readonly requestsPerSecond: number;
  /** Share of the time inside steps. */
  readonly busy: number;
  readonly steps: number;
  readonly preemptions: number;
  /** Mean sequences that emitted a token in a step. */
  readonly meanBatch: number;
}

/** Mean and percentiles of values; nearest rank. All zero when there are none. */
export function toPercentiles(values: Float64Array): Percentiles {
  if (values.length === 0) return { mean: 0, p50: 0, p90: 0, p99: 0 };
  const sorted = values.slice().sort();
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? 0;
  let sum = 0;
  for (const value of sorted) sum += value;
  return { mean: sum / sorted.length, p50: at(0.5), p90: at(0.9), p99: at(0.99) };
}

interface Flight {
  readonly sentMs: number;
  firstMs: number;
}

/**
 * Runs a load against a simulated engine and measures it. Closed loops send the next request when one is answered;
 * open loops draw exponential gaps. A request reaches the core after the model's front-end time. Throws
 * `ERR_PREDICT_INVALID`, and `ERR_REQUEST_TOO_LONG` when one request does not fit the KV pool.
 */
export function simulateLoad(options: LoadSimulationOptions): LoadMeasurement {
  const { traffic, rng, model } = options;
  validateTraffic(traffic);
  const measured = requireWhole('requests', options.requests, 1, 100_000_000);
  const closed = traffic.arrivals.kind === 'closed';
  const concurrency = traffic.arrivals.kind === 'closed' ? traffic.arrivals.concurrency : 0;
  const warmUp = requireWhole(
    'warmUpRequests',
    options.warmUpRequests ?? (closed ? 3 * concurrency : 200),
    0,
    100_000_000,
  );
  const gapMs = traffic.arrivals.kind === 'open' ? 1000 / traffic.arrivals.requestsPerSecond : 0;
  const from = traffic.lengths?.kind === 'uniform' ? traffic.lengths.from : 1;
  const draw = (nominal: number): number =>
    Math.max(1, Math.round(nominal * (from === 1 ? 1 : from + (1 - from) * rng.next())));
  const engine = createEngineSimulation(options);
  const slowdown = options.slowdown ?? 1;
  const wanted = warmUp + measured;
  const flights = new Map<EngineSequence, Flight>();
  const ttft = new Float64Array(measured);
  const tpot = new Float64Array(measured);
  const endToEnd = new Float64Array(measured);
  let now = 0;
  let sent = 0;
  let done = 0;
  let paced = 0;
  let startMs = 0;
  let startBusyMs = 0;
  let startSteps = 0;
  let tokens = 0;
  let emitted = 0;
  let steps = 0;

  /** Send times that have not reached the core yet, in order. */
  const pending: number[] = [];
  let head = 0;
  let nextArrivalMs = closed ? Number.POSITIVE_INFINITY : -Math.log(1 - rng.next()) * gapMs;
  for (let client = 0; client < concurrency; client += 1) pending.push(0);

  const submit = (sentMs: number): void => {
    sent += 1;
    const sequence = engine.enqueue({
      id: String(sent),
      promptTokens: draw(traffic.promptTokens),
      outputTokens: draw(traffic.outputTokens),
    });
    flights.set(sequence, { sentMs, firstMs: 0 });
  };

  while (done < wanted) {
    while (nextArrivalMs <= now) {
      pending.push(nextArrivalMs);
      nextArrivalMs += -Math.log(1 - rng.next()) * gapMs;
    }
    while (head < pending.length && (pending[head] as number) + model.frontEndMs <= now) {
      submit(pending[head] as number);
      head += 1;
    }
    if (head > 4096 && head * 2 > pending.length) {
      pending.splice(0, head);
      head = 0;
    }
    const step = engine.step(slowdown);
    if (step.kind === 'idle') {
      const next = pending[head];
      now = next === undefined ? nextArrivalMs : next + model.frontEndMs;
      continue;
    }
    now += step.durationMs;
    steps += 1;
    if (done >= warmUp) emitted += step.emitted.length;
    for (const sequence of step.first) {
      const flight = flights.get(sequence);
      if (flight !== undefined) flight.firstMs = now;
    }
    for (const sequence of step.finished) {
      const flight = flights.get(sequence);
      flights.delete(sequence);
      if (flight === undefined) continue;
      if (done >= warmUp && done < wanted) {
        const index = done - warmUp;
        ttft[index] = flight.firstMs - flight.sentMs;
        endToEnd[index] = now - flight.sentMs;
        tokens += sequence.generatedTokens;
        if (sequence.generatedTokens > 1) {
          tpot[paced] = (now - flight.firstMs) / (sequence.generatedTokens - 1);
          paced += 1;
        }
      }
      done += 1;
      if (done === warmUp) {
        startMs = now;
        startSteps = steps;
        startBusyMs = engine.counters().busyMs;
      }
      if (closed) pending.push(now);
    }
  }
  const durationMs = now - startMs;
  const counters = engine.counters();
  const stepsMeasured = steps - startSteps;
  return {
    requests: measured,
    durationMs,
    ttftMs: toPercentiles(ttft),
    tpotMs: toPercentiles(tpot.subarray(0, paced)),
    endToEndMs: toPercentiles(endToEnd),
    outputTokensPerSecond: durationMs > 0 ? (tokens / durationMs) * 1000 : 0,
    requestsPerSecond: durationMs > 0 ? (measured / durationMs) * 1000 : 0,
    busy: durationMs > 0 ? Math.min(1, (counters.busyMs - startBusyMs) / durationMs) : 0,
    steps: stepsMeasured,
    preemptions: counters.preemptions,
    meanBatch: stepsMeasured > 0 ? emitted / stepsMeasured : 0,
  };
}

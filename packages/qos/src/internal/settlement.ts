/**
 * The end of a permit: the endpoint is given back, limits and fairness are corrected to what was used, the SLO is told.
 * Owns who pays: a tenant whose request was preempted pays nothing.
 */
import type { RequestOutcome } from '../slo-tracker.js';
import type { QosContext } from './context.js';
import { answersOf, toCost } from './cost.js';
import type { Flight } from './flight.js';
import { GUARDED_RANK } from './group-guards.js';
import type { ModelPool } from './model-pool.js';

/** Of a median answer's time, how long the adaptive limit waits between two cuts. */
const ROUND_TRIP_SHARE = 0.25;

export class Settlement {
  readonly #context: QosContext;
  readonly #freed: (pool: ModelPool | undefined) => void;

  /** `freed` is called when an endpoint has room again. */
  constructor(context: QosContext, freed: (pool: ModelPool | undefined) => void) {
    this.#context = context;
    this.#freed = freed;
  }

  /** Gives an endpoint back; the flight may go on to another one. */
  giveBack(flight: Flight): void {
    this.#leave(flight, this.#context.pools.get(flight.model));
  }

  finish(flight: Flight, outcome: RequestOutcome, nowMs: number): void {
    const { pools, weights, observer } = this.#context;
    const pool = pools.get(flight.model);
    if (flight.state !== 'cut') this.#leave(flight, pool);
    const wasPreempted = flight.state === 'cut' || flight.state === 'stopping';
    const verdict = wasPreempted && outcome !== 'complete' ? 'preempted' : outcome;
    flight.state = 'ended';
    const prompt = flight.promptTokens ?? toCost(flight.request.promptTokens);
    // An answer that ended without usage is taken at what was reserved, one that never began at nothing.
    const output = flight.outputTokens ?? (flight.hasBegun ? null : 0);
    const isFree = verdict === 'preempted';
    const { reservation } = flight;
    flight.reservation = null;
    if (reservation !== null) {
      if (isFree) reservation.cancel();
      else if (output === null) reservation.abandon();
      else reservation.settle({ inputTokens: prompt, outputTokens: output });
    }
    if (flight.drawn > 0 && pool !== undefined) {
      const used = isFree ? 0 : output === null ? flight.drawn : toCost(prompt) + toCost(output);
      pool.burst?.settle(flight.drawn - used, nowMs);
    }
    flight.drawn = 0;
    if (pool !== undefined) {
      const { lane } = flight;
      if (lane !== null) {
        const uncached = Math.max(0, prompt - flight.cachedTokens);
        const used =
          output === null ? flight.cost : weights.input * uncached + weights.output * output;
        pool.queue.settle(flight, lane, isFree ? 0 : toCost(used), nowMs);
      }
      if (verdict === 'complete' && output !== null)
        pool.outputs.record(output / answersOf(flight.request), nowMs);
      this.#judge(flight, pool, verdict, output ?? 0, nowMs);
    }
    flight.lane = null;
    observer.ended(flight.request, verdict);
    this.#freed(pool);
  }

  /** Looks at how fast an urgent stream's tokens come. */
  tempo(flight: Flight, tpotMs: number, nowMs: number): void {
    const pool = this.#context.pools.get(flight.model);
    if (pool !== undefined) this.#guard(flight, pool, tpotMs, nowMs);
  }

  #leave(flight: Flight, pool: ModelPool | undefined): void {
    this.#context.live.remove(flight);
    flight.at?.release(flight.footprint, flight.hasBegun);
    pool?.left(flight);
  }

  #guard(flight: Flight, pool: ModelPool, tpotMs: number, nowMs: number): void {
    const capacity = flight.at;
    if (capacity === null || flight.rank > GUARDED_RANK) return;
    const target = pool.bands.of(flight.rank).targets.tpotMs;
    if (target === null) return;
    const isBreach = this.#context.guards.of(capacity).tempo(tpotMs, target, nowMs);
    // Fewer sequences help only where lower bands give theirs up: urgent ones would wait instead of being slow.
    if (isBreach && pool.bands.hasLower(GUARDED_RANK)) {
      const { p50 } = pool.bands.of(flight.rank).tracker.report(nowMs).e2eMs;
      capacity.slow(nowMs, (p50 ?? 0) * ROUND_TRIP_SHARE);
    }
  }

  #judge(
    flight: Flight,
    pool: ModelPool,
    outcome: RequestOutcome,
    decoded: number,
    nowMs: number,
  ): void {
    const e2eMs = nowMs - flight.arrivedMs;
    const { ttftMs } = flight;
    if (flight.hasBegun) {
      const firstByteMs = ttftMs === null ? null : ttftMs - flight.queueMs;
      if (flight.rank > GUARDED_RANK) pool.pace.lower(firstByteMs);
      else pool.pace.urgent(flight.promptSize, firstByteMs);
    }
    const tpotMs = ttftMs !== null && decoded > 1 ? (e2eMs - ttftMs) / (decoded - 1) : null;
    pool.bands.of(flight.rank).tracker.record(
      {
        outcome,
        ttftMs,
        tpotMs,
        e2eMs,
        outputTokens: decoded,
        ttftTargetMs: flight.request.ttftMs ?? null,
      },
      nowMs,
    );
    if (tpotMs !== null) this.#guard(flight, pool, tpotMs, nowMs);
  }
}

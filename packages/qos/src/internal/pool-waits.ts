/**
 * What a model's queue says of time: how long a newcomer would wait, how long a queue has been standing, what a tenant
 * can be owed. Owns the reading only; who is refused for it is the entrance's.
 */
import { createDrainRate, type DrainRate } from '../drain-rate.js';
import type { Flight } from './flight.js';
import type { PoolBands } from './pool-bands.js';
import type { QueueCore } from './queue-core.js';

/** Seconds of a tenant's fair share that it may owe when it returns. */
const DEBT_SECONDS = 60;
/** What the queue says of a band in which nothing waits. */
const UNKNOWN = Number.POSITIVE_INFINITY;

export class PoolWaits {
  /** Of all bands together, in tokens sent while anything waited. */
  readonly drain: DrainRate;
  readonly #queue: QueueCore<Flight>;
  readonly #bands: PoolBands;

  constructor(queue: QueueCore<Flight>, bands: PoolBands, tokensPerSecond: number | null) {
    this.#queue = queue;
    this.#bands = bands;
    this.drain = createDrainRate(tokensPerSecond);
  }

  /**
   * Predicted wait of a newcomer, in milliseconds; 0 with nothing ahead, null when not known. A tenant is told what
   * fairness gives it, not the whole queue: an elephant's backlog is not everybody's.
   */
  predictedMs(rank: number, tenant?: string, weight: number = 1): number | null {
    const above = rank === 0 ? 0 : this.#queue.tokensAhead(rank - 1);
    const within = this.#queue.band(rank).tokensBefore(tenant, weight);
    if (above + within === 0) return 0;
    const whole = this.drain.tokensPerSecond();
    const own = this.#bands.of(rank).drain.tokensPerSecond() ?? whole;
    if (whole === null || own === null || whole <= 0 || own <= 0) return null;
    return (above / whole + within / own) * 1000;
  }

  /** How far the highest standing queue above a band has gone. */
  shedLevel(rank: number, nowMs: number): number {
    let level = 0;
    for (let higher = 0; higher < rank; higher += 1) {
      const { codel } = this.#bands.of(higher);
      if (codel === null) continue;
      const oldestMs = this.#queue.band(higher).oldestMs();
      level = Math.max(level, codel.level(nowMs, oldestMs === UNKNOWN ? 0 : nowMs - oldestMs));
    }
    return level;
  }

  /**
   * A tenant's past burst is held against it for a minute of what its band gives a tenant while others wait, no longer.
   * Nothing is forgiven before that rate has been measured.
   */
  debtCap(rank: number, waitingWeight: number): number {
    const state = this.#bands.of(rank);
    const tokensPerSecond = state.drain.tokensPerSecond();
    if (tokensPerSecond === null) return Number.POSITIVE_INFINITY;
    return (DEBT_SECONDS * tokensPerSecond * state.costPerToken) / waitingWeight;
  }

  /** Takes note of a flight that leaves for an endpoint. */
  left(flight: Flight, nowMs: number): void {
    const { footprint, rank } = flight;
    const state = this.#bands.of(rank);
    const backlog = this.#queue.count > 0;
    this.drain.dispatched(footprint, backlog, nowMs);
    const bandBacklog = backlog && this.#queue.band(rank).count > 0;
    state.drain.dispatched(footprint, bandBacklog, nowMs);
    if (bandBacklog) state.codel?.left(flight.queueMs, nowMs);
    else {
      state.drain.emptied(nowMs);
      state.codel?.emptied(nowMs);
    }
  }
}

/**
 * Tenants that neither wait nor run, the longest idle first. Owns how many and how long they are remembered, which is
 * what bounds memory when tenants' names have no end.
 */
import type { TenantLane } from './tenant-lane.js';

export class IdleLanes {
  readonly #most: number;
  readonly #forgotten: (lane: TenantLane) => void;
  #head: TenantLane | null = null;
  #tail: TenantLane | null = null;
  #count: number = 0;

  /** `forgotten` is told of each tenant that is dropped. */
  constructor(most: number, forgotten: (lane: TenantLane) => void) {
    this.#most = most;
    this.#forgotten = forgotten;
  }

  /** Marks a lane idle when it neither waits nor runs; beyond the most, the longest idle one is dropped. */
  rest(lane: TenantLane, nowMs: number): void {
    if (lane.idle || lane.queued > 0 || lane.inFlight > 0) return;
    lane.idle = true;
    lane.idleSinceMs = nowMs;
    lane.idlePrev = this.#tail;
    if (this.#tail === null) this.#head = lane;
    else this.#tail.idleNext = lane;
    this.#tail = lane;
    this.#count += 1;
    if (this.#count > this.#most && this.#head !== null) this.#drop(this.#head);
  }

  /** Takes a lane back from the idle ones. */
  wake(lane: TenantLane): void {
    if (!lane.idle) return;
    lane.idle = false;
    if (lane.idlePrev === null) this.#head = lane.idleNext;
    else lane.idlePrev.idleNext = lane.idleNext;
    if (lane.idleNext === null) this.#tail = lane.idlePrev;
    else lane.idleNext.idlePrev = lane.idlePrev;
    lane.idlePrev = null;
    lane.idleNext = null;
    this.#count -= 1;
  }

  /** Drops lanes idle since before a time. */
  forget(idleBeforeMs: number): void {
    while (this.#head !== null && this.#head.idleSinceMs <= idleBeforeMs) this.#drop(this.#head);
  }

  #drop(lane: TenantLane): void {
    this.wake(lane);
    this.#forgotten(lane);
  }
}

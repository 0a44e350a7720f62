/**
 * What went wrong with one request so far, and whether one more engine may be asked. Owns those bounds; made when the
 * first try fails, which most requests never see.
 */
import type { RetryBudget } from './retry-budget.js';

/** Tries in which an engine had the request: the request may be what they fail of. */
const MOST_BROKEN = 2;
/** Tries that met no engine. */
const MOST_UNREACHED = 2;

/** The failures of one request before anything of an answer reached its client. */
export class ExchangeFailures {
  /** Since when the last engine that could have answered it is lost; null while there are others. */
  lostMs: number | null = null;
  private broken: number = 0;
  private unreached: number = 0;

  /** An engine had it, and did not answer it. */
  brokeOff(): void {
    this.broken += 1;
  }

  /** An engine was too full for it, and is there. */
  refused(): void {
    this.broken += 1;
    this.lostMs = null;
  }

  /** No engine had it. */
  notReached(): void {
    this.unreached += 1;
  }

  /** Whether any engine may see it again. */
  get isHarmless(): boolean {
    return this.broken < MOST_BROKEN;
  }

  /** Whether one more engine of its model may be asked; it counts as a repeat then. */
  mayRepeat(retries: RetryBudget, nowMs: number): boolean {
    if (!this.isHarmless) return false;
    // Who waits for an engine to come back is no load on one that is there.
    if (this.lostMs !== null) return true;
    return this.unreached < MOST_UNREACHED && retries.take(nowMs);
  }
}

/**
 * TTFT and TPOT of one answer: when its first and its last token passed. Owns the arithmetic; what counts as content is
 * the tap's to say.
 */
import type { Clock } from '@aim-gpu/core';

/** When tokens passed: the first and the last. */
export class TokenTimes {
  private readonly clock: Clock;
  /** When the first one passed; null before it. */
  firstMs: number | null = null;
  private last = 0;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** Content passes now. */
  note(): void {
    this.last = this.clock.monoMs();
    this.firstMs ??= this.last;
  }

  /** (last − first) ÷ (tokens − 1); null for fewer than two tokens. */
  meanMs(tokens: number): number | null {
    return this.firstMs === null || tokens < 2 ? null : (this.last - this.firstMs) / (tokens - 1);
  }
}

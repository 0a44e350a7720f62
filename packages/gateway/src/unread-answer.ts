/**
 * An answer that was written and that its client has not read to its end: watched until the connection closes, so that
 * nobody keeps its tenant's places, the gateway's memory and its drain by not reading. Owns when such a client has had
 * long enough; what was answered is over and counted.
 */
import type { BandTimeouts } from './band-timeouts.js';
import type { ClientResponse } from './client-response.js';
import type { ExchangeView } from './exchange-view.js';
import type { LiveExchange } from './live-exchanges.js';

/** What is to be watched. */
export interface UnreadAnswerOptions {
  readonly response: ClientResponse;
  readonly timeouts: Pick<BandTimeouts, 'idleMs' | 'totalMs'>;
  /** What the answer's total time counts from, by the monotonic clock, and the time now. */
  readonly sinceMs: number;
  readonly nowMs: number;
  /** The exchange it came of; null for an answer without one, which is not shown. */
  readonly exchange: Pick<LiveExchange, 'view'> | null;
}

/** The rest of one answer. */
export class UnreadAnswer implements LiveExchange {
  liveIndex: number = -1;
  private readonly options: UnreadAnswerOptions;
  private unsentBytes: number | null = null;
  private activeMs: number;

  constructor(options: UnreadAnswerOptions) {
    this.options = options;
    this.activeMs = options.nowMs;
  }

  check(nowMs: number): void {
    const { response, timeouts, sinceMs } = this.options;
    const { unsentBytes } = response;
    // Its turn is still to come; whoever is before it is watched, and goes first.
    if (unsentBytes === null) return;
    if (unsentBytes !== this.unsentBytes) {
      this.unsentBytes = unsentBytes;
      this.activeMs = nowMs;
    }
    const isLate = nowMs - this.activeMs > timeouts.idleMs || nowMs - sinceMs > timeouts.totalMs;
    if (isLate) response.destroy();
  }

  view(nowMs: number): ExchangeView | null {
    return this.options.exchange?.view(nowMs) ?? null;
  }

  /** The engine has said all it had to say. */
  abandon(): void {}
}

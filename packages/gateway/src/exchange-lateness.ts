/**
 * Who is late in an exchange that was sent: its engine or its client, by the times of its band. Owns the order in which
 * that is asked; what follows is the exchange's.
 */
import type { ExchangeRequest } from './exchange-request.js';

/** `total` and `first-byte` are the engine's in any case, `idle` before the first byte is worth another try. */
export type Lateness = 'total' | 'first-byte' | 'idle' | 'reader';

/** What of an exchange is looked at. */
export interface WatchedExchange {
  readonly request: Pick<ExchangeRequest, 'timeouts' | 'readMs' | 'response'>;
  readonly sentMs: number;
  /** When something of it last moved. */
  readonly activeMs: number;
  readonly hasAnswer: boolean;
}

/** Null while nobody is late. */
export function latenessOf(watched: WatchedExchange, nowMs: number): Lateness | null {
  const { request, sentMs, activeMs, hasAnswer } = watched;
  const { timeouts, readMs, response } = request;
  if (nowMs - readMs > timeouts.totalMs) return 'total';
  const isIdle = nowMs - activeMs > timeouts.idleMs;
  // It is the client that does not read; nobody waits for an answer there.
  if (response.writableNeedDrain) return isIdle ? 'reader' : null;
  if (!hasAnswer) return nowMs - sentMs > timeouts.firstByteMs ? 'first-byte' : null;
  return isIdle ? 'idle' : null;
}

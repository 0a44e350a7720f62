/**
 * The two answers of an admission and how they reach who waits for them. Owns that each is given once.
 */
import type { Admission, Refusal, RefusalReason } from '../admission.js';
import type { Flight } from './flight.js';

/** Builds the value of a refusal. */
export function toRefusal(
  reason: RefusalReason,
  message: string,
  rest: { retryAfterMs: number | null; account?: string | null; queueMs?: number },
): Refusal {
  return {
    ok: false,
    reason,
    message,
    retryAfterMs: rest.retryAfterMs,
    account: rest.account ?? null,
    queueMs: rest.queueMs ?? 0,
  };
}

/** Resolves a flight's promise once, and drops the caller's abort listener. */
export function resolveFlight(flight: Flight, admission: Admission): void {
  const { abort } = flight;
  if (abort !== null) abort.signal.removeEventListener('abort', abort.listener);
  flight.abort = null;
  const resolve = flight.resolve;
  flight.resolve = null;
  resolve?.(admission);
}

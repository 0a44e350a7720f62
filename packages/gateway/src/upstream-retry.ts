/**
 * When an engine that refused wants to be asked again: its own `retry-after-ms` or `retry-after`. Owns the reading of
 * both; how long the gateway holds back is its caller's to bound.
 */
import type { IncomingHttpHeaders } from 'node:http';

const SECONDS = /^\d{1,9}$/;
const MILLISECONDS = /^\d{1,12}(?:\.\d+)?$/;

/** Milliseconds to wait; null when the engine does not say, or says it as a date, which no engine does. */
export function upstreamRetryMs(headers: IncomingHttpHeaders): number | null {
  const ms = headers['retry-after-ms'];
  if (typeof ms === 'string' && MILLISECONDS.test(ms)) return Number(ms);
  const after = headers['retry-after'];
  return typeof after === 'string' && SECONDS.test(after) ? Number(after) * 1000 : null;
}

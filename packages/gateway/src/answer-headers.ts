/**
 * The headers that every answer to an admitted request carries: who it is, what band it had, how long it waited, what
 * is left of its tenant's limits. Owns their names.
 */
import type { ExchangeRequest, ExchangeTools } from './exchange-request.js';
import { pushRateHeaders } from './rate-headers.js';

/** Adds them to `headers`, names and values in turn. */
export function pushAnswerHeaders(
  headers: string[],
  { requestId, admit, accounts }: ExchangeRequest,
  { qos, clock }: ExchangeTools,
  about: { readonly instance: string | null; readonly queueMs: number },
): string[] {
  const { instance, queueMs } = about;
  headers.push(
    'x-request-id',
    requestId,
    'x-aim-band',
    admit.band,
    'x-aim-queue-ms',
    queueMs === 0 ? '0.0' : queueMs.toFixed(1),
  );
  pushRateHeaders(headers, qos.limits, accounts, clock.monoMs());
  if (instance !== null) headers.push('x-aim-instance', instance);
  return headers;
}

/**
 * How one exchange looks from outside: for the queue view, headers and records. Owns what is shown; nothing of what was
 * said in it.
 */
import type { Band } from '@aim-gpu/core';
import type { Permit } from '@aim-gpu/qos';
import type { EngineAnswer } from './engine-answer.js';
import type { ExchangeRequest } from './exchange-request.js';

/** `waiting` for an engine, `sent` and not answered, `passing` its answer on. */
type ExchangeState = 'waiting' | 'sent' | 'passing';

/** One exchange as it is shown. */
export interface ExchangeView {
  readonly requestId: string;
  readonly tenant: string;
  readonly model: string;
  readonly band: Band;
  readonly state: ExchangeState;
  readonly instance: string | null;
  readonly ageMs: number;
  /** Tokens of the answer so far, estimated from its events. */
  readonly outputTokens: number;
}

/** What of an exchange is looked at. */
export interface ViewedExchange {
  readonly request: ExchangeRequest;
  readonly state: ExchangeState;
  readonly permit: Permit | null;
  readonly answer: EngineAnswer | null;
}

/** The view of an exchange now. */
export function toExchangeView(
  { request, state, permit, answer }: ViewedExchange,
  nowMs: number,
): ExchangeView {
  const { requestId, admit, readMs } = request;
  const { tenant, model, band } = admit;
  return {
    requestId,
    tenant,
    model,
    band,
    state,
    instance: instanceOf(permit),
    ageMs: nowMs - readMs,
    outputTokens: answer === null ? 0 : answer.events,
  };
}

/** The instance that has a request; null for one that waits, also for its next one. */
export function instanceOf(permit: Permit | null): string | null {
  return permit === null || permit.endpoint === '' ? null : permit.endpoint;
}

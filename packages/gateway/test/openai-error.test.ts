/** The table from causes to answers. */
import type { Refusal, RefusalReason } from '@aim-gpu/qos';
import { describe, expect, it } from 'vitest';
import { refusalHeaders, refusalToOpenAi, upstreamFailed } from '../src/openai-error.js';

const refusal = (reason: RefusalReason, retryAfterMs: number | null = 1500): Refusal => ({
  ok: false,
  reason,
  retryAfterMs,
  message: 'why',
  account: null,
  queueMs: 0,
});

describe('refusals', () => {
  it.each<[RefusalReason, number, string, string]>([
    ['requests_limited', 429, 'rate_limit_exceeded', 'requests'],
    ['input_tokens_limited', 429, 'rate_limit_exceeded', 'tokens'],
    ['budget_spent', 429, 'insufficient_quota', 'insufficient_quota'],
    ['request_too_large', 400, 'request_too_large', 'invalid_request_error'],
    ['queue_full', 429, 'overloaded', 'overloaded_error'],
    ['no_endpoint', 503, 'model_unavailable', 'server_error'],
    ['draining', 503, 'model_unavailable', 'server_error'],
    ['preempted', 503, 'preempted', 'server_error'],
    ['model_unknown', 404, 'model_not_found', 'invalid_request_error'],
  ])('%s: %i %s', (reason, status, code, type) => {
    const error = refusalToOpenAi(refusal(reason));
    expect(error.status).toBe(status);
    expect(error.body).toEqual({ error: { message: 'why', type, param: null, code } });
  });
});

describe('retry headers', () => {
  it.each<[Refusal, Record<string, string>]>([
    [
      refusal('queue_full'),
      { 'retry-after': '2', 'retry-after-ms': '1500', 'x-should-retry': 'true' },
    ],
    [
      refusal('queue_full', 0),
      { 'retry-after': '1', 'retry-after-ms': '1', 'x-should-retry': 'true' },
    ],
    // The official client would sleep for an hour.
    [
      refusal('requests_limited', 3_600_000),
      { 'retry-after': '32', 'retry-after-ms': '32000', 'x-should-retry': 'true' },
    ],
    [
      refusal('budget_spent', 1000),
      { 'retry-after': '1', 'retry-after-ms': '1000', 'x-should-retry': 'false' },
    ],
    [refusal('request_too_large', null), { 'x-should-retry': 'false' }],
  ])('of %j', (given, want) => {
    expect(refusalHeaders(refusalToOpenAi(given))).toEqual(Object.entries(want).flat());
  });
});

describe('engines that cannot be talked to', () => {
  it.each([
    ['connect', 502, 'upstream_unreachable'],
    ['refused', 503, 'model_unavailable'],
    ['timeout', 504, 'upstream_timeout'],
  ] as const)('%s: %i %s', (kind, status, code) => {
    expect(upstreamFailed(kind)).toMatchObject({ status, body: { error: { code } } });
  });
});

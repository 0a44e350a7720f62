/**
 * `x-ratelimit-*` headers of a request's accounts, in OpenAI's form. Owns the form and which account speaks: the one that
 * has least left. The figures are qos's.
 */
import type { LimitState, LimitSubject, Limits } from '@aim-gpu/qos';

/** Adds headers of the accounts' tightest limits, names and values in turn; none for accounts without limits. */
export function pushRateHeaders(
  headers: string[],
  limits: Limits,
  accounts: readonly LimitSubject[],
  nowMs: number,
): void {
  let requests: LimitState | null = null;
  let input: LimitState | null = null;
  let output: LimitState | null = null;
  for (const account of accounts) {
    const state = limits.state(account, nowMs);
    requests = scarcer(requests, state.requests);
    input = scarcer(input, state.inputTokens);
    output = scarcer(output, state.outputTokens);
  }
  const tokens = tighter(input, output);
  if (requests !== null) push(headers, REQUESTS, requests);
  if (tokens !== null) push(headers, TOKENS, tokens);
}

interface Names {
  readonly limit: string;
  readonly remaining: string;
  readonly reset: string;
}

const REQUESTS: Names = {
  limit: 'x-ratelimit-limit-requests',
  remaining: 'x-ratelimit-remaining-requests',
  reset: 'x-ratelimit-reset-requests',
};
const TOKENS: Names = {
  limit: 'x-ratelimit-limit-tokens',
  remaining: 'x-ratelimit-remaining-tokens',
  reset: 'x-ratelimit-reset-tokens',
};

/** Of accounts that count the same: the one that has less left. */
function scarcer(one: LimitState | null, other: LimitState | null): LimitState | null {
  if (one === null || other === null) return one ?? other;
  return other.remaining < one.remaining ? other : one;
}

/** Of things that are counted apart: the one that has less left of its limit. */
function tighter(one: LimitState | null, other: LimitState | null): LimitState | null {
  if (one === null || other === null) return one ?? other;
  return other.remaining / other.limit < one.remaining / one.limit ? other : one;
}

function push(headers: string[], { limit, remaining, reset }: Names, state: LimitState): void {
  headers.push(
    limit,
    String(Math.floor(state.limit)),
    remaining,
    String(Math.max(0, Math.floor(state.remaining))),
    reset,
    toGoDuration(state.resetMs),
  );
}

/** `0s`, `20ms`, `1.5s`, `6m0s`: how OpenAI writes times in these headers. */
function toGoDuration(ms: number): string {
  const whole = Math.max(0, Math.ceil(ms));
  if (whole === 0) return '0s';
  if (whole < 1000) return `${whole}ms`;
  if (whole < 60_000) return `${whole / 1000}s`;
  const seconds = Math.ceil(whole / 1000);
  return `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}

/**
 * `x-ratelimit-*` headers of a tenant with limits, in OpenAI's form. Owns the form; the figures are qos's.
 */
import type { LimitState, LimitSubject, Limits } from '@aim-gpu/qos';

/** Headers of the accounts' tightest limits, names and values in turn; none for accounts without limits. */
export function rateHeaders(
  limits: Limits,
  accounts: readonly LimitSubject[],
  nowMs: number,
): readonly string[] {
  if (accounts.length === 0) return NONE;
  let requests: LimitState | null = null;
  let tokens: LimitState | null = null;
  for (const account of accounts) {
    const state = limits.state(account, nowMs);
    requests = tighter(requests, state.requests);
    tokens = tighter(tighter(tokens, state.inputTokens), state.outputTokens);
  }
  return [...headersOf('requests', requests), ...headersOf('tokens', tokens)];
}

const NONE: readonly string[] = [];

function tighter(one: LimitState | null, other: LimitState | null): LimitState | null {
  if (one === null || other === null) return one ?? other;
  return other.remaining / other.limit < one.remaining / one.limit ? other : one;
}

function headersOf(name: string, state: LimitState | null): readonly string[] {
  if (state === null) return NONE;
  return [
    `x-ratelimit-limit-${name}`,
    String(Math.floor(state.limit)),
    `x-ratelimit-remaining-${name}`,
    String(Math.max(0, Math.floor(state.remaining))),
    `x-ratelimit-reset-${name}`,
    toGoDuration(state.resetMs),
  ];
}

/** `0s`, `20ms`, `1.5s`, `6m0s`: how OpenAI writes times in these headers. */
function toGoDuration(ms: number): string {
  const whole = Math.max(0, Math.ceil(ms));
  if (whole === 0) return '0s';
  if (whole < 1000) return `${whole}ms`;
  const seconds = whole / 1000;
  if (seconds < 60) return `${seconds}s`;
  return `${Math.floor(seconds / 60)}m${Math.ceil(seconds % 60)}s`;
}

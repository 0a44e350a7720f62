/**
 * The words of rate limits: accounts, what they may take, what was reserved. Types only; limits.ts keeps the accounts.
 */

/** Limits of one account; null is unlimited. */
export interface AccountLimits {
  readonly requestsPerMinute: number | null;
  readonly inputTokensPerMinute: number | null;
  readonly outputTokensPerMinute: number | null;
  /** Requests at the same time, waiting or running. */
  readonly concurrent: number | null;
  /** Tokens, input and output together, in each window; spent ones come back only when the window ends. */
  readonly budget?: { readonly tokens: number; readonly windowMs: number } | null;
  /** Size of a burst as a share of a minute's limit; 1 unless given. */
  readonly burst?: number;
}

/** What is limited. */
export type LimitKind = 'requests' | 'input_tokens' | 'output_tokens' | 'concurrency' | 'budget';

/** What one request is expected to take. */
export interface LimitCost {
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** An account and its limits; one made by {@link Limits.subject} and kept is quicker to check. */
export interface LimitSubject {
  /** Unique name of the account, for example `tenant/model`. */
  readonly account: string;
  readonly limits: AccountLimits;
}

/** Units taken from accounts, to be settled once. */
export interface Reservation {
  /** Replaces the expected cost by the actual one and gives the concurrency back. Only the first call counts. */
  settle(actual: LimitCost): void;
  /** Gives everything back, as if the request had never been. Only the first call counts. */
  cancel(): void;
  /** Gives the concurrency back and keeps the debit, for a stream whose usage will never be known. */
  abandon(): void;
}

/** Whether a reservation was made. */
export type LimitResult =
  | { readonly ok: true; readonly reservation: Reservation }
  | {
      readonly ok: false;
      readonly kind: LimitKind;
      readonly account: string;
      /** Milliseconds until a retry is admitted; Infinity when it never will be. */
      readonly retryAfterMs: number;
    };

/** State of one limit of an account, for response headers. */
export interface LimitState {
  readonly limit: number;
  readonly remaining: number;
  readonly resetMs: number;
}

/** Rate limits of any number of accounts. */
export interface Limits {
  /** Takes a request's expected cost from every account, or from none. */
  reserve(
    subjects: readonly LimitSubject[],
    cost: LimitCost,
    nowMs: number,
    options?: {
      /** False leaves the rates alone, for requests whose tokens come from elsewhere; concurrency and budget hold. */
      readonly rates?: boolean;
    },
  ): LimitResult;
  /** A subject that remembers where its account is: a check with it is about half the price of one by name. */
  subject(account: string, limits: AccountLimits): LimitSubject;
  /** State of an account's limits; null for those it does not have. */
  state(
    subject: LimitSubject,
    nowMs: number,
  ): Readonly<Record<'requests' | 'inputTokens' | 'outputTokens', LimitState | null>>;
  /** Accounts remembered. */
  readonly size: number;
  /** Accounts that are not at rest, for snapshots: milliseconds each limit is ahead of now, and what is spent. */
  dump(nowMs: number): readonly AccountDump[];
  /** Puts back what a snapshot of `agoMs` ago holds. */
  restore(accounts: readonly AccountDump[], nowMs: number, agoMs?: number): void;
}

/** One account in a snapshot. */
export interface AccountDump {
  readonly account: string;
  readonly aheadMs: readonly [requests: number, input: number, output: number];
  readonly spent: { readonly tokens: number; readonly windowLeftMs: number } | null;
}

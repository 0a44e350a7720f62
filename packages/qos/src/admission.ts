/**
 * The words of admission: what is asked, what is granted, and every reason for which it is refused. Types and one
 * table; nothing here decides.
 */
import type { Band } from '@aim-gpu/core';
import type { LimitKind, LimitSubject } from './limits-interface.js';
import type { RequestOutcome } from './slo-tracker.js';

/** One request to let in. */
export interface AdmitRequest {
  readonly tenant: string;
  /** The model's name as the qos object knows it. */
  readonly model: string;
  readonly band: Band;
  /** Tokens of the prompt, of all prompts of a batch, estimated; 0 when unknown. */
  readonly promptTokens: number;
  /**
   * Tokens that all prompts together have for certain; `promptTokens` unless given. An estimate orders and reserves,
   * but only what is certain makes a request impossible.
   */
  readonly leastPromptTokens?: number;
  /** The same of the largest prompt: each is a sequence of its own, and no engine needs room for all at once. */
  readonly leastTokensOfOne?: number;
  /** Most tokens the client wants back in all; null takes what the model's answers usually have. */
  readonly maxOutputTokens?: number | null;
  /** Answers that it has, to several prompts or several to one; 1 unless given. */
  readonly answers?: number;
  /** Share of the tenant against others in the same band; 1 unless given. */
  readonly weight?: number;
  /** Accounts to charge; none unless given. */
  readonly limits?: readonly LimitSubject[];
  /** Memory the request holds while it waits, for the queue's bounds. */
  readonly bytes?: number;
  /** The client's own TTFT target: orders the tenant's requests and judges this one. */
  readonly ttftMs?: number | null;
  /** After so long the client no longer wants to start; it stops waiting then. */
  readonly deadlineMs?: number | null;
  /**
   * Endpoint that has the prompt's prefix in its cache; taken when it is not much fuller than the best. While it waits
   * it may go there before up to seven of its tenant's that came earlier, if the first has used less than half its time.
   */
  readonly affinity?: string | null;
  /**
   * Whether its stream may be cut for a higher band although tokens have been sent; its band's policy unless given.
   * Only where the qos object was made with `preemptStreams`.
   */
  readonly preemptible?: boolean;
  /** Where the request came from, for reports of permits that were never released. */
  readonly origin?: string;
}

/** Why a request was not let in. */
export type RefusalReason =
  | 'requests_limited'
  | 'input_tokens_limited'
  | 'output_tokens_limited'
  | 'concurrency_limited'
  | 'budget_spent'
  | 'request_too_large'
  | 'queue_full'
  | 'displaced'
  | 'queue_timeout'
  | 'infeasible'
  | 'shed'
  | 'no_endpoint'
  | 'model_unknown'
  | 'draining'
  | 'preempted'
  | 'cancelled';

/** A refused admission. A value, not an error. */
export interface Refusal {
  readonly ok: false;
  readonly reason: RefusalReason;
  /** When to try again, in milliseconds; null when trying again would not help. */
  readonly retryAfterMs: number | null;
  readonly message: string;
  /** Which account's limit refused; null for other reasons. */
  readonly account: string | null;
  /** How long it had waited, in milliseconds. */
  readonly queueMs: number;
}

/** A granted admission. */
export interface Granted {
  readonly ok: true;
  readonly permit: Permit;
}

/** What {@link Qos.admit} resolves to. */
export type Admission = Granted | Refusal;

/** What a request really took, as far as it is known. */
export interface Usage {
  readonly promptTokens?: number;
  /** Of the prompt tokens, those found in the prefix cache: they are not charged. */
  readonly cachedTokens?: number;
  readonly outputTokens?: number;
}

/** The right to run one request on one endpoint, until `done`. */
export interface Permit {
  /** The endpoint to send to; another one after {@link Permit.retry}. */
  readonly endpoint: string;
  readonly model: string;
  readonly band: Band;
  readonly tenant: string;
  /** How long the request waited, in milliseconds. */
  readonly queueMs: number;
  /**
   * Aborts when the endpoint is needed for a higher band: send nothing more. Before the first byte call
   * {@link Permit.retry}, the client notices nothing; after it close the engine's connection and call
   * `done('preempted')`, which is what the higher band waits for.
   */
  readonly signal: AbortSignal;
  /** Called when {@link Permit.signal} aborts; for callers that hold many permits, a signal of each costs far more. */
  onPreempt: (() => void) | null;
  /** TTFT so far: milliseconds from admission's call to the first token; null before it. */
  readonly ttftMs: number | null;
  /**
   * The first token has come; or, with `whole`, an answer that comes in one piece and says nothing about its first
   * token. False when the permit was preempted just before: then nothing may be sent on.
   */
  firstByte(options?: { readonly whole?: boolean }): boolean;
  /**
   * So many tokens have just come. Optional and cheap: with it slow tokens are noticed while they happen, without it
   * when the answer ends. Also proves that the request is alive.
   */
  tokens(count: number): void;
  /** Tells what was used so far; the last values count. Also proves that the request is alive. */
  usage(usage: Usage): void;
  /** Ends the permit: gives capacity back, settles limits and fairness, records the SLO. Idempotent. */
  done(outcome?: RequestOutcome): void;
  /**
   * Before the first byte only: gives the endpoint back and waits again at the old place for another one (or the same
   * when there is no other). Resolves to a refusal when the tries are spent or none comes in time; the permit has
   * ended then.
   */
  retry(options?: { readonly signal?: AbortSignal }): Promise<Admission>;
  /** Ends the permit as {@link Permit.done} without an outcome does. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** The reason code of a limit. */
export const REASON_OF_LIMIT: Readonly<Record<LimitKind, RefusalReason>> = {
  requests: 'requests_limited',
  input_tokens: 'input_tokens_limited',
  output_tokens: 'output_tokens_limited',
  concurrency: 'concurrency_limited',
  budget: 'budget_spent',
};

const EXPLANATIONS: Readonly<Record<RefusalReason, string>> = {
  requests_limited:
    'the tenant sent more requests than its limit; raise limits.requestsPerMinute or wait',
  input_tokens_limited:
    'the tenant sent more prompt tokens than its limit; raise limits.inputTokensPerMinute or wait',
  output_tokens_limited:
    'the tenant was answered with more tokens than its limit; raise limits.outputTokensPerMinute or wait',
  concurrency_limited:
    'the tenant has as many requests open as it may; raise limits.concurrent or wait',
  budget_spent:
    'the tenant has spent its budget of this window; raise the budget or wait for the next window',
  request_too_large:
    'the request is larger than the tenant’s burst or the model’s context; send a shorter one or raise the limit',
  queue_full: 'more requests wait than the model’s bounds allow; add a replica or raise the bounds',
  displaced:
    'a request of a higher band took the place in a full queue; add a replica or use a higher band',
  queue_timeout: 'nothing became free while the request was willing to wait; add a replica',
  infeasible:
    'the request would not have started before its deadline, so it was refused at once; add a replica',
  shed: 'the band is held back because higher bands miss their targets; add capacity or wait',
  no_endpoint: 'no instance serves the model now; look at `aim-gpu status`',
  model_unknown: 'no model of this name is served; look at GET /v1/models',
  draining: 'the gateway is stopping; another one should take the request',
  preempted: 'a higher band took the endpoint and the request’s tries are spent; use a higher band',
  cancelled: 'the caller gave up while the request waited',
};

/** What a reason means and what the operator can do, in one sentence. */
export function explainRefusal(reason: RefusalReason): string {
  return EXPLANATIONS[reason];
}

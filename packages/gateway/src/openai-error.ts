/**
 * The face of errors towards OpenAI clients: status, body and retry headers of everything that can go wrong. Owns the
 * one table from causes to answers; must not decide anything.
 */
import { MAX_RETRY_AFTER_MS, type Refusal, type RefusalReason } from '@aim-gpu/qos';
import { type AccountOwner, toAccountOwner } from './limit-accounts.js';

/** An answer that says no. */
export interface OpenAiError {
  readonly status: number;
  readonly body: {
    readonly error: {
      readonly message: string;
      readonly type: string;
      readonly param: string | null;
      readonly code: string | null;
    };
  };
  /** Milliseconds until a retry may help; null when it will not, then `x-should-retry` is false. */
  readonly retryAfterMs: number | null;
}

/** Makes an answer in OpenAI's shape. */
function toOpenAiError(error: {
  readonly status: number;
  readonly code: string | null;
  readonly type: string;
  readonly message: string;
  readonly param?: string | null;
  readonly retryAfterMs?: number | null;
}): OpenAiError {
  return {
    status: error.status,
    retryAfterMs: error.retryAfterMs ?? null,
    body: {
      error: {
        message: error.message,
        type: error.type,
        param: error.param ?? null,
        code: error.code,
      },
    },
  };
}

const INVALID = 'invalid_request_error';
const SERVER = 'server_error';

interface Row {
  readonly status: number;
  readonly code: string;
  readonly type: string;
}

const ROWS: Readonly<Record<RefusalReason, Row>> = {
  requests_limited: { status: 429, code: 'rate_limit_exceeded', type: 'requests' },
  input_tokens_limited: { status: 429, code: 'rate_limit_exceeded', type: 'tokens' },
  output_tokens_limited: { status: 429, code: 'rate_limit_exceeded', type: 'tokens' },
  concurrency_limited: { status: 429, code: 'rate_limit_exceeded', type: 'requests' },
  budget_spent: { status: 429, code: 'insufficient_quota', type: 'insufficient_quota' },
  request_too_large: { status: 400, code: 'request_too_large', type: INVALID },
  queue_full: { status: 429, code: 'overloaded', type: 'overloaded_error' },
  displaced: { status: 429, code: 'overloaded', type: 'overloaded_error' },
  queue_timeout: { status: 429, code: 'overloaded', type: 'overloaded_error' },
  infeasible: { status: 429, code: 'overloaded', type: 'overloaded_error' },
  shed: { status: 429, code: 'overloaded', type: 'overloaded_error' },
  no_endpoint: { status: 503, code: 'model_unavailable', type: SERVER },
  model_unknown: { status: 404, code: 'model_not_found', type: INVALID },
  draining: { status: 503, code: 'model_unavailable', type: SERVER },
  preempted: { status: 503, code: 'preempted', type: SERVER },
  cancelled: { status: 499, code: 'client_closed_request', type: INVALID },
};

/** The answer to a refused admission. */
export function refusalToOpenAi(refusal: Refusal): OpenAiError {
  const row = ROWS[refusal.reason];
  return toOpenAiError({
    ...row,
    message: messageOf(refusal),
    // A spent budget says when it comes back, but a client that sleeps until then helps nobody.
    retryAfterMs: refusal.retryAfterMs,
  });
}

/** What is limited, in words and by the key of the fleet file that says so. */
const LIMITED: Readonly<Partial<Record<RefusalReason, readonly [what: string, key: string]>>> = {
  requests_limited: ['requests a minute', 'requestsPerMinute'],
  input_tokens_limited: ['prompt tokens a minute', 'inputTokensPerMinute'],
  output_tokens_limited: ['answer tokens a minute', 'outputTokensPerMinute'],
  concurrency_limited: ['requests at the same time', 'concurrent'],
};

/** Limits say whose they are: who has to wait for others asks somebody else than who has taken too much. */
function messageOf({ reason, account, message }: Refusal): string {
  if (account === null) return message;
  const owner = toAccountOwner(account);
  if (reason === 'request_too_large')
    return `The request is larger than what ${holderOf(owner)} may take in a minute; send a shorter one, or ask for fewer tokens.`;
  const limited = LIMITED[reason];
  if (limited === undefined) return message;
  const [what, key] = limited;
  const { tenant, model } = owner;
  const place =
    tenant === null ? 'limits of the model' : model === null ? 'limits' : `modelLimits.${model}`;
  return `The limit of ${what} of ${holderOf(owner)} is reached (${key} in ${place}).`;
}

function holderOf({ tenant, model }: AccountOwner): string {
  if (tenant === null) return `model ${model} for all tenants together`;
  return model === null ? `tenant ${tenant}` : `tenant ${tenant} on model ${model}`;
}

/** 404 for a model nobody serves. */
export function modelNotFound(model: string): OpenAiError {
  return toOpenAiError({
    status: 404,
    code: 'model_not_found',
    type: INVALID,
    param: 'model',
    message: `The model ${JSON.stringify(model)} does not exist or you do not have access to it.`,
  });
}

/** 401 for a missing or wrong key. */
export function invalidApiKey(presented: boolean): OpenAiError {
  return toOpenAiError({
    status: 401,
    code: 'invalid_api_key',
    type: INVALID,
    message: presented
      ? 'Incorrect API key provided.'
      : 'You did not provide an API key. Send it as "Authorization: Bearer <key>".',
  });
}

/** 4xx for a request that cannot be understood. */
export function badRequest(
  message: string,
  options: { readonly status?: number; readonly param?: string; readonly code?: string } = {},
): OpenAiError {
  return toOpenAiError({
    status: options.status ?? 400,
    code: options.code ?? null,
    type: INVALID,
    param: options.param ?? null,
    message,
  });
}

/** 403 for a page of another site where no key is asked for. */
export function originRefused(): OpenAiError {
  return toOpenAiError({
    status: 403,
    code: 'origin_refused',
    type: INVALID,
    message:
      'Pages of other sites may not use a gateway that asks for no key. Give it tenants with keys.',
  });
}

/** 404 for a path that is none of ours. */
export function unknownPath(method: string, path: string): OpenAiError {
  return toOpenAiError({
    status: 404,
    code: 'unknown_url',
    type: INVALID,
    message: `Unknown request URL: ${method} ${path}.`,
  });
}

/** 503 when a model has nobody to answer. */
export function modelUnavailable(model: string, retryAfterMs: number | null): OpenAiError {
  return toOpenAiError({
    ...ROWS.no_endpoint,
    message: `The model ${JSON.stringify(model)} has no instance that could answer now.`,
    retryAfterMs: retryAfterMs ?? 1_000,
  });
}

/**
 * 502, 503 or 504 when an engine could not be talked to before it said anything. An engine that refused and said when to
 * come again is passed on, but never less than a second.
 */
export function upstreamFailed(
  kind: 'connect' | 'refused' | 'timeout',
  retryAfterMs: number | null = null,
): OpenAiError {
  if (kind === 'timeout') {
    return toOpenAiError({
      status: 504,
      code: 'upstream_timeout',
      type: SERVER,
      message: 'The engine did not answer in time.',
    });
  }
  return toOpenAiError({
    status: kind === 'connect' ? 502 : 503,
    code: kind === 'connect' ? 'upstream_unreachable' : 'model_unavailable',
    type: SERVER,
    message:
      kind === 'connect'
        ? 'The engine closed the connection before it answered.'
        : 'The engine refused the request because it is full.',
    retryAfterMs: Math.max(1_000, retryAfterMs ?? 0),
  });
}

/**
 * What an engine said no with, in this shape: its own 4xx, since the request is at fault, and 502 for whatever else was
 * no answer to it. Without a message of the engine's the status is told.
 */
export function engineSaidNo(
  status: number,
  message: string | null,
  param: string | null,
): OpenAiError {
  const isRequest = status >= 400 && status < 500;
  return toOpenAiError({
    status: isRequest ? status : 502,
    code: isRequest ? null : 'upstream_error',
    type: isRequest ? INVALID : SERVER,
    param,
    message: message ?? `The engine answered with status ${status}.`,
    retryAfterMs: isRequest ? null : 1_000,
  });
}

const BROKEN = {
  502: { code: 'upstream_broken', message: 'The engine broke off in the middle of its answer.' },
  503: { code: 'preempted', message: 'A request of a higher band took the place of this one.' },
  504: {
    code: 'upstream_timeout',
    message: 'The engine fell silent in the middle of its answer.',
  },
} as const;

/** The last event of a stream whose engine broke off (502) or fell silent (504), or that was preempted (503). */
export function streamBroken(status: 502 | 503 | 504): string {
  const { body } = toOpenAiError({ status, type: SERVER, ...BROKEN[status] });
  return `data: ${JSON.stringify(body)}\n\n`;
}

/** 429 for a tenant with more requests open than the gateway allows anybody. */
export function tooManyOpen(): OpenAiError {
  return toOpenAiError({
    status: 429,
    code: 'rate_limit_exceeded',
    type: 'requests',
    message: 'Too many requests of this tenant are open at the same time.',
    retryAfterMs: 1_000,
  });
}

/** 429 for a large body when there is no room for it: the gateway's is spent, or the tenant's share of it. */
export function bodiesFull(whose: 'all' | 'tenant'): OpenAiError {
  return whose === 'all'
    ? toOpenAiError({
        ...ROWS.queue_full,
        message: 'The gateway holds as many bytes of requests as it may; smaller ones still pass.',
        retryAfterMs: 1_000,
      })
    : toOpenAiError({
        status: 429,
        code: 'rate_limit_exceeded',
        type: 'requests',
        message: 'Requests of this tenant that have no answer yet hold as many bytes as they may.',
        retryAfterMs: 1_000,
      });
}

/** 429 for a repeat that came while others wait for the first time. */
export function retryShed(retryAfterMs: number): OpenAiError {
  return toOpenAiError({
    ...ROWS.shed,
    message: 'The model is busy and too many of the tenant’s requests are repeats.',
    retryAfterMs,
  });
}

/** 500 for what nobody expected. */
export function internalError(): OpenAiError {
  return toOpenAiError({
    status: 500,
    code: 'internal_error',
    type: SERVER,
    message: 'The gateway failed to handle the request.',
  });
}

/** Headers of an answer that says no, names and values in turn. */
export function refusalHeaders(error: OpenAiError): string[] {
  if (error.retryAfterMs === null) return ['x-should-retry', 'false'];
  // The official client sleeps whatever it is told, so nobody is told to sleep for minutes.
  const ms = Math.min(MAX_RETRY_AFTER_MS, Math.max(1, Math.ceil(error.retryAfterMs)));
  return [
    'retry-after',
    String(Math.max(1, Math.ceil(ms / 1000))),
    'retry-after-ms',
    String(ms),
    'x-should-retry',
    error.body.error.code === 'insufficient_quota' ? 'false' : 'true',
  ];
}

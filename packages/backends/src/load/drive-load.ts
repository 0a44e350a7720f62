/**
 * A closed-loop load on an OpenAI-compatible server, with what each request felt like. For tests, benches and
 * calibration; owns the clients' side only.
 */
import {
  AimError,
  type CallOptions,
  type Clock,
  type EndpointAddress,
  type IdSource,
  isAbort,
  type Rng,
  systemIds,
  systemRng,
  withDeadline,
} from '@aim-gpu/core';
import { Agent, request } from 'undici';
import { chatTextOf } from '../simulated-engine/pseudo-text.js';
import { createEventStreamReader } from './event-stream.js';
import { type LoadSummary, summarizeLoad } from './load-summary.js';

/** What {@link driveLoad} sends. At least one of `requests` and `durationMs` ends it. */
export interface DriveLoadOptions extends CallOptions {
  /** An address, or a server's URL without `/v1`, such as `https://host/prefix`. */
  readonly endpoint: EndpointAddress | string;
  readonly model: string;
  /** Clients, each sending its next request when the last one is answered. */
  readonly concurrency: number;
  /** Tokens of each prompt by the simulated engine's rule (4 characters a token); real tokenizers count differently. */
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Lengths are drawn between this share of the ones above and all of them; by default they are all alike. */
  readonly lengthsFrom?: number;
  /** What they are drawn with, by default the host's generator. */
  readonly rng?: Rng;
  /** Stops after so many requests. */
  readonly requests?: number;
  /** Sends no new request after so long; what is under way is finished and counted. */
  readonly durationMs?: number;
  /** A request that takes longer is given up and counts as failed; by default none is. */
  readonly requestTimeoutMs?: number;
  readonly clock: Clock;
  /** Sends no new request after so many failed; by default it goes on. */
  readonly stopAfterFailures?: number;
  /** Opens a connection for each request: llama-server closes kept ones without saying so. By default they are kept. */
  readonly freshConnections?: boolean;
  /** Makes prompts different from each other, so that no prefix cache helps; random unless given. */
  readonly ids?: IdSource;
  /** Sent with every request, such as `authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** What one request felt like to its client. */
export interface RequestTiming {
  readonly startMs: number;
  /** From sending to the first text; null when none came. */
  readonly ttftMs: number | null;
  /** Mean time between tokens after the first; null with fewer than two texts. */
  readonly tpotMs: number | null;
  readonly e2eMs: number;
  /** Whether the server said how many tokens it counted; without it `promptTokens` is 0 and texts stand for tokens. */
  readonly counted: boolean;
  /** As the server counted them. */
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** What went wrong, null when nothing did. */
  readonly error: RequestFailure | null;
}

/** Why a request gave no timing. */
export interface RequestFailure {
  /** The server's status when it is not 200. */
  readonly status: number | null;
  /** `status`: it answered another status; `timeout`: too late; `broken`: the connection or the stream broke. */
  readonly why: 'status' | 'timeout' | 'broken';
  readonly message: string;
}

const MOST_ERROR_CHARACTERS = 2000;

/** What a load felt like. */
export interface LoadResult {
  readonly timings: readonly RequestTiming[];
  readonly summary: LoadSummary;
}

/**
 * Runs a closed loop of streaming chat completions and measures TTFT and TPOT of each. A request that fails is a
 * timing with an error, not a throw. Throws `ERR_LOAD_INVALID` (invalid) for a load without an end or without
 * clients, and the signal's reason when aborted.
 */
export async function driveLoad(options: DriveLoadOptions): Promise<LoadResult> {
  const { clock, concurrency } = options;
  const limit = options.requests ?? Number.POSITIVE_INFINITY;
  const durationMs = options.durationMs ?? Number.POSITIVE_INFINITY;
  if (!Number.isSafeInteger(concurrency) || concurrency < 1) {
    throw invalid(`concurrency must be a whole number of at least 1, got ${concurrency}`);
  }
  if (limit === Number.POSITIVE_INFINITY && durationMs === Number.POSITIVE_INFINITY) {
    throw invalid('a load needs requests or durationMs, else it would never end');
  }
  options.signal?.throwIfAborted();
  const agent = new Agent({ connections: concurrency, headersTimeout: 0, bodyTimeout: 0 });
  const endMs = clock.monoMs() + durationMs;
  const timings: RequestTiming[] = [];
  let sent = 0;
  let failed = 0;
  const mostFailed = options.stopAfterFailures ?? Number.POSITIVE_INFINITY;
  const client = async (): Promise<void> => {
    while (sent < limit && failed < mostFailed && clock.monoMs() < endMs) {
      sent += 1;
      const timing = await sendOne(options, agent);
      if (timing.error !== null) failed += 1;
      timings.push(timing);
    }
  };
  try {
    await Promise.all(Array.from({ length: concurrency }, client));
  } finally {
    await agent.destroy();
  }
  return { timings, summary: summarizeLoad(timings) };
}

async function sendOne(options: DriveLoadOptions, agent: Agent): Promise<RequestTiming> {
  const { clock, signal, requestTimeoutMs } = options;
  const body = toBody(options);
  const startMs = clock.monoMs();
  const seen: Seen = { firstMs: null, lastMs: startMs, texts: 0, usage: null };
  let error: RequestTiming['error'] = null;
  try {
    const exchange = (within?: AbortSignal): Promise<RequestFailure | null> =>
      stream(options, agent, body, seen, within);
    const limit = { clock, what: 'the answer', ...(signal === undefined ? {} : { signal }) };
    error =
      requestTimeoutMs === undefined
        ? await exchange(signal)
        : await withDeadline(exchange, { ...limit, ms: requestTimeoutMs });
  } catch (cause) {
    if (isAbort(cause, signal)) throw cause;
    const late = AimError.is(cause, 'ERR_TIMEOUT');
    const message = cause instanceof Error ? cause.message : String(cause);
    error = {
      status: null,
      why: late ? 'timeout' : 'broken',
      message: late ? `no whole answer within ${requestTimeoutMs} ms` : message,
    };
  }
  const { firstMs, lastMs, texts, usage } = seen;
  const tokens = usage?.completion_tokens ?? texts;
  return {
    startMs,
    ttftMs: firstMs === null ? null : firstMs - startMs,
    // A server may put several tokens into one text, so its own count is the better divisor.
    tpotMs:
      firstMs === null || texts < 2 ? null : (lastMs - firstMs) / (Math.max(tokens, texts) - 1),
    e2eMs: clock.monoMs() - startMs,
    counted: usage !== null,
    promptTokens: usage?.prompt_tokens ?? 0,
    outputTokens: tokens,
    error,
  };
}

function toBody(options: DriveLoadOptions): string {
  const salt = (options.ids ?? systemIds).next();
  const from = options.lengthsFrom ?? 1;
  const draw = (length: number): number =>
    from === 1
      ? length
      : Math.max(1, Math.round(length * (from + (1 - from) * (options.rng ?? systemRng).next())));
  return JSON.stringify({
    model: options.model,
    messages: [{ role: 'user', content: chatTextOf(draw(options.promptTokens), salt) }],
    max_tokens: draw(options.outputTokens),
    // vLLM, SGLang, llama.cpp and the simulated engine know it; a server that does not ends where it likes.
    ignore_eos: true,
    stream: true,
    stream_options: { include_usage: true },
  });
}

/** One streaming chat completion; what comes goes into `seen`. */
async function stream(
  options: DriveLoadOptions,
  agent: Agent,
  body: string,
  seen: Seen,
  signal: AbortSignal | undefined,
): Promise<RequestFailure | null> {
  const response = await request(`${toUrl(options.endpoint)}/v1/chat/completions`, {
    method: 'POST',
    dispatcher: agent,
    headers: { ...options.headers, 'content-type': 'application/json' },
    body,
    ...(options.freshConnections === true ? { reset: true } : {}),
    ...(signal === undefined ? {} : { signal }),
  });
  const answer = response.body as AsyncIterable<Uint8Array>;
  if (response.statusCode !== 200) {
    const message = await beginningOf(answer);
    return { status: response.statusCode, why: 'status', message };
  }
  const reader = createEventStreamReader();
  const decoder = new TextDecoder();
  for await (const chunk of answer) {
    const now = options.clock.monoMs();
    for (const payload of reader.push(decoder.decode(chunk, { stream: true }))) {
      takeEvent(payload, now, seen);
    }
  }
  return null;
}

/** The first characters of a body that may be endless. */
async function beginningOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > MOST_ERROR_CHARACTERS) break;
  }
  return text.slice(0, MOST_ERROR_CHARACTERS);
}

interface Seen {
  firstMs: number | null;
  lastMs: number;
  texts: number;
  usage: Usage | null;
}

interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
}

interface Chunk {
  readonly choices?: readonly {
    readonly delta?: {
      readonly content?: string | null;
      /** What a reasoning model thinks, as vLLM and SGLang and as llama.cpp name it: tokens like any other. */
      readonly reasoning?: string | null;
      readonly reasoning_content?: string | null;
    };
  }[];
  readonly usage?: Usage | null;
  readonly error?: { readonly message?: string } | null;
}

function takeEvent(payload: string, nowMs: number, seen: Seen): void {
  if (payload === '[DONE]') return;
  const chunk = JSON.parse(payload) as Chunk;
  if (chunk.error) throw new Error(chunk.error.message ?? 'the stream carries an error');
  if (chunk.usage) seen.usage = chunk.usage;
  for (const { delta } of chunk.choices ?? []) {
    if (!delta?.content && !delta?.reasoning && !delta?.reasoning_content) continue;
    seen.firstMs ??= nowMs;
    seen.lastMs = nowMs;
    seen.texts += 1;
  }
}

/** The URL that `/v1/…` is put behind. */
export function toUrl(endpoint: EndpointAddress | string): string {
  if (typeof endpoint === 'string') return endpoint.replace(/\/+$/, '');
  const { host, port } = endpoint;
  return host.includes(':') ? `http://[${host}]:${port}` : `http://${host}:${port}`;
}

function invalid(message: string): AimError {
  return new AimError({ code: 'ERR_LOAD_INVALID', kind: 'invalid', message });
}

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
  systemIds,
} from '@aim-gpu/core';
import { Agent, request } from 'undici';
import { chatTextOf } from '../simulated-engine/pseudo-text.js';
import { createEventStreamReader } from './event-stream.js';
import { type LoadSummary, summarizeLoad } from './load-summary.js';

/** What {@link driveLoad} sends. At least one of `requests` and `durationMs` ends it. */
export interface DriveLoadOptions extends CallOptions {
  readonly endpoint: EndpointAddress;
  readonly model: string;
  /** Clients, each sending its next request when the last one is answered. */
  readonly concurrency: number;
  /** Tokens of each prompt by the simulated engine's rule (4 characters a token); real tokenizers count differently. */
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Stops after so many requests. */
  readonly requests?: number;
  /** Sends no new request after so long; what is under way is finished and counted. */
  readonly durationMs?: number;
  readonly clock: Clock;
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
  /** Mean time between texts after the first; null with fewer than two. */
  readonly tpotMs: number | null;
  readonly e2eMs: number;
  /** As the server counted them. */
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** What went wrong, null when nothing did. */
  readonly error: { readonly status: number | null; readonly message: string } | null;
}

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
  const client = async (): Promise<void> => {
    while (sent < limit && clock.monoMs() < endMs) {
      sent += 1;
      timings.push(await sendOne(options, agent));
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
  const { clock, endpoint, signal } = options;
  const salt = (options.ids ?? systemIds).next();
  const startMs = clock.monoMs();
  const seen = {
    firstMs: null as number | null,
    lastMs: startMs as number,
    texts: 0,
    usage: null as Usage | null,
  };
  let error: RequestTiming['error'] = null;
  try {
    const response = await request(`http://${toAuthority(endpoint)}/v1/chat/completions`, {
      method: 'POST',
      dispatcher: agent,
      headers: { ...options.headers, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: options.model,
        messages: [{ role: 'user', content: chatTextOf(options.promptTokens, salt) }],
        max_tokens: options.outputTokens,
        // vLLM, SGLang and the simulated engine know it; a server that does not ends where it likes.
        ignore_eos: true,
        stream: true,
        stream_options: { include_usage: true },
      }),
      ...(signal === undefined ? {} : { signal }),
    });
    if (response.statusCode === 200) {
      const reader = createEventStreamReader();
      const decoder = new TextDecoder();
      for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
        const now = clock.monoMs();
        for (const payload of reader.push(decoder.decode(chunk, { stream: true }))) {
          takeEvent(payload, now, seen);
        }
      }
    } else {
      error = { status: response.statusCode, message: await response.body.text() };
    }
  } catch (cause) {
    if (isAbort(cause, signal)) throw cause;
    error = { status: null, message: cause instanceof Error ? cause.message : String(cause) };
  }
  const { firstMs, lastMs, texts } = seen;
  return {
    startMs,
    ttftMs: firstMs === null ? null : firstMs - startMs,
    tpotMs: firstMs === null || texts < 2 ? null : (lastMs - firstMs) / (texts - 1),
    e2eMs: clock.monoMs() - startMs,
    promptTokens: seen.usage?.prompt_tokens ?? 0,
    outputTokens: seen.usage?.completion_tokens ?? texts,
    error,
  };
}

interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
}

interface Chunk {
  readonly choices?: readonly { readonly delta?: { readonly content?: string | null } }[];
  readonly usage?: Usage | null;
}

function takeEvent(
  payload: string,
  nowMs: number,
  seen: { firstMs: number | null; lastMs: number; texts: number; usage: Usage | null },
): void {
  if (payload === '[DONE]') return;
  const chunk = JSON.parse(payload) as Chunk;
  if (chunk.usage) seen.usage = chunk.usage;
  for (const { delta } of chunk.choices ?? []) {
    if (!delta?.content) continue;
    seen.firstMs ??= nowMs;
    seen.lastMs = nowMs;
    seen.texts += 1;
  }
}

function toAuthority({ host, port }: EndpointAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function invalid(message: string): AimError {
  return new AimError({ code: 'ERR_LOAD_INVALID', kind: 'invalid', message });
}

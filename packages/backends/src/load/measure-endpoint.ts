/**
 * A small sweep over an OpenAI-compatible endpoint: warm-up, then prompt lengths × concurrencies in closed loops, each
 * setting measured like a client would feel it. Owns the order, the limits of time and what a broken endpoint means;
 * fitting anything to the results is the speed model's work.
 */
import {
  AimError,
  type CallOptions,
  type Clock,
  createRng,
  type IdSource,
  withDeadline,
} from '@aim-gpu/core';
import { Agent, request } from 'undici';
import { driveLoad, type RequestTiming, type LoadResult as Run, toUrl } from './drive-load.js';
import { failureOf, noUsage, outOfTime, shortAnswers } from './endpoint-failures.js';
import { type LoadSummary, summarizeLoad } from './load-summary.js';

/** One setting of a sweep. Lengths are the longest; each request's are drawn between half of them and all. */
export interface SweepSetting {
  /** Tokens asked for; a real tokenizer may count differently, and what the server counted is reported. */
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly concurrency: number;
}

/** What {@link measureEndpoint} does. */
export interface MeasureEndpointOptions extends CallOptions {
  /** The server's URL without `/v1`. */
  readonly url: string;
  readonly model: string;
  readonly settings: readonly SweepSetting[];
  /** Requests of each client at a setting, by default 4. */
  readonly requestsPerClient?: number;
  /** Times the whole sweep is made, by default 1. A setting's figures are the medians over the rounds. */
  readonly rounds?: number;
  /** Longest wait for one answer, by default two minutes. */
  readonly requestTimeoutMs?: number;
  /** Longest time of the whole sweep, by default 20 minutes. */
  readonly budgetMs?: number;
  readonly clock: Clock;
  readonly ids?: IdSource;
  /** Sent with every request, such as `authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Called before each setting. */
  readonly onSetting?: (setting: SweepSetting, index: number, of: number) => void;
}

/** What one setting felt like. */
export interface MeasuredSetting extends SweepSetting {
  /** Mean tokens of a prompt as the server counted them. */
  readonly promptTokens: number;
  /** Mean tokens of an answer as the server counted them. */
  readonly outputTokens: number;
  readonly requestsPerClient: number;
  /** Median over the rounds of the round's mean. */
  readonly ttftMs: number;
  readonly tpotMs: number;
  readonly outputTokensPerSecond: number;
  /** Percentiles over the requests of all rounds. */
  readonly summary: LoadSummary;
}

const DEFAULTS = {
  requestsPerClient: 4,
  rounds: 1,
  requestTimeoutMs: 120_000,
  budgetMs: 1_200_000,
};
const WARM_UP_TOKENS = 16;
/**
 * Lengths are drawn between half of a setting's and all of them. Clients with equal lengths stay in step with each
 * other on some engines and not on others, which no model of speed can know.
 */
export const SWEEP_LENGTHS_FROM = 0.5;
/** Share of a setting's requests that may fail without spoiling it. */
const TOLERATED_FAILURES = 0.1;
const LIST_LIMIT_MS = 10_000;
const MOST_MODELS_BYTES = 1_048_576;

/**
 * Names of the models that an endpoint serves, in its order. Throws `ERR_ENDPOINT_UNREACHABLE`,
 * `ERR_ENDPOINT_REFUSED` (unavailable) for another status or no list, `ERR_ENDPOINT_TIMEOUT` (timeout) after 10 s.
 */
export async function readServedModels(
  url: string,
  options: CallOptions & {
    readonly clock: Clock;
    readonly headers?: Readonly<Record<string, string>>;
  },
): Promise<readonly string[]> {
  const agent = new Agent();
  const read = async (signal: AbortSignal): Promise<readonly string[]> => {
    const response = await request(`${toUrl(url)}/v1/models`, {
      dispatcher: agent,
      signal,
      ...(options.headers === undefined ? {} : { headers: options.headers }),
    });
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      text += decoder.decode(chunk, { stream: true });
      if (text.length > MOST_MODELS_BYTES) break;
    }
    if (response.statusCode !== 200)
      throw failureOf(url, { status: response.statusCode, why: 'status', message: text });
    return toNames(url, text);
  };
  try {
    return await withDeadline(read, { ...options, ms: LIST_LIMIT_MS, what: 'the list of models' });
  } catch (cause) {
    options.signal?.throwIfAborted();
    const late = AimError.is(cause, 'ERR_TIMEOUT');
    if (AimError.is(cause) && !late) throw cause;
    const message = cause instanceof Error ? cause.message || cause.name : String(cause);
    throw failureOf(url, { status: null, why: late ? 'timeout' : 'broken', message }, cause);
  } finally {
    await agent.destroy();
  }
}

function toNames(url: string, text: string): readonly string[] {
  let list: unknown;
  try {
    list = (JSON.parse(text) as { data?: unknown }).data;
  } catch {
    list = undefined;
  }
  const names = Array.isArray(list)
    ? list.map((entry: { id?: unknown } | null) => entry?.id).filter((id) => typeof id === 'string')
    : [];
  if (names.length > 0) return names;
  const message = 'its /v1/models is not a list of models';
  throw failureOf(url, { status: null, why: 'status', message });
}

/**
 * Measures an endpoint at each setting after a warm-up of two requests for each prompt length. Prompts differ, so that
 * no prefix cache helps. Ends within `budgetMs`, whatever the endpoint does.
 *
 * Throws `ERR_LOAD_INVALID` (invalid) for settings that cannot be loads; `ERR_ENDPOINT_UNREACHABLE` (unavailable) when
 * the connection or the stream breaks; `ERR_ENDPOINT_REFUSED` (unavailable) when it answers another status than 200;
 * `ERR_ENDPOINT_TIMEOUT` (timeout) when an answer or the sweep takes too long; `ERR_ENDPOINT_NO_USAGE` (refused) when
 * streams come without usage, because lengths would be guesses; `ERR_ENDPOINT_SHORT_ANSWERS` (refused) when answers
 * end after a token, because then there is no pace; and the signal's reason when aborted.
 */
export async function measureEndpoint(
  options: MeasureEndpointOptions,
): Promise<readonly MeasuredSetting[]> {
  const { settings, clock } = options;
  const limits = { ...DEFAULTS, ...withoutUndefined(options) };
  for (const setting of settings) requireSetting(setting);
  if (settings.length === 0) throw invalid('a sweep needs at least one setting');
  requireCount('requestsPerClient', limits.requestsPerClient);
  requireCount('rounds', limits.rounds);
  const endMs = clock.monoMs() + limits.budgetMs;
  const rng = createRng(1);
  const drive = async (setting: SweepSetting, requests: number): Promise<Run> => {
    const leftMs = endMs - clock.monoMs();
    if (leftMs <= 0) throw outOfTime(options.url, limits.budgetMs);
    const load = (signal: AbortSignal): Promise<Run> =>
      driveLoad({
        ...setting,
        endpoint: options.url,
        model: options.model,
        requests,
        requestTimeoutMs: limits.requestTimeoutMs,
        stopAfterFailures: 1 + Math.floor(TOLERATED_FAILURES * requests),
        freshConnections: true,
        lengthsFrom: SWEEP_LENGTHS_FROM,
        rng,
        clock,
        ...(options.ids === undefined ? {} : { ids: options.ids }),
        ...(options.headers === undefined ? {} : { headers: options.headers }),
        signal,
      });
    const within = { clock, ms: leftMs, what: 'the sweep' };
    try {
      const run = await withDeadline(load, {
        ...within,
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      });
      requireUsable(options.url, run.timings);
      return run;
    } catch (cause) {
      throw AimError.is(cause, 'ERR_TIMEOUT') ? outOfTime(options.url, limits.budgetMs) : cause;
    }
  };
  for (const promptTokens of new Set(settings.map((setting) => setting.promptTokens))) {
    const outputTokens = Math.min(WARM_UP_TOKENS, settings[0]?.outputTokens ?? 1);
    await drive({ promptTokens, outputTokens, concurrency: 1 }, 2);
  }
  const runs = settings.map(
    (): { timings: readonly RequestTiming[]; summary: LoadSummary }[] => [],
  );
  for (let round = 0; round < limits.rounds; round += 1) {
    for (const [index, setting] of settings.entries()) {
      options.onSetting?.(
        setting,
        round * settings.length + index,
        limits.rounds * settings.length,
      );
      runs[index]?.push(await drive(setting, limits.requestsPerClient * setting.concurrency));
    }
  }
  return settings.map((setting, index) =>
    toMeasured(options.url, setting, limits.requestsPerClient, runs[index] ?? []),
  );
}

function toMeasured(
  url: string,
  setting: SweepSetting,
  requestsPerClient: number,
  runs: readonly Run[],
): MeasuredSetting {
  const timings = runs.flatMap((run) => run.timings);
  const completed = timings.filter(({ error }) => error === null);
  const ttft = runs.flatMap(({ summary }) => summary.ttftMs?.mean ?? []);
  const tpot = runs.flatMap(({ summary }) => summary.tpotMs?.mean ?? []);
  if (ttft.length === 0 || tpot.length === 0) throw shortAnswers(url);
  return {
    concurrency: setting.concurrency,
    promptTokens: mean(completed.map((timing) => timing.promptTokens)),
    outputTokens: mean(completed.map((timing) => timing.outputTokens)),
    requestsPerClient,
    ttftMs: median(ttft),
    tpotMs: median(tpot),
    outputTokensPerSecond: median(runs.map(({ summary }) => summary.outputTokensPerSecond)),
    summary: {
      ...summarizeLoad(timings),
      outputTokensPerSecond: median(runs.map(({ summary }) => summary.outputTokensPerSecond)),
    },
  };
}

/** Refuses timings that no speed can be read from. */
function requireUsable(url: string, timings: readonly RequestTiming[]): void {
  const failures = timings.flatMap(({ error }) => error ?? []);
  const worst = failures[0];
  if (worst !== undefined && failures.length > TOLERATED_FAILURES * timings.length)
    throw failureOf(url, worst);
  const completed = timings.filter(({ error }) => error === null);
  if (completed.some(({ counted }) => !counted)) {
    throw noUsage(url);
  }
  if (completed.every(({ tpotMs }) => tpotMs === null)) throw shortAnswers(url);
}

function requireSetting(setting: SweepSetting): void {
  for (const key of ['promptTokens', 'outputTokens', 'concurrency'] as const) {
    requireCount(key, setting[key]);
  }
}

const MOST = 1_000_000;

function requireCount(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1 || value > MOST)
    throw invalid(`${name} must be a whole number from 1 to ${MOST}, got ${value}`);
}

function invalid(message: string): AimError {
  return new AimError({ code: 'ERR_LOAD_INVALID', kind: 'invalid', message });
}

function withoutUndefined(options: MeasureEndpointOptions): Partial<typeof DEFAULTS> {
  return Object.fromEntries(
    Object.keys(DEFAULTS).flatMap((key) => {
      const value = options[key as keyof typeof DEFAULTS];
      return value === undefined ? [] : [[key, value]];
    }),
  );
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}

/**
 * How full one engine is: what this process has sent there, corrected by what the engine says of itself. Owns the
 * gate of one endpoint; must not choose among endpoints. Local figures come first: a late scrape never closes the gate.
 */
import type { EngineSample } from '@aim-gpu/core';
import { createAdaptiveLimit } from './adaptive-limit.js';

/** What is known of an endpoint before anything was sent. */
export interface EndpointSpec {
  readonly id: string;
  /** Sequences the engine runs at the same time. */
  readonly maxSeqs: number;
  /** Tokens its KV cache holds; null when unknown, then only sequences count. */
  readonly kvCapacityTokens: number | null;
  /** Endpoints of one group share a partition or card and guard each other; null when it has that to itself. */
  readonly group?: string | null;
}

/** The gate of one endpoint. Times are monotonic milliseconds. */
export interface EndpointCapacity {
  readonly id: string;
  readonly group: string | null;
  /** Requests sent and not ended. */
  readonly inFlight: number;
  /** Tokens reserved by them. */
  readonly inFlightTokens: number;
  /** Sequences allowed now. */
  readonly limit: number;
  /** Tokens that may be reserved in all; Infinity when its cache is not known. */
  readonly capTokens: number;
  /** 0 is idle, 1 is full; the largest of its measures. */
  saturation(nowMs: number): number;
  /** Whether a request of so many tokens may be sent when the endpoint may be filled to `ceiling`. */
  fits(tokens: number, ceiling: number, nowMs: number): boolean;
  /**
   * What must end before a request of so many tokens could be sent; null when nobody's end would help, because the
   * endpoint is suspended or its engine is full of others' requests.
   */
  lacks(
    tokens: number,
    ceiling: number,
    nowMs: number,
  ): { readonly seqs: number; readonly tokens: number } | null;
  /** Whether a request of so many tokens could ever be sent. */
  couldFit(tokens: number): boolean;
  /** Counts a request that was sent. */
  acquire(tokens: number): void;
  /** Counts a request that has ended. */
  release(tokens: number, beganStreaming: boolean): void;
  /** Takes note that a request got its first byte. */
  streaming(): void;
  /**
   * Corrects the picture by what the engine says of itself. Returns the mean time between the tokens of a stream since
   * the sample before, in milliseconds; null when that cannot be told.
   */
  observe(sample: EngineSample, nowMs: number): number | null;
  /** Takes note that tokens come slower than the target: a sign of congestion. */
  slow(nowMs: number, roundTripMs: number): void;
  /** Starts from a limit learned before, for snapshots. */
  restoreLimit(limit: number): void;
  /** Sends nothing there until a time, after it could not be reached. */
  suspend(untilMs: number): void;
  readonly suspendedUntilMs: number;
  /** When the gate may open by itself, because a suspension ends or a sample grows old; Infinity when it will not. */
  opensByItselfMs(nowMs: number): number;
}

/** Room kept for the error of estimates: engines preempt when the cache runs over. */
const KV_SHARE = 0.9;
/** Requests in the engine's own queue that are not ours: more than this and it is full. */
const FOREIGN_WAITING = 2;
const FRESH_MS = 2_000;
/** The engine's KV use has to fall below the ceiling, not to it. */
const EPSILON_TOKENS = 1e-6;
const CONGESTED_WAITING = 2;
/** Of the sequences, what slow tokens alone never take away. */
const SLOW_SHARE = 0.25;

/** An exposition may hold NaN: what an engine does not know of itself must not close its gate. */
function known(figure: number): number {
  return figure > 0 ? figure : 0;
}

/** Tokens of a cache; null when nobody knows them. */
function knownTokens(tokens: number | null): number | null {
  return tokens !== null && tokens > 0 ? tokens : null;
}

/** In continuous batching every running stream gets one token a step, so the streams' tempo follows from the sums. */
function tempoOf(
  before: EngineSample | null,
  beforeMs: number,
  after: EngineSample,
  afterMs: number,
): number | null {
  if (before === null) return null;
  const tokens = after.generationTokensTotal - before.generationTokensTotal;
  const streams = (before.running + after.running) / 2;
  const elapsedMs = afterMs - beforeMs;
  if (!(tokens > 0) || !(streams >= 1) || !(elapsedMs > 0)) return null;
  return (elapsedMs * streams) / tokens;
}

/** Makes the gate of an endpoint; `freshMs` is how long a sample counts, twice the scrape's period. */
export function createEndpointCapacity(
  spec: EndpointSpec,
  options: { readonly freshMs?: number; readonly minLimit?: number } = {},
): EndpointCapacity {
  const freshMs = options.freshMs ?? FRESH_MS;
  const maxSeqs = Math.max(1, Math.floor(spec.maxSeqs) || 1);
  const adaptive = createAdaptiveLimit({
    min: Math.min(options.minLimit ?? 4, maxSeqs),
    max: maxSeqs,
  });
  let kvTokens = knownTokens(spec.kvCapacityTokens);
  let inFlight = 0;
  let inFlightTokens = 0;
  let pending = 0;
  let sample: EngineSample | null = null;
  let sampleMs = Number.NEGATIVE_INFINITY;
  let tokensAtSample = 0;
  let pendingAtSample = 0;
  let waitingRuns = 0;
  let suspendedUntilMs = Number.NEGATIVE_INFINITY;

  const capTokens = (): number =>
    kvTokens === null ? Number.POSITIVE_INFINITY : kvTokens * KV_SHARE;
  const isFresh = (nowMs: number): boolean => sample !== null && nowMs - sampleMs <= freshMs;
  /**
   * What others have put into the engine's own queue: its figure less our requests that had no first byte then. Those
   * of now would not do: as they get their first bytes, the same old figure would look like more and more of others.
   */
  const foreignWaiting = (nowMs: number): number =>
    isFresh(nowMs) ? Math.max(0, (sample as EngineSample).waiting - pendingAtSample) : 0;
  /** The engine's KV use as a share of what may be used, with what we sent and ended since the sample. */
  const kvShare = (nowMs: number): number => {
    if (!isFresh(nowMs)) return 0;
    const used = (sample as EngineSample).kvUsage;
    const since = kvTokens === null ? 0 : (inFlightTokens - tokensAtSample) / kvTokens;
    return Math.max(0, used + since) / KV_SHARE;
  };
  const saturationWith = (seqs: number, tokens: number, nowMs: number): number =>
    Math.max(
      seqs / adaptive.limit,
      tokens / capTokens(),
      foreignWaiting(nowMs) / FOREIGN_WAITING,
      kvShare(nowMs),
    );

  return {
    id: spec.id,
    group: spec.group ?? null,
    get inFlight() {
      return inFlight;
    },
    get inFlightTokens() {
      return inFlightTokens;
    },
    get limit() {
      return adaptive.limit;
    },
    get capTokens() {
      return capTokens();
    },
    get suspendedUntilMs() {
      return suspendedUntilMs;
    },
    saturation: (nowMs) => saturationWith(inFlight, inFlightTokens, nowMs),
    fits: (tokens, ceiling, nowMs) => {
      if (nowMs < suspendedUntilMs) return false;
      // An idle endpoint takes any one request: whatever does not fit beside others must run alone.
      if (inFlight === 0) return ceiling > 0 && foreignWaiting(nowMs) <= FOREIGN_WAITING;
      if (inFlight + 1 > Math.max(1, Math.floor(adaptive.limit * ceiling))) return false;
      if (inFlightTokens + tokens > capTokens() * ceiling) return false;
      if (foreignWaiting(nowMs) > FOREIGN_WAITING) return false;
      return kvShare(nowMs) < ceiling;
    },
    lacks: (tokens, ceiling, nowMs) => {
      if (nowMs < suspendedUntilMs || !(ceiling > 0)) return null;
      if (foreignWaiting(nowMs) > FOREIGN_WAITING) return null;
      const seqs = inFlight + 1 - Math.max(1, Math.floor(adaptive.limit * ceiling));
      const cap = capTokens();
      const over = cap === Number.POSITIVE_INFINITY ? 0 : inFlightTokens + tokens - cap * ceiling;
      const kv =
        kvTokens === null ? 0 : (kvShare(nowMs) - ceiling) * KV_SHARE * kvTokens + EPSILON_TOKENS;
      return { seqs: Math.max(0, seqs), tokens: Math.max(0, over, kv) };
    },
    couldFit: (tokens) => kvTokens === null || tokens <= kvTokens,
    acquire: (tokens) => {
      inFlight += 1;
      inFlightTokens += tokens;
      pending += 1;
    },
    release: (tokens, beganStreaming) => {
      inFlight = Math.max(0, inFlight - 1);
      inFlightTokens = inFlight === 0 ? 0 : Math.max(0, inFlightTokens - tokens);
      if (!beganStreaming) pending = Math.max(0, pending - 1);
    },
    streaming: () => {
      pending = Math.max(0, pending - 1);
    },
    observe: (next, nowMs) => {
      const tpotMs = tempoOf(sample, sampleMs, next, nowMs);
      const preempted = sample !== null && next.preemptionsTotal > sample.preemptionsTotal;
      waitingRuns = next.waiting > CONGESTED_WAITING ? waitingRuns + 1 : 0;
      sample = { ...next, waiting: known(next.waiting), kvUsage: known(next.kvUsage) };
      sampleMs = nowMs;
      tokensAtSample = inFlightTokens;
      pendingAtSample = pending;
      kvTokens = knownTokens(next.kvCapacityTokens) ?? kvTokens;
      if (preempted || waitingRuns >= 2) adaptive.congested(nowMs, 0);
      else adaptive.calm(inFlight, nowMs);
      return tpotMs;
    },
    restoreLimit: (limit) => adaptive.restore(limit),
    slow: (nowMs, roundTripMs) => {
      // A target that no limit can reach must not close the endpoint.
      if (adaptive.limit > maxSeqs * SLOW_SHARE) adaptive.congested(nowMs, roundTripMs);
    },
    opensByItselfMs: (nowMs) =>
      Math.min(
        suspendedUntilMs > nowMs ? suspendedUntilMs : Number.POSITIVE_INFINITY,
        // A sample still counts at the end of its time, hence the millisecond more.
        isFresh(nowMs) ? sampleMs + freshMs + 1 : Number.POSITIVE_INFINITY,
      ),
    suspend: (untilMs) => {
      suspendedUntilMs = untilMs;
    },
  };
}

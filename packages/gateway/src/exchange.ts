/**
 * One request from admission to its last byte: admit, send, try again before the first byte, pass bytes with
 * back-pressure, account. Owns that order and that each exchange ends once; who asks and for what was settled before.
 */
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { Clock, Logger } from '@aim-gpu/core';
import type { Admission, AdmitRequest, Permit, Qos, RequestOutcome } from '@aim-gpu/qos';
import type { AccessLog } from './access-log.js';
import { createStreamTap, type StreamTap } from './answer-tap.js';
import type { BandTimeouts } from './band-timeouts.js';
import { returnedHeaders } from './header-hygiene.js';
import type { ExchangeView, LiveExchange, LiveExchanges } from './live-exchanges.js';
import {
  internalError,
  modelUnavailable,
  type OpenAiError,
  refusalToOpenAi,
  streamBroken,
  upstreamFailed,
} from './openai-error.js';
import { refuse } from './refuse.js';
import { type ReportedUsage, usageOfAnswer, withinBounds } from './reported-usage.js';
import type { RequestMetrics, RequestSeries } from './request-series.js';
import type { RetryBudget } from './retry-budget.js';
import type { ServedModels } from './served-models.js';
import type { UpstreamCall, UpstreamFailure, UpstreamReceiver, Upstreams } from './upstream.js';

/** What exchanges of a gateway share. */
export interface ExchangeTools {
  readonly qos: Qos;
  readonly upstreams: Upstreams;
  readonly served: ServedModels;
  readonly live: LiveExchanges;
  readonly retries: RetryBudget;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly series: RequestMetrics;
  readonly accessLog: AccessLog | null;
}

/** One request, understood. */
export interface ExchangeRequest {
  readonly response: ServerResponse;
  readonly requestId: string;
  readonly traceId: string;
  /** When the whole request had been read, by the monotonic clock: what clients' times count from. */
  readonly readMs: number;
  readonly method: string;
  readonly path: string;
  /** Headers for the engine, names and values in turn. */
  readonly headers: string[];
  readonly admit: AdmitRequest;
  /** Bytes for the engine. */
  readonly body: Buffer;
  /** Whether the usage in a stream was the gateway's wish alone. */
  readonly stripUsage: boolean;
  /** No answer can have more tokens than that. */
  readonly mostTokens: number;
  readonly timeouts: BandTimeouts;
  readonly suspendMs: number;
  /** Told which instance has answered, for the next request that begins alike. */
  readonly answered: (instance: string) => void;
  /** Further headers of every answer, names and values in turn, asked for when they are written. */
  readonly answerHeaders: () => readonly string[];
}

/** A permit is told that its request is alive no more often than that. */
const TELL_MS = 1000;
const CLIENT_GONE = 499;
/** Answers in one piece are held up to this size, so that one that breaks off can still be asked of another engine. */
const HELD_BYTES = 256 * 1024;

/** An exchange under way. */
export class Exchange implements UpstreamReceiver, LiveExchange {
  liveIndex: number = -1;
  readonly #tools: ExchangeTools;
  readonly #request: ExchangeRequest;
  readonly #series: RequestSeries;
  #state: ExchangeView['state'] = 'waiting';
  #permit: Permit | null = null;
  #call: UpstreamCall | null = null;
  #wait: AbortController | null = null;
  /** What to answer when there is no other try; null leaves it to the refusal. */
  #failure: OpenAiError | null = null;
  #tries: number = 0;
  #sentMs: number = 0;
  #activeMs: number = 0;
  #toldMs: number = 0;
  #status: number = 0;
  #headers: IncomingHttpHeaders = {};
  /** Null for an answer in one piece. */
  #tap: StreamTap | null = null;
  #held: Buffer[] = [];
  #heldBytes: number = 0;
  #firstMs: number | null = null;
  #lastMs: number = 0;
  #usage: ReportedUsage | null = null;
  readonly #onPreempt = (): void => {
    if (this.#state !== 'sent') return;
    // The engine is well, and what to answer is qos's to say.
    this.#again(null, { suspend: false });
  };

  constructor(tools: ExchangeTools, request: ExchangeRequest) {
    this.#tools = tools;
    this.#request = request;
    this.#series = tools.series.of(request.admit);
  }

  /** Asks to be admitted, and goes on from there. */
  start(): void {
    const { qos, live } = this.#tools;
    live.add(this);
    this.#tools.retries.note(this.#request.readMs);
    const admission = qos.tryAdmit(this.#request.admit);
    if (admission !== null) {
      this.#admitted(admission);
      return;
    }
    this.#wait = new AbortController();
    this.#await(qos.admit(this.#request.admit, { signal: this.#wait.signal }));
  }

  /** The client's connection has closed, whether or not it had its answer. */
  clientGone(): void {
    if (this.#state === 'over') return;
    this.#cancel();
    this.#end(CLIENT_GONE, 'client_gone');
  }

  check(nowMs: number): void {
    const { timeouts, readMs, response } = this.#request;
    if (this.#state === 'over' || this.#state === 'waiting') return;
    if (nowMs - readMs > timeouts.totalMs) {
      this.#late();
      return;
    }
    if (response.writableNeedDrain) {
      // It is the client that does not read; nobody waits for an answer there.
      if (nowMs - this.#activeMs <= timeouts.idleMs) return;
      response.destroy();
      this.clientGone();
      return;
    }
    if (this.#status === 0) {
      if (nowMs - this.#sentMs > timeouts.firstByteMs) this.#late();
    } else if (nowMs - this.#activeMs > timeouts.idleMs) {
      if (response.headersSent) this.#late();
      else this.#again(upstreamFailed('timeout'), { suspend: true });
    }
  }

  view(nowMs: number): ExchangeView {
    const { requestId, admit, readMs } = this.#request;
    const { tenant, model, band } = admit;
    return {
      requestId,
      tenant,
      model,
      band,
      state: this.#state,
      instance: this.#permit?.endpoint ?? null,
      ageMs: nowMs - readMs,
      outputTokens: this.#tap?.events ?? 0,
    };
  }

  /** The engine that has it will not answer any more: another one may. */
  abandon(instance: string): void {
    if (this.#state === 'sent' && this.#status === 0 && this.#permit?.endpoint === instance)
      this.#again(upstreamFailed('timeout'), { suspend: true });
  }

  began(status: number, headers: IncomingHttpHeaders): void {
    this.#activeMs = this.#tools.clock.monoMs();
    if (status === 429 || status === 503) {
      this.#again(upstreamFailed('refused'), { suspend: true });
      return;
    }
    this.#status = status;
    this.#headers = headers;
    if (String(headers['content-type'] ?? '').includes('text/event-stream'))
      this.#tap = createStreamTap({ stripUsage: this.#request.stripUsage });
  }

  data(chunk: Buffer): boolean {
    const now = this.#tools.clock.monoMs();
    this.#activeMs = now;
    if (now - this.#toldMs > TELL_MS) {
      this.#toldMs = now;
      this.#permit?.usage({});
    }
    const bytes = this.#tap === null ? this.#hold(chunk) : this.#listen(this.#tap, chunk, now);
    if (bytes.length === 0) return true;
    if (!this.#request.response.headersSent && !this.#begin(null)) return false;
    return this.#request.response.write(bytes);
  }

  ended(): void {
    const tap = this.#tap;
    const { response } = this.#request;
    const rest = tap === null ? this.#takeHeld() : tap.end();
    if (tap === null && !response.headersSent) this.#usage = usageOfAnswer(rest);
    if (!response.headersSent && !this.#begin(tap === null ? rest.length : null)) return;
    // A short text goes out in one piece with its headers, a buffer in two.
    if (tap === null && rest.length <= ONE_PIECE_BYTES)
      response.end(rest.toString('latin1'), 'latin1');
    else response.end(rest);
    this.#end(this.#status, this.#status < 400 ? 'complete' : 'invalid');
  }

  failed(failure: UpstreamFailure): void {
    this.#tools.logger.warn('engine-unreachable', {
      instance: this.#permit?.endpoint,
      requestId: this.#request.requestId,
      code: failure.code,
    });
    if (this.#request.response.headersSent) this.#breakOff(502);
    else this.#again(upstreamFailed('connect'), { suspend: true });
  }

  /** Something here is wrong; the client gets an end all the same. */
  #crash(error: unknown): void {
    this.#tools.logger.error('exchange-failed', {
      requestId: this.#request.requestId,
      message: error instanceof Error ? error.message : 'unknown',
    });
    if (this.#state === 'over') return;
    this.#cancel();
    if (this.#request.response.headersSent) this.#request.response.destroy();
    else refuse(this.#request.response, internalError(), this.#answerHeaders(null, 0));
    this.#end(500, 'failed');
  }

  #await(admission: Promise<Admission>): void {
    admission
      .then((result) => this.#admitted(result))
      .catch((error: unknown) => this.#crash(error));
  }

  #admitted(admission: Admission): void {
    if (this.#state === 'over') {
      if (admission.ok) admission.permit.done('client_gone');
      return;
    }
    if (admission.ok) {
      this.#send(admission.permit);
      return;
    }
    const { response } = this.#request;
    const headers = this.#answerHeaders(null, admission.queueMs);
    if (admission.reason === 'preempted') headers.push('x-qos-preempted', 'true');
    const error = this.#failure ?? refusalToOpenAi(admission);
    this.#permit = null;
    this.#end(refuse(response, error, headers), 'refused');
  }

  #send(permit: Permit): void {
    const { served, upstreams, clock } = this.#tools;
    const { admit, method, path, headers, body } = this.#request;
    this.#permit = permit;
    this.#state = 'sent';
    const endpoint = served.find(admit.model)?.endpoints.get(permit.endpoint);
    if (endpoint === undefined) {
      this.#again(modelUnavailable(admit.model, null), { suspend: true });
      return;
    }
    this.#tries += 1;
    this.#sentMs = clock.monoMs();
    this.#activeMs = this.#sentMs;
    this.#toldMs = this.#sentMs;
    permit.onPreempt = this.#onPreempt;
    this.#call = upstreams.send(endpoint.address, { method, path, headers, body }, this);
  }

  /** Nothing has reached the client: another engine may be tried, within reason. */
  #again(failure: OpenAiError | null, { suspend }: { readonly suspend: boolean }): void {
    const permit = this.#permit;
    if (permit === null) return;
    const { qos, retries, clock } = this.#tools;
    this.#call?.cancel();
    this.#call = null;
    this.#status = 0;
    this.#tap = null;
    this.#takeHeld();
    this.#firstMs = null;
    this.#failure = failure;
    if (suspend) qos.suspend(permit.endpoint, this.#request.suspendMs);
    if (failure !== null && !retries.take(clock.monoMs())) {
      const headers = this.#answerHeaders(permit.endpoint, permit.queueMs);
      this.#end(refuse(this.#request.response, failure, headers), 'failed');
      return;
    }
    this.#state = 'waiting';
    this.#wait = new AbortController();
    this.#await(permit.retry({ signal: this.#wait.signal }));
  }

  /** Headers go out with the first content, so that until then another engine may be tried. False: preempted. */
  #begin(contentLength: number | null): boolean {
    const { response } = this.#request;
    const permit = this.#permit;
    if (permit === null) return false;
    if (!permit.firstByte(this.#tap === null ? { whole: true } : {})) {
      this.#again(null, { suspend: false });
      return false;
    }
    this.#state = 'passing';
    const headers = returnedHeaders(this.#headers);
    if (this.#tap !== null) headers.push(...STREAM_HEADERS);
    else if (contentLength !== null) headers.push('content-length', String(contentLength));
    headers.push(...this.#answerHeaders(permit.endpoint, permit.queueMs));
    response.writeHead(this.#status, headers);
    response.on('drain', () => {
      this.#activeMs = this.#tools.clock.monoMs();
      this.#call?.resume();
    });
    return true;
  }

  #listen(tap: StreamTap, chunk: Buffer, now: number): Buffer {
    const before = tap.events;
    const bytes = tap.push(chunk);
    if (tap.hasContent) {
      this.#permit?.tokens(tap.events - before);
      this.#firstMs ??= now;
      this.#lastMs = now;
    }
    return bytes;
  }

  /** Bytes of an answer in one piece that may go on now. */
  #hold(chunk: Buffer): Buffer {
    if (this.#request.response.headersSent) return chunk;
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    return this.#heldBytes > HELD_BYTES ? this.#takeHeld() : EMPTY;
  }

  #takeHeld(): Buffer {
    const [only] = this.#held;
    if (only === undefined) return EMPTY;
    const all = this.#held.length === 1 ? only : Buffer.concat(this.#held);
    this.#held = [];
    this.#heldBytes = 0;
    return all;
  }

  /** Too late for another engine: the client has waited long enough. */
  #late(): void {
    this.#call?.cancel();
    const { response } = this.#request;
    if (response.headersSent) {
      this.#breakOff(504);
      return;
    }
    const headers = this.#answerHeaders(this.#permit?.endpoint ?? null, this.#permit?.queueMs ?? 0);
    this.#end(refuse(response, upstreamFailed('timeout'), headers), 'failed');
  }

  /** After the first byte there is no other engine to try: a stream says so and ends without [DONE]. */
  #breakOff(code: 502 | 504): void {
    const { response } = this.#request;
    if (this.#tap !== null && !response.destroyed) response.end(streamBroken(code));
    else response.destroy();
    this.#end(code, 'failed');
  }

  #cancel(): void {
    this.#call?.cancel();
    this.#wait?.abort();
  }

  #end(code: number, outcome: RequestOutcome): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    const { live, series, clock } = this.#tools;
    const permit = this.#permit;
    const durationMs = clock.monoMs() - this.#request.readMs;
    if (permit !== null) {
      permit.onPreempt = null;
      if (this.#status !== 0) this.#account(permit);
      permit.done(outcome);
      if (outcome === 'complete') this.#request.answered(permit.endpoint);
    }
    live.remove(this);
    const labels = this.#series.withCode(code);
    series.sink.count('aim_gpu_requests_total', labels);
    series.sink.observe('aim_gpu_request_duration_seconds', labels, durationMs / 1000);
    if (this.#tools.accessLog !== null) this.#log(this.#tools.accessLog, code, durationMs);
  }

  /** Counts what an answer took. Without the engine's own figures a stream is taken by its events. */
  #account(permit: Permit): void {
    const { sink } = this.#tools.series;
    const { mostTokens, readMs } = this.#request;
    const reported = this.#tap?.usage ?? this.#usage;
    const usage = reported === null ? null : withinBounds(reported, mostTokens);
    this.#usage = usage;
    if (this.#firstMs !== null) {
      const ttftMs = this.#firstMs - readMs;
      sink.observe('aim_gpu_request_ttft_seconds', this.#series.labels, ttftMs / 1000);
    }
    if (usage === null) {
      if (this.#tap !== null) permit.usage({ outputTokens: this.#tap.events });
      return;
    }
    permit.usage(usage);
    const { promptTokens, outputTokens, cachedTokens } = usage;
    sink.count('aim_gpu_tokens_total', this.#series.withKind('input'), promptTokens);
    sink.count('aim_gpu_tokens_total', this.#series.withKind('output'), outputTokens);
    if (cachedTokens > 0)
      sink.count('aim_gpu_tokens_total', this.#series.withKind('cached'), cachedTokens);
    const tpotMs = this.#tpotMs();
    if (tpotMs !== null)
      sink.observe('aim_gpu_request_tpot_seconds', this.#series.labels, tpotMs / 1000);
  }

  /** (last − first) ÷ (tokens − 1); null for fewer than two tokens. */
  #tpotMs(): number | null {
    const tokens = this.#usage?.outputTokens ?? 0;
    return this.#firstMs === null || tokens < 2
      ? null
      : (this.#lastMs - this.#firstMs) / (tokens - 1);
  }

  #log(accessLog: AccessLog, code: number, durationMs: number): void {
    const { requestId, traceId, path, admit, readMs } = this.#request;
    const { tenant, model, band } = admit;
    accessLog({
      at: this.#tools.clock.epochMs(),
      requestId,
      traceId,
      path: path.split('?', 1)[0] ?? path,
      tenant,
      model,
      band,
      instance: this.#permit?.endpoint ?? null,
      code,
      stream: this.#tap !== null,
      tries: this.#tries,
      promptTokens: this.#usage?.promptTokens ?? null,
      cachedTokens: this.#usage?.cachedTokens ?? null,
      outputTokens: this.#usage?.outputTokens ?? null,
      queueMs: this.#permit?.queueMs ?? null,
      ttftMs: this.#firstMs === null ? null : this.#firstMs - readMs,
      tpotMs: this.#tpotMs(),
      durationMs,
    });
  }

  #answerHeaders(instance: string | null, queueMs: number): string[] {
    const { requestId, admit, answerHeaders } = this.#request;
    const headers = [
      'x-request-id',
      requestId,
      'x-aim-band',
      admit.band,
      'x-aim-queue-ms',
      queueMs.toFixed(1),
      ...answerHeaders(),
    ];
    if (instance !== null) headers.push('x-aim-instance', instance);
    return headers;
  }
}

const ONE_PIECE_BYTES = 16 * 1024;
const EMPTY = Buffer.alloc(0);
const STREAM_HEADERS: readonly string[] = [
  'cache-control',
  'no-cache, no-transform',
  'x-accel-buffering',
  'no',
];

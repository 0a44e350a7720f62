/**
 * One request from admission to its last byte: admit, send, try again before the first byte, pass bytes with
 * back-pressure, account. Owns that order; who asks and for what was settled before.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type {
  Clock,
  Endpoint,
  EndpointDirectory,
  Logger,
  MetricSink,
  ServedModel,
} from '@aim-gpu/core';
import type { Admission, AdmitRequest, Permit, Qos, RequestOutcome } from '@aim-gpu/qos';
import { type AnswerTap, createStreamTap, createWholeTap } from './answer-tap.js';
import {
  modelUnavailable,
  type OpenAiError,
  refusalToOpenAi,
  toOpenAiError,
  upstreamFailed,
} from './openai-error.js';
import { refuse } from './refuse.js';
import { TokenTimes } from './token-times.js';
import { returnedHeaders, type UpstreamAnswer, type Upstreams } from './upstream.js';

/** What exchanges of a gateway share. */
export interface ExchangeTools {
  readonly qos: Qos;
  readonly upstreams: Upstreams;
  readonly directory: EndpointDirectory;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricSink;
}

/** One request, understood. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly requestId: string;
  /** When the whole request had been read, by the monotonic clock: what clients' times count from. */
  readonly readMs: number;
  readonly path: string;
  readonly model: ServedModel;
  readonly admit: AdmitRequest;
  /** Bytes for the engine. */
  readonly body: Buffer;
  readonly stream: boolean;
  /** Whether the usage event in the stream was the gateway's wish alone. */
  readonly stripUsage: boolean;
}

/** An engine that could not be reached is left alone for so long. */
const SUSPEND_MS = 1000;
const FULL: readonly number[] = [429, 503];
const CLIENT_GONE = 499;

/** Runs an exchange to its end. Never throws. */
export async function runExchange(tools: ExchangeTools, exchange: Exchange): Promise<void> {
  const { clock, metrics, logger } = tools;
  const { response, admit } = exchange;
  const gone = new AbortController();
  const onClose = (): void => {
    if (!response.writableFinished) gone.abort(new Error('the client hung up'));
  };
  response.once('close', onClose);
  // It may have hung up while its model was waited for; then no event tells any more.
  if (response.destroyed) onClose();
  let code = 0;
  try {
    code = await new Runner(tools, exchange, gone.signal).run();
  } catch (error) {
    logger.error('exchange-failed', {
      requestId: exchange.requestId,
      message: error instanceof Error ? error.message : 'unknown',
    });
    response.destroy();
    code = 500;
  } finally {
    response.off('close', onClose);
    const labels = { model: admit.model, tenant: admit.tenant, band: admit.band };
    metrics.count('aim_gpu_requests_total', { ...labels, code: String(code) });
    metrics.observe(
      'aim_gpu_request_duration_seconds',
      { ...labels, code: String(code) },
      (clock.monoMs() - exchange.readMs) / 1000,
    );
  }
}

type Attempt =
  | { readonly kind: 'done'; readonly code: number; readonly outcome: RequestOutcome }
  /** Nothing has reached the client: another try is possible. */
  | {
      readonly kind: 'again';
      /** What to answer when there is no other try; null leaves it to the refusal. */
      readonly error: OpenAiError | null;
      /** Whether the engine should be left alone for a moment. */
      readonly suspend: boolean;
    };

/** A higher band took the endpoint: the engine is well, and what to answer is qos's to say. */
const PREEMPTED: Attempt = { kind: 'again', error: null, suspend: false };

class Runner {
  private readonly tools: ExchangeTools;
  private readonly exchange: Exchange;
  private readonly gone: AbortSignal;

  constructor(tools: ExchangeTools, exchange: Exchange, gone: AbortSignal) {
    this.tools = tools;
    this.exchange = exchange;
    this.gone = gone;
  }

  async run(): Promise<number> {
    const { qos } = this.tools;
    const { response, admit } = this.exchange;
    let admission: Admission = await qos.admit(admit, { signal: this.gone });
    let failure: OpenAiError | null = null;
    for (;;) {
      if (!admission.ok) {
        if (admission.reason === 'cancelled' && this.gone.aborted) return CLIENT_GONE;
        const headers = this.headers(null, admission.queueMs);
        if (admission.reason === 'preempted') headers['x-qos-preempted'] = 'true';
        return refuse(response, failure ?? refusalToOpenAi(admission), headers);
      }
      const { permit } = admission;
      const attempt = await this.attempt(permit);
      if (attempt.kind === 'done') {
        permit.done(attempt.outcome);
        return attempt.code;
      }
      failure = attempt.error;
      if (attempt.suspend) qos.suspend(permit.endpoint, SUSPEND_MS);
      admission = await permit.retry({ signal: this.gone });
    }
  }

  private async attempt(permit: Permit): Promise<Attempt> {
    const { directory, upstreams, logger } = this.tools;
    const { exchange } = this;
    const endpoint = directory
      .endpoints(exchange.model.workload)
      .find((entry) => entry.instance === permit.endpoint);
    if (endpoint === undefined) {
      const error = modelUnavailable(exchange.model.workload, null);
      return { kind: 'again', error, suspend: true };
    }
    const cancel = new AbortController();
    const signal = AbortSignal.any([this.gone, permit.signal, cancel.signal]);
    try {
      const answer = await upstreams.send(endpoint.address, {
        method: exchange.request.method ?? 'POST',
        path: exchange.path,
        headers: exchange.request.headers,
        requestId: exchange.requestId,
        body: exchange.body,
        signal,
      });
      if (FULL.includes(answer.statusCode)) {
        await answer.body.dump();
        return { kind: 'again', error: upstreamFailed('refused'), suspend: true };
      }
      return await this.pass(permit, endpoint, answer);
    } catch (error) {
      if (this.gone.aborted) return { kind: 'done', code: CLIENT_GONE, outcome: 'client_gone' };
      if (permit.signal.aborted) return PREEMPTED;
      const code = (error as { code?: string }).code;
      logger.warn('engine-unreachable', {
        instance: permit.endpoint,
        requestId: exchange.requestId,
        code: code ?? 'unknown',
      });
      if (exchange.response.headersSent) return this.breakOff();
      if (code === 'UND_ERR_HEADERS_TIMEOUT') {
        // Another engine would take as long again, and the client has waited long enough.
        const headers = this.headers(permit.endpoint, permit.queueMs);
        const status = refuse(exchange.response, upstreamFailed('timeout'), headers);
        return { kind: 'done', code: status, outcome: 'failed' };
      }
      return { kind: 'again', error: upstreamFailed('connect'), suspend: true };
    } finally {
      // Whatever is left of the engine's answer is not wanted any more.
      cancel.abort();
    }
  }

  /** Passes an answer on. Headers wait for the first content, so that until then another engine may be tried. */
  private async pass(permit: Permit, endpoint: Endpoint, answer: UpstreamAnswer): Promise<Attempt> {
    const { response, stream, stripUsage } = this.exchange;
    const isStream =
      stream && String(answer.headers['content-type'] ?? '').includes('text/event-stream');
    const tap = isStream ? createStreamTap({ stripUsage }) : createWholeTap();
    const times = new TokenTimes(this.tools.clock);
    const begin = (): boolean => {
      if (response.headersSent) return true;
      if (!permit.firstByte(isStream ? {} : { whole: true })) return false;
      const headers = returnedHeaders(answer.headers);
      if (isStream) {
        delete headers['content-length'];
        headers['cache-control'] = 'no-cache, no-transform';
        headers['x-accel-buffering'] = 'no';
      }
      response.writeHead(answer.statusCode, {
        ...headers,
        ...this.headers(endpoint.instance, permit.queueMs),
      });
      return true;
    };
    try {
      for await (const chunk of answer.body as AsyncIterable<Buffer>) {
        const bytes = tap.push(chunk);
        if (tap.hasContent) times.note();
        // Also the sign that the request is alive.
        permit.usage(tap.usage ?? {});
        if (bytes.length === 0) continue;
        if (!begin()) return PREEMPTED;
        await this.write(bytes);
      }
      const rest = tap.end();
      if (!begin()) return PREEMPTED;
      response.end(rest);
    } finally {
      if (response.headersSent) this.account(permit, tap, isStream ? times : null);
    }
    const outcome = answer.statusCode < 400 ? 'complete' : 'invalid';
    return { kind: 'done', code: answer.statusCode, outcome };
  }

  /** Writes with back-pressure; a client that hangs up ends the wait. */
  private write(bytes: Buffer): Promise<void> {
    const { response } = this.exchange;
    this.gone.throwIfAborted();
    if (response.write(bytes)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const onDrain = (): void => {
        this.gone.removeEventListener('abort', onAbort);
        resolve();
      };
      const onAbort = (): void => {
        response.off('drain', onDrain);
        reject(this.gone.reason);
      };
      response.once('drain', onDrain);
      this.gone.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Counts what an answer took; `times` is null for one whose first token nobody saw. */
  private account(permit: Permit, tap: AnswerTap, times: TokenTimes | null): void {
    const { metrics } = this.tools;
    const labels = { model: permit.model, tenant: permit.tenant, band: permit.band };
    const firstMs = times?.firstMs ?? null;
    if (firstMs !== null) {
      const ttftMs = firstMs - this.exchange.readMs;
      metrics.observe('aim_gpu_request_ttft_seconds', labels, ttftMs / 1000);
    }
    const { usage } = tap;
    if (usage === null) return;
    permit.usage(usage);
    metrics.count('aim_gpu_tokens_total', { ...labels, kind: 'input' }, usage.promptTokens);
    metrics.count('aim_gpu_tokens_total', { ...labels, kind: 'output' }, usage.outputTokens);
    if (usage.cachedTokens > 0)
      metrics.count('aim_gpu_tokens_total', { ...labels, kind: 'cached' }, usage.cachedTokens);
    const tpotMs = times?.meanMs(usage.outputTokens) ?? null;
    if (tpotMs !== null) metrics.observe('aim_gpu_request_tpot_seconds', labels, tpotMs / 1000);
  }

  /** After the first byte there is no other engine to try: the stream says so and ends without [DONE]. */
  private breakOff(): Attempt {
    const { response } = this.exchange;
    const isStream = String(response.getHeader('content-type')).includes('text/event-stream');
    const error = toOpenAiError({
      status: 502,
      code: 'upstream_broken',
      type: 'server_error',
      message: 'The engine broke off in the middle of its answer.',
    });
    if (isStream && !response.destroyed) response.end(`data: ${JSON.stringify(error.body)}\n\n`);
    else response.destroy();
    return { kind: 'done', code: 502, outcome: 'failed' };
  }

  private headers(instance: string | null, queueMs: number): Record<string, string> {
    return {
      'x-request-id': this.exchange.requestId,
      'x-aim-band': this.exchange.admit.band,
      'x-aim-queue-ms': queueMs.toFixed(1),
      ...(instance === null ? {} : { 'x-aim-instance': instance }),
    };
  }
}

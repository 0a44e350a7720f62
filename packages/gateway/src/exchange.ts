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
  refusalHeaders,
  refusalToOpenAi,
  toOpenAiError,
  upstreamFailed,
} from './openai-error.js';
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

/** Runs an exchange to its end. Never throws. */
export async function runExchange(tools: ExchangeTools, exchange: Exchange): Promise<void> {
  const { clock, metrics, logger } = tools;
  const { response, admit } = exchange;
  const startMs = clock.monoMs();
  const gone = new AbortController();
  const onClose = (): void => {
    if (!response.writableFinished) gone.abort(new Error('the client hung up'));
  };
  response.once('close', onClose);
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
      (clock.monoMs() - startMs) / 1000,
    );
  }
}

/** Sends an answer that says no; returns its status. */
export function refuse(
  response: ServerResponse,
  error: OpenAiError,
  headers: Record<string, string> = {},
): number {
  if (response.headersSent || response.destroyed) return error.status;
  response.writeHead(error.status, {
    'content-type': 'application/json',
    ...refusalHeaders(error),
    ...headers,
  });
  response.end(JSON.stringify(error.body));
  return error.status;
}

type Attempt =
  | { readonly kind: 'done'; readonly code: number; readonly outcome: RequestOutcome }
  /** Nothing has reached the client: another try is possible. */
  | { readonly kind: 'again'; readonly error: OpenAiError };

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
        const error = failure ?? refusalToOpenAi(admission);
        return refuse(response, error, this.headers(null, admission.queueMs));
      }
      const { permit } = admission;
      const attempt = await this.attempt(permit);
      if (attempt.kind === 'done') {
        permit.done(attempt.outcome);
        return attempt.code;
      }
      failure = attempt.error;
      qos.suspend(permit.endpoint, SUSPEND_MS);
      admission = await permit.retry({ signal: this.gone });
    }
  }

  private async attempt(permit: Permit): Promise<Attempt> {
    const { directory, upstreams, logger } = this.tools;
    const { exchange } = this;
    const endpoint = directory
      .endpoints(exchange.model.workload)
      .find((entry) => entry.instance === permit.endpoint);
    if (endpoint === undefined)
      return { kind: 'again', error: modelUnavailable(exchange.model.workload, null) };
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
        return { kind: 'again', error: upstreamFailed('refused') };
      }
      return await this.pass(permit, endpoint, answer);
    } catch (error) {
      if (this.gone.aborted) return { kind: 'done', code: 499, outcome: 'client_gone' };
      if (permit.signal.aborted) return { kind: 'again', error: upstreamFailed('refused') };
      const code = (error as { code?: string }).code;
      logger.warn('engine-unreachable', {
        instance: permit.endpoint,
        requestId: exchange.requestId,
        code: code ?? 'unknown',
      });
      if (exchange.response.headersSent) return this.breakOff();
      return {
        kind: 'again',
        error: upstreamFailed(code === 'UND_ERR_HEADERS_TIMEOUT' ? 'timeout' : 'connect'),
      };
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
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      const bytes = tap.push(chunk);
      if (tap.hasContent) times.note();
      if (bytes.length === 0) continue;
      if (!begin()) return { kind: 'again', error: upstreamFailed('refused') };
      await this.write(bytes);
      if (tap.usage !== null) permit.usage(tap.usage);
    }
    const rest = tap.end();
    if (!begin()) return { kind: 'again', error: upstreamFailed('refused') };
    response.end(rest);
    this.account(permit, tap, times);
    return {
      kind: 'done',
      code: answer.statusCode,
      outcome: answer.statusCode < 400 ? 'complete' : 'invalid',
    };
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

  private account(permit: Permit, tap: AnswerTap, times: TokenTimes): void {
    const { metrics } = this.tools;
    const labels = { model: permit.model, tenant: permit.tenant, band: permit.band };
    if (permit.ttftMs !== null)
      metrics.observe('aim_gpu_request_ttft_seconds', labels, permit.ttftMs / 1000);
    const { usage } = tap;
    if (usage === null) return;
    permit.usage(usage);
    metrics.count('aim_gpu_tokens_total', { ...labels, kind: 'input' }, usage.promptTokens);
    metrics.count('aim_gpu_tokens_total', { ...labels, kind: 'output' }, usage.outputTokens);
    if (usage.cachedTokens > 0)
      metrics.count('aim_gpu_tokens_total', { ...labels, kind: 'cached' }, usage.cachedTokens);
    const tpotMs = this.exchange.stream ? times.meanMs(usage.outputTokens) : null;
    if (tpotMs !== null) metrics.observe('aim_gpu_request_tpot_seconds', labels, tpotMs / 1000);
  }

  /** After the first byte there is no other engine to try: the stream says so and ends without [DONE]. */
  private breakOff(): Attempt {
    const { response, stream } = this.exchange;
    const error = toOpenAiError({
      status: 502,
      code: 'upstream_broken',
      type: 'server_error',
      message: 'The engine broke off in the middle of its answer.',
    });
    if (stream && !response.destroyed) response.end(`data: ${JSON.stringify(error.body)}\n\n`);
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

/** When tokens passed: the first and the last. */
class TokenTimes {
  private readonly clock: Clock;
  private first: number | null = null;
  private last = 0;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  note(): void {
    this.last = this.clock.monoMs();
    this.first ??= this.last;
  }

  /** (last − first) ÷ (tokens − 1); null for fewer than two tokens. */
  meanMs(tokens: number): number | null {
    return this.first === null || tokens < 2 ? null : (this.last - this.first) / (tokens - 1);
  }
}

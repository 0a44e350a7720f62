/**
 * One request from admission to its last byte: admit, send, try again before the first byte, pass bytes with
 * back-pressure. Owns that order and that each exchange ends once; who asks and for what was settled before, what an
 * answer's bytes mean is engine-answer.ts's.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Admission, Permit, RequestOutcome } from '@aim-gpu/qos';
import { pushAnswerHeaders } from './answer-headers.js';
import { EngineAnswer } from './engine-answer.js';
import type { EngineRecord } from './engine-trust.js';
import { EngineWait, type WaitOwner } from './engine-wait.js';
import { latenessOf } from './exchange-lateness.js';
import { recordExchange } from './exchange-records.js';
import type { ExchangeRequest, ExchangeTools } from './exchange-request.js';
import {
  type ExchangeState,
  type ExchangeView,
  instanceOf,
  toExchangeView,
} from './exchange-view.js';
import type { LiveExchange } from './live-exchanges.js';
import {
  engineSaidNo,
  internalError,
  modelUnavailable,
  type OpenAiError,
  refusalToOpenAi,
  streamBroken,
  upstreamFailed,
} from './openai-error.js';
import type { PreemptCall, Preemptible } from './preempt-calls.js';
import { refuse } from './refuse.js';
import type { RequestSeries } from './request-series.js';
import { isLastReady } from './served-models.js';
import type { UpstreamCall, UpstreamFailure, UpstreamReceiver } from './upstream.js';
import { upstreamRetryMs } from './upstream-retry.js';

/** A permit is told that its request is alive no more often than that. */
const TELL_MS = 1000;
const CLIENT_GONE = 499;
/** Tries in which an engine had the request, since it may be what they fail of; and tries that met no engine. */
const MOST_BROKEN = 2;
const MOST_UNREACHED = 2;
const WHOLE = { whole: true } as const;

/** An exchange under way. */
export class Exchange implements UpstreamReceiver, LiveExchange, Preemptible, WaitOwner {
  liveIndex: number = -1;
  // Not `#`: private names double the price of making what each request makes.
  private readonly tools: ExchangeTools;
  readonly request: ExchangeRequest;
  private readonly series: RequestSeries;
  private state: ExchangeState = 'waiting';
  private permit: Permit | null = null;
  private preempt: PreemptCall | null = null;
  private call: UpstreamCall | null = null;
  private wait: EngineWait | null = null;
  /** When the last engine that could have answered it was lost with it; null while there are others. */
  private lostMs: number | null = null;
  /** What to answer when there is no other try; null leaves it to the refusal. */
  private failure: OpenAiError | null = null;
  private answer: EngineAnswer | null = null;
  private tries: number = 0;
  /** The record of the engine that has it. */
  private engine: EngineRecord | null = null;
  /** Tries that failed, by whether an engine had the request. */
  private broken: number = 0;
  private unreached: number = 0;
  private sentMs: number = 0;
  private activeMs: number = 0;
  private toldMs: number = 0;

  constructor(tools: ExchangeTools, request: ExchangeRequest) {
    this.tools = tools;
    this.request = request;
    this.series = tools.series.of(request.admit);
  }

  /** Asks to be admitted, and goes on from there. */
  start(): void {
    const { qos, live, retries } = this.tools;
    live.add(this);
    retries.note(this.request.readMs);
    const admission = qos.tryAdmit(this.request.admit);
    if (admission !== null) {
      this.admitted(admission);
      return;
    }
    this.wait = new EngineWait(this.tools, this.request, this, null);
    this.wait.follow(qos.admit(this.request.admit, { signal: this.wait.signal }));
  }

  /** The client's connection has closed, whether or not it had its answer. */
  clientGone(): void {
    if (this.state === 'over') return;
    this.cancel();
    this.end(CLIENT_GONE, 'client_gone');
  }

  /** The client has read on. */
  drained(): void {
    this.activeMs = this.tools.clock.monoMs();
    this.call?.resume();
  }

  check(nowMs: number): void {
    if (this.state === 'over') return;
    if (this.state === 'waiting') {
      this.wait?.check();
      return;
    }
    const { request, sentMs, activeMs, answer } = this;
    const late = latenessOf({ request, sentMs, activeMs, hasAnswer: answer !== null }, nowMs);
    if (late === 'reader') {
      request.response.destroy();
      this.clientGone();
    } else if (late === 'idle' && !request.response.headersSent) {
      this.brokeOff(upstreamFailed('timeout'));
    } else if (late !== null) this.late();
  }

  view(nowMs: number): ExchangeView {
    const { request, permit, answer } = this;
    // Shown after its end only while its client still reads.
    const state = this.state === 'over' ? 'passing' : this.state;
    return toExchangeView({ request, state, permit, answer }, nowMs);
  }

  /** The engine that has it will not answer any more: another one may. */
  abandon(instance: string): void {
    if (this.state === 'sent' && this.answer === null && this.permit?.endpoint === instance)
      this.lost(upstreamFailed('timeout'));
  }

  began(status: number, headers: IncomingHttpHeaders): void {
    this.activeMs = this.tools.clock.monoMs();
    this.engine?.answered(this.activeMs);
    this.lostMs = null;
    if (status === 429 || status === 503) {
      const { suspendMs, mostSuspendMs } = this.request;
      const retryMs = upstreamRetryMs(headers);
      const holdMs = Math.min(mostSuspendMs, Math.max(suspendMs, retryMs ?? 0));
      this.broken += 1;
      this.another(upstreamFailed('refused', retryMs), holdMs);
      return;
    }
    if (status >= 300 && status < 400) {
      // There is nowhere to go on to: engines are the directory's to name.
      this.call?.cancel();
      this.sayNo(engineSaidNo(status, null, null));
      return;
    }
    this.answer = new EngineAnswer(status, headers, this.request);
  }

  data(chunk: Buffer): boolean {
    const { answer } = this;
    if (answer === null) return true;
    const now = this.tools.clock.monoMs();
    this.activeMs = now;
    if (now - this.toldMs > TELL_MS) {
      this.toldMs = now;
      this.permit?.usage({});
      this.engine?.answered(now);
    }
    const before = answer.events;
    const bytes = answer.push(chunk, now);
    if (answer.events > before) this.permit?.tokens(answer.events - before);
    if (bytes.length === 0) return true;
    const { response } = this.request;
    if (!response.headersSent && !this.begin(answer, null)) return false;
    return response.pass(bytes);
  }

  ended(): void {
    const { answer } = this;
    if (answer === null) return;
    const { response } = this.request;
    const isWhole = answer.tap === null;
    const rest = answer.end();
    if (!response.headersSent && !this.begin(answer, isWhole ? rest.length : null)) return;
    response.finish(rest);
    this.end(answer.status, outcomeOf(answer.status));
  }

  failed(failure: UpstreamFailure): void {
    this.tools.logger.warn('engine-unreachable', {
      instance: this.permit?.endpoint,
      requestId: this.request.requestId,
      code: failure.code,
    });
    if (this.request.response.headersSent) this.breakOff(502);
    else if (failure.kind === 'broken') this.lost(upstreamFailed('connect'));
    else {
      this.unreached += 1;
      this.another(upstreamFailed('connect'));
    }
  }

  /** The endpoint is needed for a higher band. */
  preempted(): void {
    // The engine is well, and what to answer is qos's to say.
    if (this.state === 'sent') this.again(null);
    else if (this.state === 'passing') {
      this.cancel();
      this.breakOff(503);
    }
  }

  /** Something here is wrong; the client gets an end all the same. */
  crash(error: unknown): void {
    this.tools.logger.error('exchange-failed', {
      requestId: this.request.requestId,
      message: error instanceof Error ? error.message : 'unknown',
    });
    if (this.state === 'over') return;
    this.cancel();
    const { response } = this.request;
    if (response.headersSent) response.destroy();
    else refuse(response, internalError(), this.answerHeaders([], null, 0));
    this.end(500, 'failed');
  }

  admitted(admission: Admission): void {
    if (this.state === 'over') {
      if (admission.ok) admission.permit.done('client_gone');
      return;
    }
    if (admission.ok) {
      this.send(admission.permit);
      return;
    }
    const headers = this.answerHeaders([], null, admission.queueMs);
    if (admission.reason === 'preempted') headers.push('x-qos-preempted', 'true');
    const error = this.failure ?? refusalToOpenAi(admission);
    this.permit = null;
    this.end(refuse(this.request.response, error, headers), 'refused');
  }

  unserved(retryAfterMs: number | null): void {
    this.sayNo(modelUnavailable(this.request.admit.model, retryAfterMs));
  }

  private send(permit: Permit): void {
    const { served, upstreams, clock } = this.tools;
    const { request } = this;
    this.wait = null;
    this.permit = permit;
    this.state = 'sent';
    const endpoint = served.find(request.admit.model)?.endpoints.get(permit.endpoint);
    if (endpoint === undefined) {
      this.unreached += 1;
      this.again(modelUnavailable(request.admit.model, null));
      return;
    }
    this.tries += 1;
    this.engine = this.tools.trust.of(permit.endpoint);
    this.sentMs = clock.monoMs();
    this.activeMs = this.sentMs;
    this.toldMs = this.sentMs;
    this.preempt ??= this.tools.preempts.lend(this);
    permit.onPreempt = this.preempt.ring;
    this.call = upstreams.send(endpoint.address, request, this);
  }

  /** The engine that had it is gone: another one answers or, when there is none, the next process of this one. */
  private lost(failure: OpenAiError): void {
    const { permit, tools, request } = this;
    const isLast =
      permit !== null && isLastReady(tools.served.find(request.admit.model), permit.endpoint);
    this.lostMs = isLast ? tools.clock.monoMs() : null;
    this.brokeOff(failure);
  }

  /** The engine had it and did not answer it. It is left alone when others fared like this one. */
  private brokeOff(failure: OpenAiError): void {
    this.broken += 1;
    const isBad = this.engine?.broke(this.request.requestId, this.tools.clock.monoMs());
    if (isBad === true) this.another(failure);
    else this.again(failure);
  }

  /** The engine answers nobody now: it is left alone for a while, and another one is tried. */
  private another(failure: OpenAiError, suspendMs: number = this.request.suspendMs): void {
    const { permit } = this;
    if (permit !== null) this.tools.qos.suspend(permit.endpoint, suspendMs);
    this.again(failure);
  }

  /** Nothing has reached the client: another engine may be tried, within reason. */
  private again(failure: OpenAiError | null): void {
    const { permit } = this;
    if (permit === null) return;
    this.call?.cancel();
    this.call = null;
    this.answer = null;
    this.failure = failure;
    if (failure !== null && !this.mayRepeat()) {
      this.sayNo(failure);
      return;
    }
    this.state = 'waiting';
    this.wait = new EngineWait(this.tools, this.request, this, this.lostMs);
    this.wait.follow(permit.retry({ signal: this.wait.signal }));
  }

  private mayRepeat(): boolean {
    if (this.broken >= MOST_BROKEN) return false;
    // Who waits for an engine to come back is no load on one that is there.
    if (this.lostMs !== null) return true;
    const { retries, clock } = this.tools;
    return this.unreached < MOST_UNREACHED && retries.take(clock.monoMs());
  }

  /** Headers go out with the first content, so that until then another engine may be tried. False: preempted. */
  private begin(answer: EngineAnswer, contentLength: number | null): boolean {
    const { response } = this.request;
    const { permit } = this;
    if (permit === null) return false;
    if (!permit.firstByte(answer.tap === null ? WHOLE : undefined)) {
      this.again(null);
      return false;
    }
    this.state = 'passing';
    const headers = answer.headersFor(contentLength);
    response.begin(answer.status, this.answerHeaders(headers, permit.endpoint, permit.queueMs));
    // One that is known in whole is written once; nothing waits for its client to read.
    if (contentLength === null) response.watchDrain();
    return true;
  }

  /** Too late for another engine: the client has waited long enough. */
  private late(): void {
    this.call?.cancel();
    const { response } = this.request;
    if (response.headersSent) {
      this.breakOff(504);
      return;
    }
    this.sayNo(upstreamFailed('timeout'));
  }

  /** Nothing has reached the client, and nothing will but this. */
  private sayNo(error: OpenAiError): void {
    const { permit, request, tools } = this;
    const queueMs = permit === null ? tools.clock.monoMs() - request.readMs : permit.queueMs;
    const headers = this.answerHeaders([], instanceOf(permit), queueMs);
    this.end(refuse(request.response, error, headers), 'failed');
  }

  /** After the first byte there is no other engine to try: a stream says so and ends without [DONE]. */
  private breakOff(code: 502 | 503 | 504): void {
    const { response } = this.request;
    if (this.answer?.tap != null && !response.destroyed)
      response.finish(Buffer.from(streamBroken(code)));
    else response.destroy();
    this.end(code, code === 503 ? 'preempted' : 'failed');
  }

  private cancel(): void {
    this.call?.cancel();
    this.wait?.cancel();
  }

  private end(code: number, outcome: RequestOutcome): void {
    if (this.state === 'over') return;
    this.state = 'over';
    const { tools, request, permit, answer, series, tries } = this;
    const durationMs = tools.clock.monoMs() - request.readMs;
    tools.live.remove(this);
    try {
      recordExchange(tools, { request, permit, answer, series, tries, code, durationMs });
    } finally {
      if (permit !== null) {
        permit.onPreempt = null;
        permit.done(outcome);
      }
    }
    if (this.preempt !== null) tools.preempts.takeBack(this.preempt);
    this.preempt = null;
    if (permit !== null && outcome === 'complete' && request.prefixes.length > 0)
      tools.affinity.note(request.prefixes, permit.endpoint);
    this.call = null;
    this.wait = null;
    this.engine = null;
  }

  /** With what every answer tells added. */
  private answerHeaders(headers: string[], instance: string | null, queueMs: number): string[] {
    return pushAnswerHeaders(headers, this.request, this.tools, { instance, queueMs });
  }
}

function outcomeOf(status: number): RequestOutcome {
  if (status < 400) return 'complete';
  return status < 500 ? 'invalid' : 'failed';
}

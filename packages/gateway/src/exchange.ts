/**
 * One request from admission to its last byte: admit, send, try again before the first byte, at the model's fallback too.
 * Owns that order and that each exchange ends once; who asks and for what was settled before, one try at one engine is
 * answer-passage.ts's.
 */
import type { Admission, Permit, RequestOutcome } from '@aim-gpu/qos';
import { pushAnswerHeaders } from './answer-headers.js';
import { AnswerPassage, type PassageOwner } from './answer-passage.js';
import { isStranded } from './engine-trust.js';
import { EngineWait, type WaitOwner } from './engine-wait.js';
import { ExchangeFailures } from './exchange-failures.js';
import { recordExchange } from './exchange-records.js';
import type { ExchangeRequest, ExchangeTools } from './exchange-request.js';
import { type ExchangeView, instanceOf, toExchangeView } from './exchange-view.js';
import type { LiveExchange } from './live-exchanges.js';
import {
  internalError,
  modelUnavailable,
  type OpenAiError,
  refusalToOpenAi,
  upstreamFailed,
} from './openai-error.js';
import type { PreemptCall, Preemptible } from './preempt-calls.js';
import { refuse } from './refuse.js';
import type { RequestSeries } from './request-series.js';
import { isLastReady } from './served-models.js';
import type { UpstreamFailure } from './upstream.js';

const CLIENT_GONE = 499;

/** An exchange under way. */
export class Exchange implements LiveExchange, Preemptible, WaitOwner, PassageOwner {
  liveIndex: number = -1;
  /** As its model gets it, or that model's fallback. */
  request: ExchangeRequest;
  // Not `#`: private names double the price of making what each request makes.
  private readonly tools: ExchangeTools;
  private series: RequestSeries;
  private isOver: boolean = false;
  private permit: Permit | null = null;
  private preempt: PreemptCall | null = null;
  private wait: EngineWait | null = null;
  /** The try under way or the last one; null while it waits for an engine. */
  private passage: AnswerPassage | null = null;
  private failures: ExchangeFailures | null = null;
  /** What to answer when there is no other try; null leaves it to the refusal. */
  private failure: OpenAiError | null = null;
  private tries: number = 0;

  constructor(tools: ExchangeTools, request: ExchangeRequest) {
    this.tools = tools;
    this.request = request;
    this.series = tools.series.of(request.admit);
  }

  /** Asks to be admitted, and goes on from there. */
  start(): void {
    const { live, retries } = this.tools;
    live.add(this);
    retries.note(this.request.readMs);
    this.admit();
  }

  /** The client's connection has closed, whether or not it had its answer. */
  clientGone(): void {
    if (this.isOver) return;
    this.cancel();
    this.end(CLIENT_GONE, 'client_gone');
  }

  /** The client has read on. */
  drained(): void {
    this.passage?.resume();
  }

  check(nowMs: number): void {
    if (this.isOver) return;
    const { passage, request } = this;
    if (passage === null) {
      if (!isStranded(this.request, this.tools, null) || !this.fallBack()) this.wait?.check();
      return;
    }
    const late = passage.lateness(nowMs);
    if (late === null) return;
    const { response } = request;
    if (late === 'reader') {
      response.destroy();
      this.clientGone();
    } else if (response.headersSent) passage.breakOff(504);
    else if (late === 'idle') this.brokeOff(upstreamFailed('timeout'));
    // Too late for another engine: the client has waited long enough.
    else this.senseless(upstreamFailed('timeout'));
  }

  view(nowMs: number): ExchangeView {
    const { request, permit, passage } = this;
    // After its end it is shown only while its client still reads.
    const isPassing = this.isOver || passage?.isPassing === true;
    const state = isPassing ? 'passing' : passage === null ? 'waiting' : 'sent';
    return toExchangeView({ request, state, permit, answer: passage?.answer ?? null }, nowMs);
  }

  /** The engine that has it will not answer any more: another one may. */
  abandon(instance: string): void {
    const { isOver, passage, permit } = this;
    if (isOver || passage === null || passage.answer !== null) return;
    if (permit?.endpoint === instance) this.lost(upstreamFailed('timeout'));
  }

  refused(retryMs: number | null): void {
    this.failing().refused();
    // Full is not away: its model has an engine, and others wait for it.
    this.again(upstreamFailed('refused', retryMs), false);
  }

  senseless(error: OpenAiError): void {
    this.passage?.cancel();
    this.sayNo(error);
  }

  failed({ kind }: UpstreamFailure): void {
    const failure = upstreamFailed('connect');
    if (kind === 'broken') {
      this.lost(failure);
      return;
    }
    this.failing().notReached();
    this.passage?.leaveEngine();
    this.again(failure, true);
  }

  /** The endpoint is needed for a higher band. */
  preempted(): void {
    if (this.isOver || this.passage === null) return;
    // The engine is well, and what to answer is qos's to say.
    if (this.passage.isPassing) this.passage.breakOff(503);
    else this.again(null, false);
  }

  /** Something here is wrong; the client gets an end all the same. */
  crash(error: unknown): void {
    this.tools.logger.error('exchange-failed', {
      requestId: this.request.requestId,
      message: error instanceof Error ? error.message : 'unknown',
    });
    if (this.isOver) return;
    this.cancel();
    const { response } = this.request;
    if (response.headersSent) response.destroy();
    else refuse(response, internalError(), this.answerHeaders([], null, 0));
    this.end(500, 'failed');
  }

  admitted(admission: Admission): void {
    this.wait = null;
    if (admission.ok) {
      this.send(admission.permit);
      return;
    }
    this.permit = null;
    if (admission.reason === 'no_endpoint' && this.fallBack()) return;
    const headers = this.answerHeaders([], null, admission.queueMs);
    if (admission.reason === 'preempted') headers.push('x-qos-preempted', 'true');
    const error = this.failure ?? refusalToOpenAi(admission);
    this.end(refuse(this.request.response, error, headers), 'refused');
  }

  unserved(retryAfterMs: number | null): void {
    if (this.fallBack()) return;
    this.sayNo(modelUnavailable(this.request.admit.model, retryAfterMs));
  }

  private admit(): void {
    const { tools, request } = this;
    const admission = tools.qos.tryAdmit(request.admit);
    if (admission !== null) {
      this.admitted(admission);
      return;
    }
    if (isStranded(this.request, this.tools, null) && this.fallBack()) return;
    this.wait = new EngineWait(tools, request, this, null);
    this.wait.follow(tools.qos.admit(request.admit, { signal: this.wait.signal }));
  }

  private send(permit: Permit): void {
    const { tools, request } = this;
    this.permit = permit;
    this.passage = new AnswerPassage(this, tools, request, permit);
    const endpoint = tools.served.find(request.admit.model)?.endpoints.get(permit.endpoint);
    if (endpoint === undefined) {
      this.failing().notReached();
      this.again(modelUnavailable(request.admit.model, null), true);
      return;
    }
    this.tries += 1;
    this.preempt ??= tools.preempts.lend(this);
    permit.onPreempt = this.preempt.ring;
    this.passage.send(endpoint.address, this.tries > 1);
  }

  /** The engine that had it is gone: another one answers or, when there is none, the next process of this one. */
  private lost(failure: OpenAiError): void {
    const { permit, tools, request } = this;
    const isLast =
      permit !== null && isLastReady(tools.served.find(request.admit.model), permit.endpoint);
    this.failing().lostMs = isLast ? tools.clock.monoMs() : null;
    this.brokeOff(failure);
  }

  /** The engine had it and did not answer it. */
  private brokeOff(failure: OpenAiError): void {
    this.failing().brokeOff();
    this.passage?.brokeOff();
    this.again(failure, true);
  }

  /** Nothing has reached the client: another engine may be tried, within reason. */
  private again(failure: OpenAiError | null, isAway: boolean): void {
    const { permit, tools, failures } = this;
    if (permit === null) return;
    this.passage?.cancel();
    this.passage = null;
    this.failure = failure;
    if (isAway && isStranded(this.request, tools, permit.endpoint) && this.fallBack()) return;
    if (failure !== null && failures?.mayRepeat(tools.retries, tools.clock.monoMs()) !== true) {
      if (!isAway || !this.fallBack()) this.sayNo(failure);
      return;
    }
    this.wait = new EngineWait(tools, this.request, this, failures?.lostMs ?? null);
    this.wait.follow(permit.retry({ signal: this.wait.signal }));
  }

  /** Its model cannot answer it: its fallback does. False when there is none that could. */
  private fallBack(): boolean {
    const { tools, permit, failures } = this;
    const next = failures?.isHarmless === false ? null : (this.request.fallback?.take() ?? null);
    if (next === null) return false;
    this.cancel();
    if (permit !== null) {
      permit.onPreempt = null;
      // What was not answered costs its tenant nothing.
      permit.usage({ promptTokens: 0, outputTokens: 0 });
      permit.done('failed');
    }
    this.permit = null;
    this.passage = null;
    if (failures !== null) failures.lostMs = null;
    this.request = next;
    this.series = tools.series.of(next.admit);
    this.admit();
    return true;
  }

  private failing(): ExchangeFailures {
    this.failures ??= new ExchangeFailures();
    return this.failures;
  }

  /** Nothing has reached the client, and nothing will but this. */
  private sayNo(error: OpenAiError): void {
    const { permit, request, tools } = this;
    const queueMs = permit === null ? tools.clock.monoMs() - request.readMs : permit.queueMs;
    const headers = this.answerHeaders([], instanceOf(permit), queueMs);
    this.end(refuse(request.response, error, headers), 'failed');
  }

  private cancel(): void {
    this.passage?.cancel();
    this.wait?.cancel();
    this.wait = null;
  }

  /** Once; whatever comes later finds it over. */
  end(code: number, outcome: RequestOutcome): void {
    if (this.isOver) return;
    this.isOver = true;
    const { tools, request, permit, series, tries } = this;
    const answer = this.passage?.answer ?? null;
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
    this.wait = null;
  }

  /** With what every answer tells added. */
  private answerHeaders(headers: string[], instance: string | null, queueMs: number): string[] {
    return pushAnswerHeaders(headers, this.request, this.tools, { instance, queueMs });
  }
}

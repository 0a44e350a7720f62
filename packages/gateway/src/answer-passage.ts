/**
 * One try at one engine: the request goes there, and what comes back goes to the client with back-pressure. Owns what is
 * passed on and that headers wait for the first content; what follows from a try that failed is the exchange's.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { EndpointAddress } from '@aim-gpu/core';
import type { Permit, RequestOutcome } from '@aim-gpu/qos';
import { pushAnswerHeaders } from './answer-headers.js';
import { EngineAnswer } from './engine-answer.js';
import type { EngineRecord } from './engine-trust.js';
import { type Lateness, latenessOf } from './exchange-lateness.js';
import type { ExchangeRequest, ExchangeTools } from './exchange-request.js';
import { engineSaidNo, type OpenAiError, streamBroken } from './openai-error.js';
import type { UpstreamCall, UpstreamFailure, UpstreamReceiver } from './upstream.js';
import { upstreamRetryMs } from './upstream-retry.js';

/** Who is told what became of it; but for the last one nothing has reached the client then. */
export interface PassageOwner {
  /** The engine is full; when it wants to be asked again, if it says so. */
  refused(retryMs: number | null): void;
  /** What it said is no answer, and another engine would hardly say better. */
  senseless(error: OpenAiError): void;
  /** It was not reached, or broke off. */
  failed(failure: UpstreamFailure): void;
  /** Its place went to a higher band just before the first byte. */
  preempted(): void;
  /** The client has what it will have. */
  end(code: number, outcome: RequestOutcome): void;
}

/** A permit is told that its request is alive no more often than that. */
const TELL_MS = 1000;
const WHOLE = { whole: true } as const;
const NOTHING = Buffer.alloc(0);

/** One try. */
export class AnswerPassage implements UpstreamReceiver {
  answer: EngineAnswer | null = null;
  /** Whether the client has begun to get it. */
  isPassing: boolean = false;
  private readonly engine: EngineRecord;
  private readonly owner: PassageOwner;
  private readonly tools: ExchangeTools;
  private readonly request: ExchangeRequest;
  private readonly permit: Permit;
  private call: UpstreamCall | null = null;
  private readonly sentMs: number;
  private activeMs: number;
  private toldMs: number;

  constructor(owner: PassageOwner, tools: ExchangeTools, request: ExchangeRequest, permit: Permit) {
    this.owner = owner;
    this.tools = tools;
    this.request = request;
    this.permit = permit;
    this.engine = tools.trust.of(permit.endpoint);
    this.sentMs = tools.clock.monoMs();
    this.activeMs = this.sentMs;
    this.toldMs = this.sentMs;
  }

  /** Begins; `isAgain` when an engine may have had the request before. */
  send(address: EndpointAddress, isAgain: boolean): void {
    this.call = this.tools.upstreams.send(address, this.request, this, isAgain);
  }

  /** The client has read on. */
  resume(): void {
    this.activeMs = this.tools.clock.monoMs();
    this.call?.resume();
  }

  cancel(): void {
    this.call?.cancel();
    this.call = null;
  }

  /** The engine answers nobody now: it is left alone for a while. */
  leaveEngine(): void {
    const { tools, permit, request, engine } = this;
    tools.qos.suspend(permit.endpoint, request.suspendMs);
    engine.leaveAlone(tools.clock.monoMs() + request.suspendMs);
  }

  /** The engine had the request and did not answer it. It is left alone when others fared like this one. */
  brokeOff(): void {
    const { tools, request, engine } = this;
    if (engine.broke(request.requestId, tools.clock.monoMs())) this.leaveEngine();
  }

  /** Null while nobody is late. */
  lateness(nowMs: number): Lateness | null {
    const { request, sentMs, activeMs, answer } = this;
    return latenessOf({ request, sentMs, activeMs, hasAnswer: answer !== null }, nowMs);
  }

  began(status: number, headers: IncomingHttpHeaders): void {
    this.activeMs = this.tools.clock.monoMs();
    this.engine.answered(this.activeMs);
    if (status === 429 || status === 503) this.engineIsFull(upstreamRetryMs(headers));
    // There is nowhere to go on to: engines are the directory's to name.
    else if (status >= 300 && status < 400) this.owner.senseless(engineSaidNo(status, null, null));
    else this.answer = new EngineAnswer(status, headers, this.request);
  }

  data(chunk: Buffer): boolean {
    const { answer } = this;
    if (answer === null) return true;
    const now = this.tools.clock.monoMs();
    this.activeMs = now;
    if (now - this.toldMs > TELL_MS) {
      this.toldMs = now;
      this.permit.usage({});
      this.engine.answered(now);
    }
    const before = answer.events;
    const bytes = answer.push(chunk, now);
    if (answer.events > before) this.permit.tokens(answer.events - before);
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
    this.owner.end(answer.status, outcomeOf(answer.status));
  }

  failed(failure: UpstreamFailure): void {
    this.tools.logger.warn('engine-unreachable', {
      instance: this.permit.endpoint,
      requestId: this.request.requestId,
      code: failure.code,
    });
    if (this.request.response.headersSent) this.breakOff(502);
    else this.owner.failed(failure);
  }

  /** After the first byte there is no other engine to try: a stream says so and ends without [DONE]. */
  breakOff(code: 502 | 503 | 504): void {
    this.cancel();
    const { response } = this.request;
    if (this.answer?.tap != null && !response.destroyed)
      response.finish(Buffer.from(streamBroken(code)));
    else response.destroy();
    this.owner.end(code, code === 503 ? 'preempted' : 'failed');
  }

  /** It is asked again when it wants to be, within bounds. */
  private engineIsFull(retryMs: number | null): void {
    const { suspendMs, mostSuspendMs } = this.request;
    const holdMs = Math.min(mostSuspendMs, Math.max(suspendMs, retryMs ?? 0));
    this.tools.qos.suspend(this.permit.endpoint, holdMs);
    this.owner.refused(retryMs);
  }

  /** Headers go out with the first content, so that until then another engine may be tried. False: preempted. */
  private begin(answer: EngineAnswer, contentLength: number | null): boolean {
    const { permit, request } = this;
    if (!permit.firstByte(answer.tap === null ? WHOLE : undefined)) {
      this.owner.preempted();
      return false;
    }
    this.isPassing = true;
    // Nobody else is asked from here on.
    request.body = NOTHING;
    request.fallback = null;
    request.holder.letGoOfBody();
    const about = { instance: permit.endpoint, queueMs: permit.queueMs };
    const headers = pushAnswerHeaders(answer.headersFor(contentLength), request, this.tools, about);
    const { response } = request;
    response.begin(answer.status, headers);
    // One that is known in whole is written once; nothing waits for its client to read.
    if (contentLength === null) response.watchDrain();
    return true;
  }
}

function outcomeOf(status: number): RequestOutcome {
  if (status < 400) return 'complete';
  return status < 500 ? 'invalid' : 'failed';
}

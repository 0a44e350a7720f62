/**
 * One request of the public face with what is open for it: its answer, its tenant's place, its wait for a model, its
 * exchange. Owns that all of it ends with the connection, and the way to say no before admission.
 */
import type { IncomingMessage } from 'node:http';
import type { Band, IdSource } from '@aim-gpu/core';
import type { BandTimeouts } from './band-timeouts.js';
import {
  type BodyBounds,
  type BodyBudget,
  type HeldOver,
  SMALL_BODY_BYTES,
} from './body-budget.js';
import type { CallerMemo } from './caller-memo.js';
import type { ClientResponse, ResponseOwner } from './client-response.js';
import type { Exchange } from './exchange.js';
import type { ExchangeTools } from './exchange-request.js';
import type { OpenAnswers } from './open-answers.js';
import { internalError, type OpenAiError } from './openai-error.js';
import { type KnownOfRequest, recordRefusal } from './refusal-records.js';
import { refuse } from './refuse.js';
import type { BodyHolder } from './request-body.js';
import type { TenantTraffic } from './tenant-traffic.js';
import type { ResolvedTenants } from './tenants.js';
import { UnreadAnswer } from './unread-answer.js';

/** What the handler works with. */
export interface HandlerTools extends ExchangeTools {
  readonly tenants: ResolvedTenants;
  readonly callers: CallerMemo;
  readonly traffic: TenantTraffic;
  readonly answers: OpenAnswers;
  readonly bodies: BodyBudget;
  readonly ids: IdSource;
  readonly isDraining: () => boolean;
  /** Whether only this machine reaches it. */
  readonly isLocal: boolean;
  readonly limits: RequestLimits;
  readonly timeouts: Readonly<Record<Band, BandTimeouts>>;
}

/** Bounds of one request, and of the bodies of all. */
export interface RequestLimits extends BodyBounds {
  readonly maxBodyBytes: number;
  /** Longest path with its query. */
  readonly maxUrlBytes: number;
  /** Longest time a client may take to send its headers; 408 after that. */
  readonly headersMs: number;
  /** Longest time a client may take to send its whole request; 408 after that. */
  readonly requestMs: number;
  /**
   * Longest wait for a model that has no ready instance now, from the request or from the moment its engine was lost,
   * and longest time an engine's own `retry-after` counts.
   */
  readonly holdMs: number;
  /** Requests that one tenant may have open at the same time, streams and waiting ones. */
  readonly maxOpenPerTenant: number;
  /** How long an engine that could not be reached is left alone. */
  readonly suspendMs: number;
}

const CLIENT_GONE = 499;
/** Answers to requests whose rest cannot be told from the next one. */
const ENDS_CONNECTION: ReadonlySet<number> = new Set([413, 415, 417]);

/** One request, with what is open for it. */
export class Incoming implements ResponseOwner, BodyHolder {
  readonly request: IncomingMessage;
  readonly response: ClientResponse;
  readonly requestId: string;
  /** Whose place among the open requests it takes; null before it is known. */
  tenant: string | null = null;
  /** Ends the wait for a model. */
  hold: AbortController | null = null;
  exchange: Exchange | null = null;
  private rest: UnreadAnswer | null = null;
  /** What its body counts as. */
  private bodyBytes: number = 0;
  private readonly tools: HandlerTools;

  constructor(tools: HandlerTools, request: IncomingMessage, response: ClientResponse) {
    this.tools = tools;
    this.request = request;
    this.response = response;
    this.requestId = tools.ids.next();
    tools.answers.opened();
    response.own(this);
  }

  closed(): void {
    const { tools, tenant, exchange } = this;
    tools.answers.closed();
    if (tenant !== null) tools.traffic.closed(tenant);
    this.letGoOfBody();
    this.hold?.abort();
    exchange?.clientGone();
    this.exchange = null;
    if (this.rest !== null) tools.live.remove(this.rest);
  }

  unread(): void {
    const { tools, response, exchange } = this;
    const nowMs = tools.clock.monoMs();
    const { timeouts, readMs } = exchange?.request ?? {
      timeouts: tools.timeouts.standard,
      readMs: nowMs,
    };
    this.rest = new UnreadAnswer({ response, timeouts, sinceMs: readMs, nowMs, exchange });
    tools.live.add(this.rest);
  }

  drained(): void {
    this.exchange?.drained();
  }

  holdBody(bytes: number): HeldOver | null {
    const { tools, tenant, bodyBytes } = this;
    if (tenant === null || bytes <= SMALL_BODY_BYTES) return null;
    const over = tools.bodies.resize(tenant, bodyBytes, bytes);
    if (over === null) this.bodyBytes = bytes;
    return over;
  }

  /** Nobody needs its body any more. Idempotent. */
  letGoOfBody(): void {
    const { tools, tenant, bodyBytes } = this;
    if (tenant === null || bodyBytes === 0) return;
    this.bodyBytes = 0;
    tools.bodies.resize(tenant, bodyBytes, 0);
  }

  /** Says no before admission, and writes it down. */
  reject(error: OpenAiError, known: KnownOfRequest = {}): void {
    const { tools, request, response, requestId } = this;
    this.letGoOfBody();
    const reason = error.body.error.code ?? 'bad_request';
    recordRefusal(tools, { request, requestId, code: error.status, reason, known });
    const headers = ['x-request-id', requestId];
    if (known.band !== undefined) headers.push('x-aim-band', known.band);
    if (known.queueMs !== undefined) headers.push('x-aim-queue-ms', known.queueMs.toFixed(1));
    // What is left of a body that nobody reads would be taken for the next request. Node reads on and forgets one that
    // was not begun, but not one whose reading was stopped.
    const isStopped = request.readableFlowing === false;
    if (ENDS_CONNECTION.has(error.status) || isStopped) headers.push('connection', 'close');
    refuse(response, error, headers);
  }

  /** Its client has left before it was admitted. */
  abandoned(known: KnownOfRequest): void {
    const { tools, request, requestId } = this;
    recordRefusal(tools, { request, requestId, code: CLIENT_GONE, reason: null, known });
  }

  /** Something here is wrong; the client gets an end all the same. */
  fail(error: unknown): void {
    this.tools.logger.error('request-failed', {
      requestId: this.requestId,
      message: error instanceof Error ? error.message : 'unknown',
    });
    this.reject(internalError());
  }
}

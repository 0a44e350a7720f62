/**
 * From a body to an exchange: what is asked, of which model, in which band, on whose account. Everything that is settled
 * between the path and the admission; owns no connection.
 */
import type { IncomingMessage } from 'node:http';
import { chooseBand } from './band-choice.js';
import { Exchange } from './exchange.js';
import { forwardedHeaders } from './header-hygiene.js';
import type { HandlerTools, Incoming } from './incoming.js';
import {
  badRequest,
  bodiesFull,
  modelNotFound,
  modelUnavailable,
  retryShed,
} from './openai-error.js';
import { readBody } from './request-body.js';
import { type RequestFacts, readFacts, toEngineBody, toPrompt } from './request-facts.js';
import type { Served } from './served-models.js';
import type { Caller } from './tenants.js';
import { continueTrace } from './trace-context.js';

/** A request whose body was understood. */
interface Understood {
  readonly caller: Caller;
  /** Without its query, which may hold what no log should. */
  readonly path: string;
  readonly facts: RequestFacts;
  readonly readMs: number;
  readonly asked: Served;
}

/** Reads the body of a request for an answer and goes on from there. */
export function generate(
  tools: HandlerTools,
  incoming: Incoming,
  caller: Caller,
  path: string,
): void {
  const { maxBodyBytes } = tools.limits;
  readBody(incoming.request, { maxBytes: maxBodyBytes, holder: incoming }, (read) => {
    if (typeof read === 'string') {
      const message = `the body is larger than ${maxBodyBytes} bytes`;
      const error =
        read === 'too-large'
          ? badRequest(message, { status: 413, code: 'request_too_large' })
          : bodiesFull(read);
      incoming.reject(error, { tenant: caller.name });
      return;
    }
    try {
      understand(tools, incoming, caller, path, read);
    } catch (error) {
      incoming.fail(error);
    }
  });
}

function understand(
  tools: HandlerTools,
  incoming: Incoming,
  caller: Caller,
  path: string,
  body: Buffer,
): void {
  const readMs = tools.clock.monoMs();
  const facts = readFacts(body, { path });
  if ('status' in facts) {
    incoming.reject(facts, { tenant: caller.name });
    return;
  }
  const asked = tools.served.find(facts.model);
  if (asked === undefined) {
    incoming.reject(modelNotFound(facts.model), { tenant: caller.name });
    return;
  }
  const understood = { caller, path, facts, readMs, asked };
  if (asked.ready > 0) {
    begin(tools, incoming, understood, asked);
    return;
  }
  const fallback =
    asked.model.fallback === null ? undefined : tools.served.find(asked.model.fallback);
  if (fallback !== undefined && fallback.ready > 0) begin(tools, incoming, understood, fallback);
  else waitForModel(tools, incoming, understood);
}

function waitForModel(tools: HandlerTools, incoming: Incoming, understood: Understood): void {
  const { caller, facts, readMs, asked } = understood;
  const wait = new AbortController();
  incoming.hold = wait;
  tools.holds
    .hold({ model: asked.model.workload, sinceMs: readMs, wait })
    .then((outcome) => {
      incoming.hold = null;
      if (outcome === 'ready') return begin(tools, incoming, understood, asked);
      const error = modelUnavailable(facts.model, outcome.retryAfterMs);
      const band = chooseBand(incoming.request.headers, facts.serviceTier, caller, asked.model);
      incoming.reject(error, { tenant: caller.name, model: asked.model.workload, band });
    })
    .catch((error: unknown) => incoming.fail(error));
}

function begin(
  tools: HandlerTools,
  incoming: Incoming,
  { caller, path, facts, readMs, asked }: Understood,
  { model, ready }: Served,
): void {
  const { request, response, requestId } = incoming;
  const { headers } = request;
  const { limits } = tools;
  const band = chooseBand(headers, facts.serviceTier, caller, model);
  if (!mayRepeat(tools, caller, headers, readMs)) {
    incoming.reject(retryShed(1000), { tenant: caller.name, model: model.workload, band });
    return;
  }
  const accounts = caller.accounts(model);
  const prefixes = ready > 1 ? tools.affinity.digest(model.workload, toPrompt(facts)) : NO_PREFIXES;
  const trace = continueTrace(header(headers['traceparent']), requestId);
  const forwarded = forwardedHeaders(headers);
  forwarded.push('x-request-id', requestId, 'traceparent', trace.traceparent);
  const { maxModelLen } = model;
  // Each prompt is a sequence of its own, and no sequence goes beyond the model's context.
  const sequences = facts.prompts * facts.answers;
  const most = facts.maxOutputTokens;
  const exchange = new Exchange(tools, {
    response,
    requestId,
    traceId: trace.traceId,
    readMs,
    method: request.method ?? 'POST',
    path: request.url ?? path,
    headers: forwarded,
    admit: {
      tenant: caller.name,
      model: model.workload,
      band,
      promptTokens: Math.min(facts.promptTokens, maxModelLen * facts.prompts),
      leastPromptTokens: facts.leastPromptTokens,
      leastTokensOfOne: facts.leastTokensOfOne,
      maxOutputTokens: most === null ? null : Math.min(most, maxModelLen) * sequences,
      answers: sequences,
      weight: caller.weight,
      limits: accounts,
      bytes: facts.body.length,
      ttftMs: toMs(headers['x-aim-ttft-ms']),
      deadlineMs: toMs(headers['x-aim-deadline-ms']),
      origin: path,
      affinity: prefixes.length > 0 ? tools.affinity.find(prefixes) : null,
    },
    accounts,
    prefixes,
    body: toEngineBody(facts, { model: model === asked.model ? null : model.workload }),
    stripUsage: facts.addUsage,
    mostTokens: maxModelLen * sequences,
    timeouts: tools.timeouts[band],
    suspendMs: limits.suspendMs,
    mostSuspendMs: Math.max(limits.suspendMs, limits.holdMs),
  });
  incoming.exchange = exchange;
  exchange.start();
  // It may have hung up while its model was waited for; then no event tells any more.
  if (response.destroyed) exchange.clientGone();
}

/** Whether a request may go on: repeats of a tenant with too many of them wait for nobody's first try. */
function mayRepeat(
  { traffic, qos }: HandlerTools,
  caller: Caller,
  headers: IncomingMessage['headers'],
  readMs: number,
): boolean {
  const repeats = headers['x-stainless-retry-count'];
  if (repeats === undefined || !(Number(repeats) > 0)) {
    traffic.first(caller.name, readMs);
    return true;
  }
  return traffic.mayRepeat(caller.name, readMs) || qos.waiting === 0;
}

const NO_PREFIXES: readonly string[] = [];

function header(value: string | string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** A header that is no time is ignored: a client's wish must not cost it the answer. */
function toMs(value: string | string[] | undefined): number | null {
  if (typeof value !== 'string') return null;
  const ms = Number(value);
  return Number.isFinite(ms) && ms > 0 ? ms : null;
}

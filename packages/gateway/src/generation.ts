/**
 * From a body to an exchange: what is asked, of which model, and who answers it when that one is away. Everything that
 * is settled between the path and the admission; owns no connection.
 */
import type { IncomingMessage } from 'node:http';
import { chooseBand } from './band-choice.js';
import { Exchange } from './exchange.js';
import { fallbackOf, toExchangeRequest, type Understood } from './exchange-preparation.js';
import type { HandlerTools, Incoming } from './incoming.js';
import type { HoldOutcome } from './model-hold.js';
import {
  badRequest,
  bodiesFull,
  modelNotFound,
  modelUnavailable,
  retryShed,
} from './openai-error.js';
import { readBody } from './request-body.js';
import { readFacts } from './request-facts.js';
import type { Served } from './served-models.js';
import type { Caller } from './tenants.js';

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
  const fallback = fallbackOf(tools, asked);
  if (fallback !== undefined && fallback.ready > 0) begin(tools, incoming, understood, fallback);
  else waitForModel(tools, incoming, understood, fallback);
}

function waitForModel(
  tools: HandlerTools,
  incoming: Incoming,
  understood: Understood,
  fallback: Served | undefined,
): void {
  const { caller, facts, readMs, asked } = understood;
  const wait = new AbortController();
  incoming.hold = wait;
  // A model that is parked is woken; nobody else has to be for it.
  const isWoken = asked.model.parked === true && fallback?.model.parked === true;
  const candidates = fallback === undefined || isWoken ? [asked] : [asked, fallback];
  firstReady(tools, candidates, readMs, wait)
    .then((outcome) => {
      incoming.hold = null;
      if ('model' in outcome) return begin(tools, incoming, understood, outcome);
      const { model } = asked;
      const band = chooseBand(incoming.request.headers, facts.serviceTier, caller, model);
      const queueMs = tools.clock.monoMs() - readMs;
      const known = { tenant: caller.name, model: model.workload, band, queueMs };
      if (incoming.response.destroyed) incoming.abandoned(known);
      else incoming.reject(modelUnavailable(facts.model, outcome.retryAfterMs), known);
    })
    .catch((error: unknown) => incoming.fail(error))
    .finally(() => wait.abort());
}

/** Holds a request for several models; whichever is ready first, or what became of the wait for the first one. */
function firstReady(
  { holds, served }: HandlerTools,
  candidates: readonly Served[],
  sinceMs: number,
  wait: AbortController,
): Promise<Served | Exclude<HoldOutcome, 'ready'>> {
  return new Promise((resolve, reject) => {
    const ended = candidates.map(async (candidate) => {
      const outcome = await holds.hold({ model: candidate.model.workload, sinceMs, wait });
      if (outcome === 'ready') resolve(served.find(candidate.model.workload) ?? candidate);
      return outcome;
    });
    Promise.all(ended).then(([first]) => {
      if (first !== undefined && first !== 'ready') resolve(first);
    }, reject);
  });
}

function begin(
  tools: HandlerTools,
  incoming: Incoming,
  understood: Understood,
  served: Served,
): void {
  const { caller, facts, readMs } = understood;
  const { headers } = incoming.request;
  if (!mayRepeat(tools, caller, headers, readMs)) {
    const { model } = served;
    const band = chooseBand(headers, facts.serviceTier, caller, model);
    incoming.reject(retryShed(1000), { tenant: caller.name, model: model.workload, band });
    return;
  }
  const exchange = new Exchange(tools, toExchangeRequest(tools, incoming, understood, served));
  incoming.exchange = exchange;
  exchange.start();
  // It may have hung up while its model was waited for; then no event tells any more.
  if (incoming.response.destroyed) exchange.clientGone();
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

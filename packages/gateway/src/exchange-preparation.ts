/**
 * What is asked of an engine for a request that was understood: its admission, its headers, the engine's copy of its
 * body; of the model it asked for, or of that model's fallback. Settles it all before the admission; sends nothing.
 */
import { chooseBand } from './band-choice.js';
import type { ExchangeRequest, RequestFallback } from './exchange-request.js';
import { forwardedHeaders } from './header-hygiene.js';
import type { HandlerTools, Incoming } from './incoming.js';
import { type RequestFacts, toEngineBody, toPrompt } from './request-facts.js';
import type { Served } from './served-models.js';
import type { Caller } from './tenants.js';
import { continueTrace } from './trace-context.js';

/** A request whose body was understood. */
export interface Understood {
  readonly caller: Caller;
  /** Without its query, which may hold what no log should. */
  readonly path: string;
  readonly facts: RequestFacts;
  readonly readMs: number;
  readonly asked: Served;
}

/** The fallback of a model; undefined when it has none that is served. */
export function fallbackOf(
  { served }: Pick<HandlerTools, 'served'>,
  { model }: Served,
): Served | undefined {
  return model.fallback === null ? undefined : served.find(model.fallback);
}

/** A request as an engine of this model gets it. */
export function toExchangeRequest(
  tools: HandlerTools,
  incoming: Incoming,
  understood: Understood,
  { model, ready }: Served,
): ExchangeRequest {
  const { caller, path, facts, readMs, asked } = understood;
  const { request, response, requestId } = incoming;
  const { headers } = request;
  const { limits } = tools;
  const band = chooseBand(headers, facts.serviceTier, caller, model);
  const accounts = caller.accounts(model);
  const prefixes = ready > 1 ? tools.affinity.digest(model.workload, toPrompt(facts)) : NO_PREFIXES;
  const trace = continueTrace(header(headers['traceparent']), requestId);
  const forwarded = forwardedHeaders(headers);
  forwarded.push('x-request-id', requestId, 'traceparent', trace.traceparent);
  const { maxModelLen } = model;
  // Each prompt is a sequence of its own, and no sequence goes beyond the model's context.
  const sequences = facts.prompts * facts.answers;
  const most = facts.maxOutputTokens;
  const isAsked = model.workload === asked.model.workload;
  return {
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
    body: toEngineBody(facts, { model: isAsked ? null : model.workload }),
    holder: incoming,
    stripUsage: facts.addUsage,
    mostTokens: maxModelLen * sequences,
    timeouts: tools.timeouts[band],
    suspendMs: limits.suspendMs,
    mostSuspendMs: Math.max(limits.suspendMs, limits.holdMs),
    fallback:
      isAsked && model.fallback !== null ? new FallbackRequest(tools, incoming, understood) : null,
  };
}

/** A request as its model's fallback gets it, made when it comes to that. */
class FallbackRequest implements RequestFallback {
  private readonly tools: HandlerTools;
  private readonly incoming: Incoming;
  private readonly understood: Understood;

  constructor(tools: HandlerTools, incoming: Incoming, understood: Understood) {
    this.tools = tools;
    this.incoming = incoming;
    this.understood = understood;
  }

  take(): ExchangeRequest | null {
    const { tools, incoming, understood } = this;
    const served = fallbackOf(tools, understood.asked);
    return served === undefined || served.ready === 0
      ? null
      : toExchangeRequest(tools, incoming, understood, served);
  }
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

/**
 * The public face: paths, identity, body, model, band — everything that is settled before admission.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  AimError,
  BANDS,
  type Band,
  type EndpointDirectory,
  type IdSource,
  type ServedModel,
} from '@aim-gpu/core';
import { type AdmitRequest, lowerToAllowed } from '@aim-gpu/qos';
import { type ExchangeTools, refuse, runExchange } from './exchange.js';
import { findModel, listModels } from './model-names.js';
import {
  badRequest,
  internalError,
  invalidApiKey,
  modelNotFound,
  modelUnavailable,
  type OpenAiError,
  refusalToOpenAi,
  unknownPath,
} from './openai-error.js';
import { readBody } from './request-body.js';
import { type RequestFacts, readFacts, toEngineBody } from './request-facts.js';
import { type Caller, identify, type ResolvedTenants } from './tenants.js';

/** What the handler works with. */
export interface HandlerTools extends ExchangeTools {
  readonly tenants: ResolvedTenants;
  readonly ids: IdSource;
  readonly startedSeconds: number;
  readonly isDraining: () => boolean;
  readonly limits: RequestLimits;
}

/** Bounds of one request. */
export interface RequestLimits {
  readonly maxBodyBytes: number;
  /** Longest wait for a model that has no ready instance now. */
  readonly holdMs: number;
}

const TIERS: Readonly<Record<string, Band>> = {
  priority: 'interactive',
  default: 'standard',
  flex: 'batch',
};

/** Handles one request of the public face. Never throws. */
export async function handleRequest(
  tools: HandlerTools,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const requestId = tools.ids.next();
  response.setHeader('x-request-id', requestId);
  try {
    await route(tools, { request, response, requestId });
  } catch (error) {
    tools.logger.error('request-failed', {
      requestId,
      message: error instanceof Error ? error.message : 'unknown',
    });
    refuse(response, internalError());
  }
}

interface Incoming {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly requestId: string;
}

async function route(tools: HandlerTools, incoming: Incoming): Promise<void> {
  const { request, response } = incoming;
  const method = request.method ?? 'GET';
  const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
  if (!path.startsWith('/v1/')) return end(response, unknownPath(method, path));
  const caller = identify(tools.tenants, request.headers.authorization);
  if (caller === null)
    return end(response, invalidApiKey(request.headers.authorization !== undefined));
  if (method === 'GET' && path === '/v1/models') return models(tools, response);
  if (method === 'GET' && path.startsWith('/v1/models/')) return oneModel(tools, response, path);
  if (method !== 'POST') return end(response, unknownPath(method, path));
  if (tools.isDraining()) {
    const draining = {
      ok: false,
      reason: 'draining',
      retryAfterMs: 1000,
      message: 'The gateway is stopping.',
      account: null,
      queueMs: 0,
    } as const;
    return end(response, refusalToOpenAi(draining));
  }
  return generate(tools, incoming, caller);
}

function end(response: ServerResponse, error: OpenAiError): void {
  refuse(response, error);
}

function models(tools: HandlerTools, response: ServerResponse): void {
  answer(response, { object: 'list', data: listModels(tools.directory, tools.startedSeconds) });
}

function oneModel(tools: HandlerTools, response: ServerResponse, path: string): void {
  const id = decode(path.slice('/v1/models/'.length));
  const entry = listModels(tools.directory, tools.startedSeconds).find((model) => model.id === id);
  if (entry === undefined) end(response, modelNotFound(id));
  else answer(response, entry);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function answer(response: ServerResponse, document: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(document));
}

async function generate(tools: HandlerTools, incoming: Incoming, caller: Caller): Promise<void> {
  const { request, response, requestId } = incoming;
  const read = await readBody(request, tools.limits.maxBodyBytes);
  if (read.kind === 'gone') return;
  if (read.kind === 'too-large') {
    response.setHeader('connection', 'close');
    const message = `the body is larger than ${tools.limits.maxBodyBytes} bytes`;
    return end(response, badRequest(message, { status: 413, code: 'request_too_large' }));
  }
  const facts = readFacts(read.body);
  if ('status' in facts) return end(response, facts);
  const asked = findModel(tools.directory, facts.model);
  if (asked === null) return end(response, modelNotFound(facts.model));
  const model = await chooseReady(tools, response, asked);
  if (model === null) {
    const failure = modelUnavailable(facts.model, null);
    tools.metrics.count('aim_gpu_requests_total', {
      model: asked.workload,
      tenant: caller.name,
      band: asked.band,
      code: String(failure.status),
    });
    return end(response, failure);
  }
  const band = chooseBand(request, facts, caller, model);
  await runExchange(tools, {
    request,
    response,
    requestId,
    path: request.url ?? '/',
    model,
    admit: toAdmitRequest(request, facts, caller, model, band),
    body: toEngineBody(facts, { model: model === asked ? null : model.workload }),
    stream: facts.stream,
    stripUsage: facts.stream && !facts.wantsUsage,
  });
}

/** The model itself when it is ready or becomes so in time, else its fallback, else null. */
async function chooseReady(
  tools: HandlerTools,
  response: ServerResponse,
  model: ServedModel,
): Promise<ServedModel | null> {
  const { directory, clock, limits } = tools;
  if (isReady(directory, model)) return model;
  const fallback = directory.models().find((entry) => entry.workload === model.fallback);
  if (fallback !== undefined && isReady(directory, fallback)) return fallback;
  const wait = new AbortController();
  const stop = (): void => wait.abort();
  const cancel = clock.timer(limits.holdMs, stop);
  response.once('close', stop);
  try {
    await directory.request(model.workload, { signal: wait.signal });
    return model;
  } catch (error) {
    if (AimError.is(error, 'ERR_MODEL_UNAVAILABLE')) return null;
    throw error;
  } finally {
    cancel();
    response.off('close', stop);
  }
}

function isReady(directory: EndpointDirectory, model: ServedModel): boolean {
  return directory.endpoints(model.workload).some((endpoint) => endpoint.state === 'ready');
}

/** The band of a request: what it asks for, lowered to what its tenant may use; without a wish the model's own. */
function chooseBand(
  request: IncomingMessage,
  facts: RequestFacts,
  caller: Caller,
  model: ServedModel,
): Band {
  const header = request.headers['x-aim-band'];
  const wish =
    BANDS.find((band) => band === header) ??
    (facts.serviceTier === null ? undefined : TIERS[facts.serviceTier]);
  if (wish === undefined && caller.ownBand) return model.band;
  return lowerToAllowed(wish ?? model.band, caller.bands).band;
}

function toAdmitRequest(
  request: IncomingMessage,
  facts: RequestFacts,
  caller: Caller,
  model: ServedModel,
  band: Band,
): AdmitRequest {
  return {
    tenant: caller.name,
    model: model.workload,
    band,
    promptTokens: facts.promptTokens,
    maxOutputTokens: facts.maxOutputTokens,
    weight: caller.weight,
    limits: caller.accounts(model.workload),
    bytes: facts.body.length,
    ttftMs: toMs(request.headers['x-aim-ttft-ms']),
    deadlineMs: toMs(request.headers['x-aim-deadline-ms']),
    origin: request.url ?? '/',
  };
}

/** A header that is no time is ignored: a client's wish must not cost it the answer. */
function toMs(header: string | string[] | undefined): number | null {
  const value = Number(header);
  return typeof header === 'string' && Number.isFinite(value) && value > 0 ? value : null;
}

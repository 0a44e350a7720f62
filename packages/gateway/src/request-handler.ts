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
  type MetricLabels,
  type ServedModel,
} from '@aim-gpu/core';
import { type AdmitRequest, lowerToAllowed } from '@aim-gpu/qos';
import { type ExchangeTools, runExchange } from './exchange.js';
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
import { refuse } from './refuse.js';
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
  /** Requests that wait for a model to become ready, all together. */
  readonly held: { bytes: number };
}

/** Bounds of one request. */
export interface RequestLimits {
  readonly maxBodyBytes: number;
  /** Longest wait for a model that has no ready instance now. */
  readonly holdMs: number;
  /** Most bytes of bodies that wait so, all together; beyond it models that are not ready are refused at once. */
  readonly maxHeldBytes: number;
}

const TIERS: ReadonlyMap<string, Band> = new Map([
  ['priority', 'interactive'],
  ['default', 'standard'],
  ['flex', 'batch'],
]);
/** Paths that change an engine instead of asking it; they are not for clients of models. */
const ENGINE_CONTROL: ReadonlySet<string> = new Set([
  '/v1/load_lora_adapter',
  '/v1/unload_lora_adapter',
]);
/** Nothing that an engine's router might read as another path: `..`, `//`, escapes. */
const PLAIN_PATH = /^\/v1(?:\/(?!\.{1,2}(?:\/|$))[\w.~:@-]+)+$/;

/** Handles one request of the public face. Never throws. */
export async function handleRequest(
  tools: HandlerTools,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const requestId = tools.ids.next();
  response.setHeader('x-request-id', requestId);
  // Writing to a client that has just gone is no fault of anybody's.
  response.on('error', () => undefined);
  try {
    await route(tools, { request, response, requestId });
  } catch (error) {
    tools.logger.error('request-failed', {
      requestId,
      message: error instanceof Error ? error.message : 'unknown',
    });
    reject(tools, response, internalError());
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
  if (!path.startsWith('/v1/')) return reject(tools, response, unknownPath(method, path));
  const caller = identify(tools.tenants, request.headers.authorization);
  if (caller === null)
    return reject(tools, response, invalidApiKey(request.headers.authorization !== undefined));
  if (method === 'GET' && path === '/v1/models') return models(tools, response);
  if (method === 'GET' && path.startsWith('/v1/models/')) return oneModel(tools, response, path);
  const mayPass = method === 'POST' && PLAIN_PATH.test(path) && !ENGINE_CONTROL.has(path);
  if (!mayPass) return reject(tools, response, unknownPath(method, path), { tenant: caller.name });
  if (tools.isDraining()) {
    const draining = {
      ok: false,
      reason: 'draining',
      retryAfterMs: 1000,
      message: 'The gateway is stopping.',
      account: null,
      queueMs: 0,
    } as const;
    return reject(tools, response, refusalToOpenAi(draining), { tenant: caller.name });
  }
  return generate(tools, incoming, { caller, path });
}

/** Says no before admission, and counts it. Labels hold names that exist, never what a client made up. */
function reject(
  tools: HandlerTools,
  response: ServerResponse,
  error: OpenAiError,
  labels: MetricLabels = {},
): void {
  const counted = { ...labels, code: String(error.status) };
  tools.metrics.count('aim_gpu_requests_total', counted);
  tools.metrics.count('aim_gpu_rejects_total', {
    ...counted,
    reason: error.body.error.code ?? 'bad_request',
  });
  refuse(response, error, labels['band'] === undefined ? {} : { 'x-aim-band': labels['band'] });
}

function models(tools: HandlerTools, response: ServerResponse): void {
  answer(response, { object: 'list', data: listModels(tools.directory, tools.startedSeconds) });
}

function oneModel(tools: HandlerTools, response: ServerResponse, path: string): void {
  const id = decode(path.slice('/v1/models/'.length));
  const entry = listModels(tools.directory, tools.startedSeconds).find((model) => model.id === id);
  if (entry === undefined) reject(tools, response, modelNotFound(id));
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

async function generate(
  tools: HandlerTools,
  incoming: Incoming,
  { caller, path }: { readonly caller: Caller; readonly path: string },
): Promise<void> {
  const { request, response, requestId } = incoming;
  const tenant = { tenant: caller.name };
  const read = await readBody(request, tools.limits.maxBodyBytes);
  if (read.kind === 'gone') return;
  const readMs = tools.clock.monoMs();
  if (read.kind === 'too-large') {
    response.setHeader('connection', 'close');
    const message = `the body is larger than ${tools.limits.maxBodyBytes} bytes`;
    const error = badRequest(message, { status: 413, code: 'request_too_large' });
    return reject(tools, response, error, tenant);
  }
  const facts = readFacts(read.body, { path });
  if ('status' in facts) return reject(tools, response, facts, tenant);
  const asked = findModel(tools.directory, facts.model);
  if (asked === null) return reject(tools, response, modelNotFound(facts.model), tenant);
  const chosen = await chooseReady(tools, response, { model: asked, bytes: read.body.length });
  const model = chosen.model ?? asked;
  const band = chooseBand(request, facts, caller, model);
  if (chosen.model === null) {
    const failure = modelUnavailable(facts.model, chosen.retryAfterMs);
    return reject(tools, response, failure, { ...tenant, model: asked.workload, band });
  }
  await runExchange(tools, {
    request,
    response,
    requestId,
    readMs,
    path: request.url ?? '/',
    model,
    admit: toAdmitRequest(request, facts, caller, model, band),
    body: toEngineBody(facts, { model: model === asked ? null : model.workload }),
    stream: facts.stream,
    stripUsage: facts.addUsage,
  });
}

type Chosen =
  | { readonly model: ServedModel }
  | { readonly model: null; readonly retryAfterMs: number | null };

/** The model itself when it is ready or becomes so in time, else its fallback, else none. */
async function chooseReady(
  tools: HandlerTools,
  response: ServerResponse,
  { model, bytes }: { readonly model: ServedModel; readonly bytes: number },
): Promise<Chosen> {
  const { directory, clock, limits, held } = tools;
  if (isReady(directory, model)) return { model };
  const fallback = directory.models().find((entry) => entry.workload === model.fallback);
  if (fallback !== undefined && isReady(directory, fallback)) return { model: fallback };
  if (held.bytes + bytes > limits.maxHeldBytes) return { model: null, retryAfterMs: null };
  held.bytes += bytes;
  const wait = new AbortController();
  const stop = (): void => wait.abort();
  const cancel = clock.timer(limits.holdMs, stop);
  response.once('close', stop);
  try {
    await directory.request(model.workload, { signal: wait.signal });
    return { model };
  } catch (error) {
    if (AimError.is(error, 'ERR_MODEL_UNAVAILABLE'))
      return { model: null, retryAfterMs: error.retryAfterMs ?? null };
    if (wait.signal.aborted) return { model: null, retryAfterMs: null };
    throw error;
  } finally {
    held.bytes -= bytes;
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
    (facts.serviceTier === null ? undefined : TIERS.get(facts.serviceTier));
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

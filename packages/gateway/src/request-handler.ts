/**
 * The public face: paths, identity, body, model, band, everything that is settled before admission.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  AimError,
  type Band,
  type EndpointDirectory,
  type IdSource,
  type MetricLabels,
  type ServedModel,
} from '@aim-gpu/core';
import type { AdmitRequest, LimitSubject } from '@aim-gpu/qos';
import { chooseBand } from './band-choice.js';
import type { BandTimeouts } from './band-timeouts.js';
import { Exchange, type ExchangeTools } from './exchange.js';
import { forwardedHeaders } from './header-hygiene.js';
import {
  badRequest,
  internalError,
  invalidApiKey,
  modelNotFound,
  modelUnavailable,
  type OpenAiError,
  refusalToOpenAi,
  retryShed,
  tooManyOpen,
  unknownPath,
} from './openai-error.js';
import type { PrefixAffinity } from './prefix-affinity.js';
import { rateHeaders } from './rate-headers.js';
import { refuse } from './refuse.js';
import { readBody } from './request-body.js';
import { type RequestFacts, readFacts, toEngineBody } from './request-facts.js';
import type { Served } from './served-models.js';
import type { TenantTraffic } from './tenant-traffic.js';
import { type Caller, identify, type ResolvedTenants } from './tenants.js';
import { continueTrace } from './trace-context.js';

/** What the handler works with. */
export interface HandlerTools extends ExchangeTools {
  readonly directory: EndpointDirectory;
  readonly tenants: ResolvedTenants;
  readonly traffic: TenantTraffic;
  readonly affinity: PrefixAffinity;
  readonly ids: IdSource;
  readonly isDraining: () => boolean;
  readonly limits: RequestLimits;
  readonly timeouts: Readonly<Record<Band, BandTimeouts>>;
  /** Bytes of requests that wait for a model to become ready, all together. */
  readonly held: { bytes: number };
}

/** Bounds of one request. */
export interface RequestLimits {
  readonly maxBodyBytes: number;
  /** Longest path with its query. */
  readonly maxUrlBytes: number;
  /** Longest time a client may take to send its headers; 408 after that. */
  readonly headersMs: number;
  /** Longest time a client may take to send its whole request; 408 after that. */
  readonly requestMs: number;
  /** Longest wait for a model that has no ready instance now. */
  readonly holdMs: number;
  /** Most bytes of bodies that wait so, all together; beyond it models that are not ready are refused at once. */
  readonly maxHeldBytes: number;
  /** Requests that one tenant may have open at the same time, streams and waiting ones. */
  readonly maxOpenPerTenant: number;
  /** How long an engine that could not be reached is left alone. */
  readonly suspendMs: number;
}

/** Paths that change an engine instead of asking it; they are not for clients of models. */
const ENGINE_CONTROL: ReadonlySet<string> = new Set([
  '/v1/load_lora_adapter',
  '/v1/unload_lora_adapter',
]);
/** Nothing that an engine's router might read as another path: `..`, `//`, escapes. */
const PLAIN_PATH = /^\/v1(?:\/(?!\.{1,2}(?:\/|$))[\w.~:@-]+)+$/;

/** One request, with what is open for it. */
interface Incoming {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly requestId: string;
}

/** Handles one request of the public face. Never throws. */
export function handleRequest(
  tools: HandlerTools,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const incoming = { request, response, requestId: tools.ids.next() };
  // Writing to a client that has just gone is no fault of anybody's.
  response.on('error', () => undefined);
  try {
    route(tools, incoming);
  } catch (error) {
    fail(tools, incoming, error);
  }
}

function fail(tools: HandlerTools, incoming: Incoming, error: unknown): void {
  tools.logger.error('request-failed', {
    requestId: incoming.requestId,
    message: error instanceof Error ? error.message : 'unknown',
  });
  reject(tools, incoming, internalError());
}

function route(tools: HandlerTools, incoming: Incoming): void {
  const { request } = incoming;
  const method = request.method ?? 'GET';
  const url = request.url ?? '/';
  if (url.length > tools.limits.maxUrlBytes) {
    reject(tools, incoming, badRequest('the URL is too long', { status: 414 }));
    return;
  }
  const query = url.indexOf('?');
  const path = query < 0 ? url : url.slice(0, query);
  if (!path.startsWith('/v1/')) {
    reject(tools, incoming, unknownPath(method, path));
    return;
  }
  const { authorization } = request.headers;
  const caller = identify(tools.tenants, authorization);
  if (caller === null) {
    reject(tools, incoming, invalidApiKey(authorization !== undefined));
    return;
  }
  if (method === 'GET' && path === '/v1/models') {
    answer(incoming, { object: 'list', data: tools.served.list() });
    return;
  }
  if (method === 'GET' && path.startsWith('/v1/models/')) {
    oneModel(tools, incoming, path);
    return;
  }
  const tenant = { tenant: caller.name };
  const mayPass = method === 'POST' && PLAIN_PATH.test(path) && !ENGINE_CONTROL.has(path);
  if (!mayPass) {
    reject(tools, incoming, unknownPath(method, path), tenant);
    return;
  }
  if (tools.isDraining()) {
    reject(tools, incoming, refusalToOpenAi(DRAINING), tenant);
    return;
  }
  // Nothing is unpacked here, so there is nothing that could unpack to more than was sent.
  const coding = request.headers['content-encoding'];
  if (coding !== undefined && coding !== 'identity') {
    const error = badRequest('the body must not be compressed', { status: 415 });
    reject(tools, incoming, error, tenant);
    return;
  }
  if (!tools.traffic.open(caller.name)) {
    reject(tools, incoming, tooManyOpen(), tenant);
    return;
  }
  incoming.response.once('close', () => tools.traffic.closed(caller.name));
  generate(tools, incoming, caller, path);
}

const DRAINING = {
  ok: false,
  reason: 'draining',
  retryAfterMs: 1000,
  message: 'The gateway is stopping.',
  account: null,
  queueMs: 0,
} as const;

/** Says no before admission, and counts it. Labels hold names that exist, never what a client made up. */
function reject(
  tools: HandlerTools,
  { response, requestId }: Incoming,
  error: OpenAiError,
  labels: MetricLabels = {},
): void {
  const { sink } = tools.series;
  const counted = { ...labels, code: String(error.status) };
  sink.count('aim_gpu_requests_total', counted);
  sink.count('aim_gpu_rejects_total', {
    ...counted,
    reason: error.body.error.code ?? 'bad_request',
  });
  const band = labels['band'];
  const headers = ['x-request-id', requestId];
  if (band !== undefined) headers.push('x-aim-band', band);
  // What is left of a body that nobody reads would be taken for the next request.
  if (error.status === 413 || error.status === 415) headers.push('connection', 'close');
  refuse(response, error, headers);
}

function oneModel(tools: HandlerTools, incoming: Incoming, path: string): void {
  const id = decode(path.slice('/v1/models/'.length));
  const entry = tools.served.list().find((model) => model.id === id);
  if (entry === undefined) reject(tools, incoming, modelNotFound(id));
  else answer(incoming, entry);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function answer({ response, requestId }: Incoming, document: unknown): void {
  response.writeHead(200, ['content-type', 'application/json', 'x-request-id', requestId]);
  response.end(JSON.stringify(document));
}

function generate(tools: HandlerTools, incoming: Incoming, caller: Caller, path: string): void {
  const tenant = { tenant: caller.name };
  const { maxBodyBytes } = tools.limits;
  readBody(incoming.request, maxBodyBytes, (read) => {
    if (read === 'gone') return;
    if (read === 'too-large') {
      const message = `the body is larger than ${maxBodyBytes} bytes`;
      const error = badRequest(message, { status: 413, code: 'request_too_large' });
      return reject(tools, incoming, error, tenant);
    }
    try {
      understood(tools, incoming, caller, { path, body: read });
    } catch (error) {
      fail(tools, incoming, error);
    }
  });
}

function understood(
  tools: HandlerTools,
  incoming: Incoming,
  caller: Caller,
  { path, body }: { readonly path: string; readonly body: Buffer },
): void {
  const readMs = tools.clock.monoMs();
  const facts = readFacts(body, { path });
  if ('status' in facts) {
    reject(tools, incoming, facts, { tenant: caller.name });
    return;
  }
  const asked = tools.served.find(facts.model);
  if (asked === undefined) {
    reject(tools, incoming, modelNotFound(facts.model), { tenant: caller.name });
    return;
  }
  const begin = (served: Served): void =>
    exchange(tools, incoming, { caller, facts, readMs, asked, served });
  if (asked.ready > 0) {
    begin(asked);
    return;
  }
  const fallback =
    asked.model.fallback === null ? undefined : tools.served.find(asked.model.fallback);
  if (fallback !== undefined && fallback.ready > 0) {
    begin(fallback);
    return;
  }
  hold(tools, incoming.response, { model: asked.model, bytes: body.length })
    .then((outcome) => {
      if (outcome === 'ready') return begin(asked);
      const error = modelUnavailable(facts.model, outcome.retryAfterMs);
      const band = chooseBand(incoming.request.headers, facts.serviceTier, caller, asked.model);
      reject(tools, incoming, error, { tenant: caller.name, model: asked.model.workload, band });
    })
    .catch((error: unknown) => fail(tools, incoming, error));
}

/** Asks for a model that has nobody and waits for it, within bounds. */
async function hold(
  { directory, clock, limits, held }: HandlerTools,
  response: ServerResponse,
  { model, bytes }: { readonly model: ServedModel; readonly bytes: number },
): Promise<'ready' | { readonly retryAfterMs: number | null }> {
  if (held.bytes + bytes > limits.maxHeldBytes) return { retryAfterMs: null };
  held.bytes += bytes;
  const wait = new AbortController();
  const stop = (): void => wait.abort();
  const cancel = clock.timer(limits.holdMs, stop);
  response.once('close', stop);
  try {
    await directory.request(model.workload, { signal: wait.signal });
    return 'ready';
  } catch (error) {
    if (AimError.is(error, 'ERR_MODEL_UNAVAILABLE'))
      return { retryAfterMs: error.retryAfterMs ?? null };
    if (wait.signal.aborted) return { retryAfterMs: null };
    throw error;
  } finally {
    held.bytes -= bytes;
    cancel();
    response.off('close', stop);
  }
}

function exchange(
  tools: HandlerTools,
  incoming: Incoming,
  known: {
    readonly caller: Caller;
    readonly facts: RequestFacts;
    readonly readMs: number;
    readonly asked: Served;
    readonly served: Served;
  },
): void {
  const { request, response, requestId } = incoming;
  const { caller, facts, readMs, asked, served } = known;
  const { model } = served;
  const { headers } = request;
  const band = chooseBand(headers, facts.serviceTier, caller, model);
  const accounts = caller.accounts(model.workload);
  if (!mayRepeat(tools, caller, { headers, model, band, readMs })) {
    const labels = { tenant: caller.name, model: model.workload, band };
    reject(tools, incoming, retryShed(1000), labels);
    return;
  }
  const prefixes = served.ready > 1 ? tools.affinity.digest(model.workload, facts.prompt()) : [];
  const trace = continueTrace(header(headers['traceparent']), requestId);
  const forwarded = forwardedHeaders(headers);
  forwarded.push('x-request-id', requestId, 'traceparent', trace.traceparent);
  const started = new Exchange(tools, {
    response,
    requestId,
    traceId: trace.traceId,
    readMs,
    method: request.method ?? 'POST',
    path: request.url ?? '/',
    headers: forwarded,
    admit: {
      ...toAdmitRequest(request, facts, { caller, accounts, model, band }),
      affinity: prefixes.length > 0 ? tools.affinity.find(prefixes) : null,
    },
    body: toEngineBody(facts, { model: served === asked ? null : model.workload }),
    stripUsage: facts.addUsage,
    mostTokens: model.maxModelLen * facts.answers,
    timeouts: tools.timeouts[band],
    suspendMs: tools.limits.suspendMs,
    answered: (instance) => {
      if (prefixes.length > 0) tools.affinity.note(prefixes, instance);
    },
    answerHeaders: () => rateHeaders(tools.qos.limits, accounts, tools.clock.monoMs()),
  });
  response.once('close', () => started.clientGone());
  started.start();
  // It may have hung up while its model was waited for; then no event tells any more.
  if (response.destroyed) started.clientGone();
}

/** Whether a request may go on: repeats of a tenant with too many of them wait for nobody's first try. */
function mayRepeat(
  { traffic, qos }: HandlerTools,
  caller: Caller,
  about: {
    readonly headers: IncomingMessage['headers'];
    readonly model: ServedModel;
    readonly band: Band;
    readonly readMs: number;
  },
): boolean {
  const { headers, readMs } = about;
  if (!(Number(headers['x-stainless-retry-count']) > 0)) {
    traffic.first(caller.name, readMs);
    return true;
  }
  return traffic.mayRepeat(caller.name, readMs) || qos.waiting === 0;
}

function toAdmitRequest(
  request: IncomingMessage,
  facts: RequestFacts,
  who: {
    readonly caller: Caller;
    readonly accounts: readonly LimitSubject[];
    readonly model: ServedModel;
    readonly band: Band;
  },
): AdmitRequest {
  const { caller, accounts, model, band } = who;
  return {
    tenant: caller.name,
    model: model.workload,
    band,
    promptTokens: facts.promptTokens,
    maxOutputTokens: facts.maxOutputTokens,
    weight: caller.weight,
    limits: accounts,
    bytes: facts.body.length,
    ttftMs: toMs(request.headers['x-aim-ttft-ms']),
    deadlineMs: toMs(request.headers['x-aim-deadline-ms']),
    origin: request.url ?? '/',
  };
}

function header(value: string | string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** A header that is no time is ignored: a client's wish must not cost it the answer. */
function toMs(value: string | string[] | undefined): number | null {
  if (typeof value !== 'string') return null;
  const ms = Number(value);
  return Number.isFinite(ms) && ms > 0 ? ms : null;
}

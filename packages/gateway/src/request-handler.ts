/**
 * The public face: which paths there are, who may use them, and what is answered without an engine. Owns the order of
 * those checks; what is asked of an engine goes on in generation.ts.
 */
import type { IncomingMessage } from 'node:http';
import type { ClientResponse } from './client-response.js';
import { generate } from './generation.js';
import { type HandlerTools, Incoming } from './incoming.js';
import { isLoopbackOrigin } from './loopback.js';
import {
  badRequest,
  invalidApiKey,
  modelNotFound,
  originRefused,
  refusalToOpenAi,
  tooManyOpen,
  unknownPath,
} from './openai-error.js';
import { faultOfHead } from './request-head.js';

/** Paths that change an engine instead of asking it; they are not for clients of models. */
const ENGINE_CONTROL: ReadonlySet<string> = new Set([
  '/v1/load_lora_adapter',
  '/v1/unload_lora_adapter',
]);
/** What nearly every request asks for; these are plain. */
const USUAL_PATHS: ReadonlySet<string> = new Set([
  '/v1/chat/completions',
  '/v1/completions',
  '/v1/embeddings',
]);
/** Nothing that an engine's router might read as another path: `..`, `//`, escapes. */
const PLAIN_PATH = /^\/v1(?:\/(?!\.{1,2}(?:\/|$))[\w.~:@-]+)+$/;

/** Handles one request of the public face. Never throws. */
export function handleRequest(
  tools: HandlerTools,
  request: IncomingMessage,
  response: ClientResponse,
): void {
  const incoming = new Incoming(tools, request, response);
  try {
    route(tools, incoming);
  } catch (error) {
    incoming.fail(error);
  }
}

/** Refuses a request with an `expect` that is not `100-continue`. Never throws. */
export function refuseExpectation(
  tools: HandlerTools,
  request: IncomingMessage,
  response: ClientResponse,
): void {
  const error = badRequest('only 100-continue may be expected', { status: 417 });
  new Incoming(tools, request, response).reject(error);
}

function route(tools: HandlerTools, incoming: Incoming): void {
  const { request } = incoming;
  const fault = faultOfHead(request);
  if (fault !== null) {
    // What follows may be a request to one reader and a body to another.
    incoming.response.shouldKeepAlive = false;
    incoming.reject(badRequest(fault));
    return;
  }
  const method = request.method ?? 'GET';
  const url = request.url ?? '/';
  if (url.length > tools.limits.maxUrlBytes) {
    incoming.reject(badRequest('the URL is too long', { status: 414 }));
    return;
  }
  const query = url.indexOf('?');
  const path = query < 0 ? url : url.slice(0, query);
  if (!path.startsWith('/v1/')) {
    incoming.reject(unknownPath(method, path));
    return;
  }
  const { authorization, origin } = request.headers;
  // Whoever is here needs no key, and a page in their browser is not they.
  const isOpen = tools.isLocal && tools.tenants.anonymous;
  if (origin !== undefined && isOpen && !isLoopbackOrigin(origin)) {
    incoming.reject(originRefused());
    return;
  }
  const caller = tools.callers.find(request.socket, authorization);
  if (caller === null) {
    incoming.reject(invalidApiKey(authorization !== undefined));
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
  const tenant = caller.name;
  const mayPass = method === 'POST' && (USUAL_PATHS.has(path) || isPlain(path));
  if (!mayPass) {
    incoming.reject(unknownPath(method, path), { tenant });
    return;
  }
  if (tools.isDraining()) {
    incoming.reject(refusalToOpenAi(DRAINING), { tenant });
    return;
  }
  // Nothing is unpacked here, so there is nothing that could unpack to more than was sent.
  const coding = request.headers['content-encoding'];
  if (coding !== undefined && coding !== 'identity') {
    incoming.reject(badRequest('the body must not be compressed', { status: 415 }), { tenant });
    return;
  }
  if (!tools.traffic.open(tenant)) {
    incoming.reject(tooManyOpen(), { tenant });
    return;
  }
  incoming.tenant = tenant;
  generate(tools, incoming, caller, path);
}

function isPlain(path: string): boolean {
  return PLAIN_PATH.test(path) && !ENGINE_CONTROL.has(path);
}

const DRAINING = {
  ok: false,
  reason: 'draining',
  retryAfterMs: 1000,
  message: 'The gateway is stopping.',
  account: null,
  queueMs: 0,
} as const;

function oneModel(tools: HandlerTools, incoming: Incoming, path: string): void {
  const id = decode(path.slice('/v1/models/'.length));
  const entry = tools.served.list().find((model) => model.id === id);
  if (entry === undefined) incoming.reject(modelNotFound(id));
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
  const body = Buffer.from(JSON.stringify(document));
  const length = String(body.length);
  response.begin(200, [
    'content-type',
    'application/json',
    'content-length',
    length,
    'x-request-id',
    requestId,
  ]);
  response.finish(body);
}

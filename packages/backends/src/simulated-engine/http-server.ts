/**
 * The OpenAI-compatible face of a simulated engine, as vLLM's server shows it. Owns routes and the life of a
 * connection; what a request means and how long it takes are decided elsewhere.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Clock, IdSource } from '@aim-gpu/core';
import { badRequest, toErrorBody } from './api-error.js';
import type { SimulatedEngineConfig } from './config.js';
import { planEmbeddings, toEmbeddingsReply } from './embeddings.js';
import type { EngineCore } from './engine-core.js';
import { type GenerationPlan, planChat, planCompletion } from './generation-request.js';
import { readJson, sendJson, startEvents } from './http-body.js';
import {
  type ReplyHead,
  toEvent,
  toRoleChunk,
  toTokenChunk,
  toUsage,
  toUsageChunk,
  toWholeReply,
} from './replies.js';

/** What {@link createEngineServer} serves. */
export interface EngineServerOptions {
  readonly config: SimulatedEngineConfig;
  readonly core: EngineCore;
  /** Until it says yes, everything answers 503. */
  readonly isLoaded: () => boolean;
  readonly clock: Clock;
  readonly ids: IdSource;
}

/** uvicorn's default, which vLLM keeps. */
const KEEP_ALIVE_MS = 5000;

type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** Makes the server; the caller listens and closes. */
export function createEngineServer(options: EngineServerOptions): Server {
  const { config, core } = options;
  const createdSeconds = Math.floor(options.clock.epochMs() / 1000);
  const routes: Readonly<Record<string, Readonly<Record<string, Handler>>>> = {
    '/health': { GET: async (_, response) => void response.writeHead(200).end() },
    '/ping': { GET: async (_, response) => void response.writeHead(200).end() },
    '/version': { GET: async (_, response) => sendJson(response, 200, { version: 'simulated' }) },
    '/v1/models': {
      GET: async (_, response) => sendJson(response, 200, toModelList(config, createdSeconds)),
    },
    '/metrics': {
      GET: async (_, response) => {
        const text = await core.metrics.exposition();
        response.writeHead(200, { 'content-type': core.metrics.contentType }).end(text);
      },
    },
    '/v1/chat/completions': { POST: (...call) => generate(options, planChat, ...call) },
    '/v1/completions': { POST: (...call) => generate(options, planCompletion, ...call) },
    '/v1/embeddings': { POST: (...call) => embed(options, ...call) },
  };
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) => {
    const path = (request.url ?? '/').replace(/\?.*$/s, '');
    const handlers = Object.hasOwn(routes, path) ? routes[path] : undefined;
    const handler = handlers?.[request.method ?? ''];
    if (!options.isLoaded()) response.writeHead(503).end();
    else if (handlers === undefined) sendJson(response, 404, { detail: 'Not Found' });
    else if (handler === undefined) sendJson(response, 405, { detail: 'Method Not Allowed' });
    else {
      // Only a connection that broke while its body was read ends up here.
      handler(request, response).catch(() => response.destroy());
    }
  });
  return server;
}

async function generate(
  options: EngineServerOptions,
  planRequest: typeof planChat,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { config, core } = options;
  const body = await readBody(request, response);
  if (body === null) return;
  const planned = planRequest(body.value, { ...config, kvTokens: core.kvTokens });
  if (!planned.ok) {
    sendJson(response, planned.error.status, toErrorBody(planned.error));
    return;
  }
  const { plan } = planned;
  const head = toHead(options, request, plan);
  const drop = plan.stream
    ? stream(core, plan, head, response)
    : answer(core, plan, head, response);
  // A client that hangs up gives back its seat at once; after a complete answer there is nothing left to drop.
  response.once('close', drop);
}

function answer(
  core: EngineCore,
  plan: GenerationPlan,
  head: ReplyHead,
  response: ServerResponse,
): () => void {
  return core.generate(plan.sequences, {
    onToken: () => undefined,
    onDone: () => sendJson(response, 200, toWholeReply(head, plan)),
  });
}

function stream(
  core: EngineCore,
  plan: GenerationPlan,
  head: ReplyHead,
  response: ServerResponse,
): () => void {
  startEvents(response);
  let completionTokens = 0;
  let started = false;
  return core.generate(plan.sequences, {
    onToken: (sequence, index) => {
      completionTokens += 1;
      let text = '';
      if (plan.kind === 'chat' && !started) {
        started = true;
        text = plan.sequences
          .map(({ index: choice }) => toEvent(toRoleChunk(head, choice)))
          .join('');
      }
      response.write(text + toEvent(toTokenChunk(head, plan.kind, sequence, index)));
    },
    onDone: () => {
      const usage = toUsage(plan.promptTokens, completionTokens);
      if (plan.includeUsage) response.write(toEvent(toUsageChunk(head, plan.kind, usage)));
      response.end(toEvent('[DONE]'));
    },
  });
}

async function embed(
  options: EngineServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { config, core } = options;
  const body = await readBody(request, response);
  if (body === null) return;
  const planned = planEmbeddings(body.value, { ...config, kvTokens: core.kvTokens });
  if (!planned.ok) {
    sendJson(response, planned.error.status, toErrorBody(planned.error));
    return;
  }
  const { plan } = planned;
  const id = `embd-${options.ids.next()}`;
  const created = Math.floor(options.clock.epochMs() / 1000);
  const drop = core.generate(plan.sequences, {
    onToken: () => undefined,
    onDone: () =>
      sendJson(
        response,
        200,
        toEmbeddingsReply({ id, created, model: plan.model }, plan, config.step.hiddenSize),
      ),
  });
  response.once('close', drop);
}

async function readBody(
  request: IncomingMessage,
  response: ServerResponse,
): Promise<{ readonly value: unknown } | null> {
  const body = await readJson(request);
  if (body.ok) return body;
  const error = { ...badRequest(body.message), status: body.status };
  sendJson(response, body.status, toErrorBody(error));
  return null;
}

function toHead(
  options: EngineServerOptions,
  request: IncomingMessage,
  plan: GenerationPlan,
): ReplyHead {
  const given = request.headers['x-request-id'];
  const id = typeof given === 'string' && given !== '' ? given : options.ids.next();
  return {
    id: `${plan.kind === 'chat' ? 'chatcmpl' : 'cmpl'}-${id}`,
    created: Math.floor(options.clock.epochMs() / 1000),
    model: plan.model,
  };
}

function toModelList(config: SimulatedEngineConfig, created: number): unknown {
  const base = { object: 'model', created, owned_by: 'vllm' };
  const own = config.modelNames.map((id) => ({
    id,
    ...base,
    root: config.modelSource,
    parent: null,
    max_model_len: config.maxModelLen,
  }));
  const adapters = config.adapterNames.map((id) => ({
    id,
    ...base,
    root: id,
    parent: config.modelNames[0] ?? null,
    max_model_len: null,
  }));
  return { object: 'list', data: [...own, ...adapters] };
}

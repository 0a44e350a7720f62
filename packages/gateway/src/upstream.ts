/**
 * Talking to engines: one pool of connections for each address, answers as they come. Owns connections and the one
 * silent repeat that stale connections need; addresses come from the directory alone, never from a request.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Clock, EndpointAddress } from '@aim-gpu/core';
import { type Dispatcher, Pool } from 'undici';
import { SMALL_BODY_BYTES } from './body-budget.js';
import {
  CONNECTION_SETTINGS,
  type ConnectionOptions,
  type ConnectionUser,
  EngineConnection,
} from './engine-connection.js';
import { toPassedOnce } from './passed-once.js';

/** What is sent to an engine. */
interface UpstreamRequest {
  readonly method: string;
  readonly path: string;
  /** Names and values in turn. */
  readonly headers: string[];
  readonly body: Buffer | null;
}

/** What became of a call that has no answer, or only a part of one. */
export interface UpstreamFailure {
  /** The connection was never made, or broke off. */
  readonly kind: 'connect' | 'broken';
  readonly code: string;
}

/** Who is told of an answer, in this order; exactly one of `ended` and `failed` comes last unless it was cancelled. */
export interface UpstreamReceiver {
  began(status: number, headers: IncomingHttpHeaders): void;
  /** False pauses the engine until {@link UpstreamCall.resume}. */
  data(chunk: Buffer): boolean;
  ended(): void;
  failed(failure: UpstreamFailure): void;
}

/** A call under way. */
export interface UpstreamCall {
  resume(): void;
  /** Ends it; the receiver hears nothing more. Engines take the closed connection as the wish to stop. */
  cancel(): void;
}

/** Connections to every engine. */
export interface Upstreams {
  send(
    address: EndpointAddress,
    request: UpstreamRequest,
    receiver: UpstreamReceiver,
    /** Whether it was sent before: then over a fresh connection, which cannot be stale and needs no silent repeat. */
    isAgain?: boolean,
  ): UpstreamCall;
  /** Lets go of connections to addresses that are not among these, as soon as their calls have ended. */
  retain(addresses: readonly EndpointAddress[]): void;
  close(): Promise<void>;
}

/** An engine that closes kept connections without saying so gets a fresh one for each request, for so long. */
const NO_REUSE_MS = 60_000;

interface Origin {
  readonly url: string;
  readonly pool: Pool;
  noReuseUntilMs: number;
}

/** Makes pools on demand. */
export function createUpstreams(options: { readonly clock: Clock }): Upstreams {
  return new Pools(options.clock);
}

class Pools implements Upstreams {
  private readonly clock: Clock;
  private readonly origins: Map<string, Origin> = new Map();
  /** The same by the directory's own objects, so that no request has to write a URL. */
  private byAddress: WeakMap<EndpointAddress, Origin> = new WeakMap();
  private readonly fresh: Set<EngineConnection> = new Set();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  send(
    address: EndpointAddress,
    request: UpstreamRequest,
    receiver: UpstreamReceiver,
    isAgain: boolean = false,
  ): UpstreamCall {
    const origin = this.originOf(address);
    const call = new Call(this, origin, request, receiver);
    if (isAgain) {
      this.sendFresh(origin, request, call);
      return call;
    }
    const reset = origin.noReuseUntilMs > this.clock.monoMs();
    origin.pool.dispatch(toDispatch(request, reset, call), call);
    return call;
  }

  /** Sends over a connection of its own. */
  sendFresh(origin: Origin, request: UpstreamRequest, call: Call): void {
    const connection = new EngineConnection(origin.url);
    this.fresh.add(connection);
    connection.dispatch(toDispatch(request, true, call), call);
    void connection.close().finally(() => this.fresh.delete(connection));
  }

  /** The origin closes kept connections without saying so. */
  doNotReuse(origin: Origin): void {
    origin.noReuseUntilMs = this.clock.monoMs() + NO_REUSE_MS;
  }

  retain(addresses: readonly EndpointAddress[]): void {
    const kept = new Set(addresses.map(toUrl));
    for (const [url, { pool }] of this.origins) {
      if (kept.has(url)) continue;
      this.origins.delete(url);
      this.byAddress = new WeakMap();
      void pool.close().catch(() => undefined);
    }
  }

  async close(): Promise<void> {
    const all = [...[...this.origins.values()].map(({ pool }) => pool), ...this.fresh];
    this.origins.clear();
    this.byAddress = new WeakMap();
    await Promise.all(all.map((dispatcher) => dispatcher.destroy()));
  }

  private originOf(address: EndpointAddress): Origin {
    let origin = this.byAddress.get(address);
    if (origin === undefined) {
      origin = this.originAt(toUrl(address));
      this.byAddress.set(address, origin);
    }
    return origin;
  }

  private originAt(url: string): Origin {
    const known = this.origins.get(url);
    if (known !== undefined) return known;
    const pool = new Pool(url, { ...CONNECTION_SETTINGS, factory: toConnection });
    const origin = { url, pool, noReuseUntilMs: Number.NEGATIVE_INFINITY };
    this.origins.set(url, origin);
    return origin;
  }
}

function toDispatch(
  { method, path, headers, body }: UpstreamRequest,
  reset: boolean,
  user: ConnectionUser,
): ConnectionOptions {
  const options = { method: method as Dispatcher.HttpMethod, path, headers, body, reset, user };
  if (body === null || body.length <= SMALL_BODY_BYTES) return options;
  const length = String(body.length);
  return { ...options, headers: [...headers, 'content-length', length], body: toPassedOnce(body) };
}

function toConnection(origin: URL): EngineConnection {
  return new EngineConnection(origin);
}

function toUrl({ host, port }: EndpointAddress): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/**
 * One call. It knows how to repeat itself by its fields and not by a closure: one closure a call was seen to keep every
 * call's objects beyond V8's young generation, which cost more than the call.
 */
class Call implements UpstreamCall, ConnectionUser, Dispatcher.DispatchHandler {
  private readonly pools: Pools;
  private readonly origin: Origin;
  /** What to send once more when a kept connection turns out to be stale; null when that is not to be done. */
  private request: UpstreamRequest | null;
  private readonly receiver: UpstreamReceiver;
  private controller: Dispatcher.DispatchController | null = null;
  private over: boolean = false;
  /** Whether it was sent again because its connection was stale. */
  private isRepeat: boolean = false;
  connection: EngineConnection | null = null;

  constructor(pools: Pools, origin: Origin, request: UpstreamRequest, receiver: UpstreamReceiver) {
    this.pools = pools;
    this.origin = origin;
    this.request = request;
    this.receiver = receiver;
  }

  resume(): void {
    this.controller?.resume();
  }

  cancel(): void {
    if (this.over) return;
    this.over = true;
    this.controller?.abort(CANCELLED);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller;
    if (this.over) controller.abort(CANCELLED);
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
  ): void {
    // Informational answers are none.
    if (this.over || status < 200) return;
    // Only now it is known that the connection was at fault, and not the request.
    if (this.isRepeat) this.pools.doNotReuse(this.origin);
    this.request = null;
    this.receiver.began(status, headers);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.over) return;
    if (!this.receiver.data(chunk) && !this.over) controller.pause();
  }

  onResponseEnd(): void {
    if (this.over) return;
    this.over = true;
    this.connection?.answered();
    this.receiver.ended();
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    if (this.over) return;
    const request = this.request;
    this.request = null;
    // Not a byte has come, so the engine never began: it closed a connection that looked open.
    if (request !== null && this.connection?.isStale === true) {
      this.controller = null;
      this.isRepeat = true;
      this.pools.sendFresh(this.origin, request, this);
      return;
    }
    this.over = true;
    const code = (error as { code?: unknown }).code;
    this.receiver.failed({
      kind: this.controller === null ? 'connect' : 'broken',
      code: typeof code === 'string' ? code : 'unknown',
    });
  }
}

const CANCELLED: Error = new Error('the call was cancelled');

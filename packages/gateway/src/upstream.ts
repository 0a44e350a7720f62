/**
 * Talking to engines: one pool of connections for each address, answers as they come. Owns connections and the one
 * silent repeat that stale connections need; addresses come from the directory alone, never from a request.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock, EndpointAddress } from '@aim-gpu/core';
import { buildConnector, Client, type Dispatcher, Pool } from 'undici';

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
  ): UpstreamCall;
  /** Lets go of connections to addresses that are not among these, as soon as their calls have ended. */
  retain(addresses: readonly EndpointAddress[]): void;
  close(): Promise<void>;
}

// vLLM's server drops idle connections after 5 s; a connection that is kept longer meets a reset.
const KEEP_ALIVE_MS = 4_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** An engine that closes kept connections without saying so gets a fresh one for each request, for so long. */
const NO_REUSE_MS = 60_000;

/** Whether a connection that failed had carried an answer before, by the error it failed with. */
type Reuse = WeakMap<object, boolean>;

interface Origin {
  readonly url: string;
  readonly pool: Pool;
  noReuseUntilMs: number;
}

/** Makes pools on demand. */
export function createUpstreams(options: { readonly clock: Clock }): Upstreams {
  const { clock } = options;
  const reuse: Reuse = new WeakMap();
  const connect = noting(reuse);
  const origins = new Map<string, Origin>();
  const fresh = new Set<Client>();
  const settings = {
    pipelining: 1,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    // How long an answer may take is the exchange's to say.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect,
  } as const;

  const originOf = (address: EndpointAddress): Origin => {
    const url = toUrl(address);
    const known = origins.get(url);
    if (known !== undefined) return known;
    const origin = {
      url,
      pool: new Pool(url, settings),
      noReuseUntilMs: Number.NEGATIVE_INFINITY,
    };
    origins.set(url, origin);
    return origin;
  };

  return {
    send: (address, request, receiver) => {
      const origin = originOf(address);
      const call = new Call(receiver, reuse);
      const dispatch = {
        method: request.method as Dispatcher.HttpMethod,
        path: request.path,
        headers: request.headers,
        body: request.body,
        reset: origin.noReuseUntilMs > clock.monoMs(),
      };
      call.onStale = () => {
        // Nothing of the answer was seen, so the engine never began: it closed a connection that looked open.
        origin.noReuseUntilMs = clock.monoMs() + NO_REUSE_MS;
        const client = new Client(origin.url, settings);
        fresh.add(client);
        client.dispatch({ ...dispatch, reset: true }, call);
        void client.close().finally(() => fresh.delete(client));
      };
      origin.pool.dispatch(dispatch, call);
      return call;
    },
    retain: (addresses) => {
      const kept = new Set(addresses.map(toUrl));
      for (const [url, { pool }] of origins) {
        if (kept.has(url)) continue;
        origins.delete(url);
        void pool.close().catch(() => undefined);
      }
    },
    close: async () => {
      const all = [...[...origins.values()].map(({ pool }) => pool), ...fresh];
      origins.clear();
      await Promise.all(all.map((dispatcher) => dispatcher.destroy()));
    },
  };
}

function toUrl({ host, port }: EndpointAddress): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** A connector that notes, for each connection that fails, whether it had been of use before. */
function noting(reuse: Reuse): ReturnType<typeof buildConnector> {
  const connect = buildConnector({ timeout: CONNECT_TIMEOUT_MS });
  return (options, callback) =>
    connect(options, (...result) => {
      const [, socket] = result;
      // Undefined beside an error, whatever the types say.
      if (socket) {
        (socket as Socket).on('error', (error) => {
          reuse.set(error, (socket as Socket).bytesRead > 0);
        });
      }
      callback(...result);
    });
}

class Call implements UpstreamCall, Dispatcher.DispatchHandler {
  /** Sends once more over a new connection. */
  onStale: (() => void) | null = null;
  readonly #receiver: UpstreamReceiver;
  readonly #reuse: Reuse;
  #controller: Dispatcher.DispatchController | null = null;
  #began: boolean = false;
  #over: boolean = false;

  constructor(receiver: UpstreamReceiver, reuse: Reuse) {
    this.#receiver = receiver;
    this.#reuse = reuse;
  }

  resume(): void {
    this.#controller?.resume();
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#controller?.abort(CANCELLED);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#over) controller.abort(CANCELLED);
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
  ): void {
    // Informational answers are none.
    if (this.#over || status < 200) return;
    this.#began = true;
    this.#receiver.began(status, headers);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#over) return;
    if (!this.#receiver.data(chunk) && !this.#over) controller.pause();
  }

  onResponseEnd(): void {
    if (this.#over) return;
    this.#over = true;
    this.#receiver.ended();
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    if (this.#over) return;
    const again = this.onStale;
    this.onStale = null;
    if (!this.#began && again !== null && this.#wasReused(error)) {
      this.#controller = null;
      again();
      return;
    }
    this.#over = true;
    const code = (error as { code?: unknown }).code;
    this.#receiver.failed({
      kind: this.#controller === null ? 'connect' : 'broken',
      code: typeof code === 'string' ? code : 'unknown',
    });
  }

  #wasReused(error: Error): boolean {
    const { socket } = error as { socket?: { bytesRead?: number } };
    return this.#reuse.get(error) ?? (socket?.bytesRead ?? 0) > 0;
  }
}

const CANCELLED: Error = new Error('the call was cancelled');

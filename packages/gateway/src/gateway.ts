/**
 * The gateway: the public server with qos in the path, the admin server beside it, and their common life. Owns ports,
 * draining and closing.
 */
import { createServer, type Server, type ServerResponse } from 'node:http';
import {
  AimError,
  type Clock,
  type EndpointAddress,
  type EndpointDirectory,
  type IdSource,
  type Logger,
  type MetricSink,
} from '@aim-gpu/core';
import { createQos } from '@aim-gpu/qos';
import { getRequestListener } from '@hono/node-server';
import { createAdminApp } from './admin-app.js';
import { feedDirectory, observeAdmission, recordQueues } from './qos-feed.js';
import { handleRequest, type RequestLimits } from './request-handler.js';
import type { ResolvedTenants } from './tenants.js';
import { createUpstreams } from './upstream.js';

/** Options of {@link createGateway}. */
export interface GatewayOptions {
  readonly directory: EndpointDirectory;
  readonly tenants: ResolvedTenants;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly logger: Logger;
  readonly metrics: MetricSink;
  /** The metrics as text, for the admin face. */
  readonly exposition: () => Promise<string>;
  /** Port 0 takes a free one. */
  readonly listen: EndpointAddress;
  readonly adminListen: EndpointAddress;
  /** Serve without keys on other addresses than loopback. */
  readonly allowAnonymous?: boolean;
  readonly limits?: Partial<RequestLimits>;
  /** Longest wait of {@link Gateway.drain} for streams under way. */
  readonly drainMs?: number;
}

/** A running gateway. */
export interface Gateway {
  /**
   * Binds both ports. Throws `ERR_PORT_IN_USE` (conflict), `ERR_ANONYMOUS_REFUSED` (denied) for an open address
   * without tenants, `ERR_LISTEN` (unavailable) for an address that cannot be bound.
   */
  start(): Promise<void>;
  /** Where clients find it, with the port that was taken. */
  readonly address: EndpointAddress;
  readonly adminAddress: EndpointAddress;
  /** Admits nothing more and waits, bounded, for what runs. Idempotent. */
  drain(): Promise<void>;
  /** Ends everything. Idempotent. */
  close(): Promise<void>;
}

const LIMITS: RequestLimits = {
  maxBodyBytes: 20 * 1024 * 1024,
  holdMs: 10_000,
  maxHeldBytes: 256 * 1024 * 1024,
};
const DRAIN_MS = 30_000;
const LOOPBACK = /^(?:127\.\d+\.\d+\.\d+|::1|localhost)$/;

/** Makes a gateway; nothing listens before {@link Gateway.start}. */
export function createGateway(options: GatewayOptions): Gateway {
  return new HttpGateway(options);
}

class HttpGateway implements Gateway {
  address: EndpointAddress;
  adminAddress: EndpointAddress;
  private readonly options: GatewayOptions;
  private readonly qos: ReturnType<typeof createQos>;
  private readonly upstreams: ReturnType<typeof createUpstreams>;
  private readonly stopFeeding: () => void;
  private readonly servers: Server[] = [];
  /** Answers under way, to the last byte. */
  private readonly open: Set<ServerResponse> = new Set();
  private whenIdle: () => void = () => undefined;
  private draining: Promise<void> | null = null;
  private closing: Promise<void> | null = null;

  constructor(options: GatewayOptions) {
    this.options = options;
    this.address = options.listen;
    this.adminAddress = options.adminListen;
    this.upstreams = createUpstreams();
    this.qos = createQos({
      clock: options.clock,
      logger: options.logger,
      observer: observeAdmission(options.metrics),
    });
    this.stopFeeding = feedDirectory(this.qos, options.directory);
  }

  async start(): Promise<void> {
    const { listen, adminListen, tenants, allowAnonymous } = this.options;
    if (tenants.anonymous && allowAnonymous !== true && !LOOPBACK.test(listen.host))
      throw openToAll(listen.host);
    try {
      this.address = await this.listen(this.publicServer(), listen, '--listen');
      this.adminAddress = await this.listen(this.adminServer(), adminListen, '--admin-listen');
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  drain(): Promise<void> {
    this.draining ??= this.waitForEnd();
    return this.draining;
  }

  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }

  private publicServer(): Server {
    const tools = {
      ...this.options,
      qos: this.qos,
      upstreams: this.upstreams,
      startedSeconds: Math.floor(this.options.clock.epochMs() / 1000),
      isDraining: () => this.draining !== null,
      limits: { ...LIMITS, ...this.options.limits },
      held: { bytes: 0 },
    };
    const server = createServer(
      { noDelay: true, maxHeaderSize: 32 * 1024, requireHostHeader: true },
      (request, response) => {
        this.open.add(response);
        response.once('close', () => {
          this.open.delete(response);
          if (this.open.size === 0) this.whenIdle();
        });
        void handleRequest(tools, request, response);
      },
    );
    // Only the reading of a request is bounded here; an answer may take as long as its client waits.
    server.headersTimeout = 20_000;
    server.requestTimeout = 60_000;
    server.keepAliveTimeout = 75_000;
    return server;
  }

  private adminServer(): Server {
    const { directory, metrics, exposition } = this.options;
    const app = createAdminApp({
      directory,
      qos: this.qos,
      isDraining: () => this.draining !== null,
      exposition: () => {
        recordQueues(this.qos, metrics);
        return exposition();
      },
    });
    return createServer(getRequestListener(app.fetch));
  }

  private listen(
    server: Server,
    { host, port }: EndpointAddress,
    flag: string,
  ): Promise<EndpointAddress> {
    this.servers.push(server);
    return new Promise((resolve, reject) => {
      server.once('error', (cause: NodeJS.ErrnoException) =>
        reject(cannotListen({ host, port }, flag, cause)),
      );
      server.listen({ host, port }, () => {
        const bound = server.address();
        resolve({ host, port: typeof bound === 'object' && bound !== null ? bound.port : port });
      });
    });
  }

  private async waitForEnd(): Promise<void> {
    const { clock, drainMs = DRAIN_MS } = this.options;
    let cancel = (): void => undefined;
    const late = new Promise<void>((resolve) => {
      cancel = clock.timer(drainMs, resolve);
    });
    // A permit ends with the engine's last byte; the client may still be reading then.
    const ended = this.qos.drain().then(
      () =>
        new Promise<void>((resolve) => {
          this.whenIdle = resolve;
          if (this.open.size === 0) resolve();
        }),
    );
    await Promise.race([ended, late]);
    cancel();
  }

  private async end(): Promise<void> {
    this.stopFeeding();
    this.qos.close();
    await Promise.all(this.servers.map(closeServer));
    await this.upstreams.close();
  }
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function cannotListen(
  { host, port }: EndpointAddress,
  flag: string,
  cause: NodeJS.ErrnoException,
): AimError {
  const where = `${host}:${port}`;
  if (cause.code === 'EADDRINUSE') {
    return new AimError({
      code: 'ERR_PORT_IN_USE',
      kind: 'conflict',
      message: `${where} is in use by another process`,
      hint: `give another address with ${flag}, or port 0 for a free one`,
      details: { host, port },
      cause,
    });
  }
  return new AimError({
    code: 'ERR_LISTEN',
    kind: cause.code === 'EACCES' ? 'denied' : 'unavailable',
    message: `cannot listen on ${where}: ${cause.code ?? cause.message}`,
    hint: `give another address with ${flag}`,
    details: { host, port },
    cause,
  });
}

function openToAll(host: string): AimError {
  return new AimError({
    code: 'ERR_ANONYMOUS_REFUSED',
    kind: 'denied',
    message: `the fleet has no tenants, so anybody who reaches ${host} could use its models`,
    hint: 'add tenants with keys, listen on 127.0.0.1, or say --allow-anonymous',
  });
}

/**
 * The gateway: the public server with qos in the path, the admin server beside it, and their common life. Owns ports,
 * draining and closing.
 */
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import {
  AimError,
  type Band,
  type Clock,
  type EndpointAddress,
  type EndpointDirectory,
  type IdSource,
  type Logger,
  type MetricSink,
  type StateStore,
} from '@aim-gpu/core';
import { createQos, createSnapshotKeeper, type SnapshotKeeper } from '@aim-gpu/qos';
import { getRequestListener } from '@hono/node-server';
import type { AccessLog } from './access-log.js';
import { createAdminApp } from './admin-app.js';
import { type BandTimeoutChanges, type BandTimeouts, toBandTimeouts } from './band-timeouts.js';
import { createClientErrorAnswer } from './client-error.js';
import { type SampleEngine, scrapeEngines } from './engine-scrape.js';
import { createLiveExchanges } from './live-exchanges.js';
import { createPrefixAffinity } from './prefix-affinity.js';
import { feedDirectory, recordQueues } from './qos-feed.js';
import { type HandlerTools, handleRequest, type RequestLimits } from './request-handler.js';
import { createRequestMetrics } from './request-series.js';
import { createRetryBudget } from './retry-budget.js';
import { createServedModels, type ServedModels } from './served-models.js';
import { createTenantTraffic } from './tenant-traffic.js';
import type { ResolvedTenants } from './tenants.js';
import { readTlsPair, type TlsFiles, watchTlsPair } from './tls-files.js';
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
  /** How long engines may take, by band. */
  readonly timeouts?: BandTimeoutChanges;
  /** Serve TLS with this certificate; the files are read again when they change. */
  readonly tls?: TlsFiles;
  /** Asked of the admin face but for `/healthz` and `/readyz`; needed on another address than loopback. */
  readonly adminToken?: string;
  /** Told of each request that ended; nothing is logged unless given. */
  readonly accessLog?: AccessLog;
  /** Reads an engine's own figures; without it only what the gateway itself has sent counts. */
  readonly sample?: SampleEngine;
  /** Milliseconds between looks at each engine; 1 s unless given. */
  readonly sampleEveryMs?: number;
  /** Where what must survive a restart is kept (accounts, estimates, SLOs); nowhere unless given. */
  readonly store?: StateStore;
  /** Longest wait of {@link Gateway.drain} for streams under way. */
  readonly drainMs?: number;
}

/** A running gateway. */
export interface Gateway {
  /**
   * Binds both ports. Throws `ERR_PORT_IN_USE` (conflict), `ERR_ANONYMOUS_REFUSED` (denied) for an open address
   * without tenants, `ERR_ADMIN_OPEN` (denied) for an open admin address without token, `ERR_TLS_INVALID` (invalid),
   * `ERR_LISTEN` (unavailable) for an address that cannot be bound.
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
  maxUrlBytes: 8 * 1024,
  headersMs: 20_000,
  requestMs: 60_000,
  holdMs: 10_000,
  maxHeldBytes: 256 * 1024 * 1024,
  maxOpenPerTenant: 4096,
  suspendMs: 1_000,
};
/** Repeats at engines, all requests together: beyond a fifth the fault is not one engine's. */
const RETRIES = { share: 0.2, least: 20, windowMs: 10_000 } as const;
const SAMPLE_MS = 1_000;
const SWEEP_MS = 1_000;
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
  private readonly served: ServedModels;
  private readonly live: ReturnType<typeof createLiveExchanges>;
  private readonly timeouts: Readonly<Record<Band, BandTimeouts>>;
  private readonly series: ReturnType<typeof createRequestMetrics>;
  private readonly snapshots: SnapshotKeeper | null;
  private readonly stops: (() => void)[] = [];
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
    const { clock, logger, directory, store, sample, sampleEveryMs = SAMPLE_MS } = options;
    this.timeouts = toBandTimeouts(options.timeouts);
    this.upstreams = createUpstreams({ clock });
    this.series = createRequestMetrics(options.metrics);
    this.live = createLiveExchanges({ clock, everyMs: sweepMs(this.timeouts) });
    this.qos = createQos({
      clock,
      logger,
      observer: this.series,
      freshMs: sampleEveryMs * 2,
    });
    this.served = createServedModels(directory, {
      createdSeconds: Math.floor(clock.epochMs() / 1000),
    });
    this.stops.push(
      () => this.served.close(),
      feedDirectory(this.qos, directory),
      directory.subscribe(() => this.upstreams.retain(this.addresses())),
    );
    this.snapshots =
      store === undefined
        ? null
        : createSnapshotKeeper({ qos: this.qos, store, clock, logger, name: 'gateway-qos' });
    if (sample !== undefined) {
      const { served, live, qos } = this;
      this.stops.push(
        scrapeEngines({ sample, everyMs: sampleEveryMs, served, live, qos, clock, logger }),
      );
    }
  }

  async start(): Promise<void> {
    const { listen, adminListen, tenants, allowAnonymous } = this.options;
    if (tenants.anonymous && allowAnonymous !== true && !LOOPBACK.test(listen.host))
      throw openToAll(listen.host);
    if (this.options.adminToken === undefined && !LOOPBACK.test(adminListen.host))
      throw adminOpen(adminListen.host);
    try {
      await this.snapshots?.start();
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

  private addresses(): readonly EndpointAddress[] {
    return this.served
      .all()
      .flatMap(({ endpoints }) => [...endpoints.values()].map(({ address }) => address));
  }

  private publicServer(): Server {
    const { options } = this;
    const limits = { ...LIMITS, ...options.limits };
    const tools: HandlerTools = {
      directory: options.directory,
      tenants: options.tenants,
      clock: options.clock,
      ids: options.ids,
      logger: options.logger,
      accessLog: options.accessLog ?? null,
      qos: this.qos,
      upstreams: this.upstreams,
      served: this.served,
      live: this.live,
      series: this.series,
      timeouts: this.timeouts,
      retries: createRetryBudget(RETRIES),
      traffic: createTenantTraffic({ maxOpen: limits.maxOpenPerTenant }),
      affinity: createPrefixAffinity(),
      isDraining: () => this.draining !== null,
      limits,
      held: { bytes: 0 },
    };
    const server = this.newServer(limits, (request, response) => {
      this.open.add(response);
      response.once('close', () => {
        this.open.delete(response);
        if (this.open.size === 0) this.whenIdle();
      });
      handleRequest(tools, request, response);
    });
    server.on('clientError', createClientErrorAnswer(options.metrics));
    // Only the reading of a request is bounded here; an answer may take as long as its band allows.
    server.headersTimeout = Math.min(limits.headersMs, limits.requestMs);
    server.requestTimeout = limits.requestMs;
    server.keepAliveTimeout = 75_000;
    return server;
  }

  private newServer({ headersMs }: RequestLimits, listener: RequestListener): Server {
    const { tls, clock, logger } = this.options;
    const settings = {
      noDelay: true,
      // Finds clients that vanished without a word.
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
      maxHeaderSize: 32 * 1024,
      requireHostHeader: true,
      insecureHTTPParser: false,
      // Node looks for slow senders that often; its own 30 s would let them stay half a minute longer.
      connectionsCheckingInterval: Math.min(5_000, headersMs / 4),
    };
    if (tls === undefined) return createServer(settings, listener);
    const first = readTlsPair(tls);
    const server = createTlsServer({ ...settings, ...first, minVersion: 'TLSv1.2' }, listener);
    const onPair = server.setSecureContext.bind(server);
    this.stops.push(watchTlsPair({ files: tls, first, clock, logger, onPair }));
    return server;
  }

  private adminServer(): Server {
    const { metrics, exposition, adminToken } = this.options;
    const app = createAdminApp({
      served: this.served,
      live: this.live,
      qos: this.qos,
      tenants: this.options.tenants.admin ?? null,
      token: adminToken ?? null,
      isDraining: () => this.draining !== null,
      drain: () => void this.drain(),
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
    for (const stop of this.stops) stop();
    await this.snapshots?.stop();
    this.qos.close();
    this.live.close();
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

function adminOpen(host: string): AimError {
  return new AimError({
    code: 'ERR_ADMIN_OPEN',
    kind: 'denied',
    message: `anybody who reaches ${host} could stop this gateway and read whom it serves`,
    hint: 'set AIM_GPU_ADMIN_TOKEN, or let the admin face listen on 127.0.0.1',
  });
}

/** Looks a few times within the shortest of all times, so that nobody is late for long. */
function sweepMs(timeouts: Readonly<Record<Band, BandTimeouts>>): number {
  const shortest = Math.min(
    ...Object.values(timeouts).flatMap(({ firstByteMs, idleMs, totalMs }) => [
      firstByteMs,
      idleMs,
      totalMs,
    ]),
  );
  return Math.max(10, Math.min(SWEEP_MS, shortest / 4));
}

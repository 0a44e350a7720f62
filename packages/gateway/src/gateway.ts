/**
 * The gateway: the public server with qos in the path, the admin server beside it, and their common life. Owns ports,
 * draining and closing.
 */
import { createServer, type Server } from 'node:http';
import {
  AimError,
  type Band,
  type BandDemand,
  type BandTimeouts,
  DEFAULT_GATEWAY_POLICY,
  type EndpointAddress,
  type GatewayPolicy,
} from '@aim-gpu/core';
import { createQos, createSnapshotKeeper, type SnapshotKeeper } from '@aim-gpu/qos';
import { getRequestListener } from '@hono/node-server';
import { createAdminApp } from './admin-app.js';
import { toBandTimeouts } from './band-timeouts.js';
import { createBodyBudget } from './body-budget.js';
import { createCallerMemo } from './caller-memo.js';
import { scrapeEngines } from './engine-scrape.js';
import { createEngineTrust, type EngineTrust } from './engine-trust.js';
import type { Gateway, GatewayOptions } from './gateway-options.js';
import type { HandlerTools, RequestLimits } from './incoming.js';
import { closeServer, listen } from './listening.js';
import { createLiveExchanges } from './live-exchanges.js';
import { isLoopbackAddress } from './loopback.js';
import { createModelHolds } from './model-hold.js';
import { createOpenAnswers } from './open-answers.js';
import { createPreemptCalls } from './preempt-calls.js';
import { createPrefixAffinity } from './prefix-affinity.js';
import { createPublicServer } from './public-server.js';
import { feedDirectory, recordQueues } from './qos-feed.js';
import { handleRequest, refuseExpectation } from './request-handler.js';
import { createRequestMetrics } from './request-series.js';
import { createRetryBudget } from './retry-budget.js';
import { createServedModels, type ServedModels } from './served-models.js';
import { createTenantTraffic } from './tenant-traffic.js';
import { createUpstreams } from './upstream.js';

const LIMITS: RequestLimits = {
  maxBodyBytes: DEFAULT_GATEWAY_POLICY.maxBodyBytes,
  maxUrlBytes: 8 * 1024,
  headersMs: 20_000,
  requestMs: 60_000,
  holdMs: DEFAULT_GATEWAY_POLICY.holdMs,
  maxHeldBytes: 256 * 1024 * 1024,
  maxHeldBytesPerTenant: 128 * 1024 * 1024,
  maxOpenPerTenant: DEFAULT_GATEWAY_POLICY.openPerTenant,
  suspendMs: 1_000,
};
/** Repeats at engines, all requests together: beyond a fifth the fault is not one engine's. */
const RETRIES = { share: 0.2, least: 20, windowMs: 10_000 } as const;
const SAMPLE_MS = 1_000;
const SWEEP_MS = 1_000;
const DRAIN_MS = 30_000;

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
  /** Both are looked at for each request, and changed in place. */
  private readonly limits: RequestLimits;
  private readonly timeouts: Readonly<Record<Band, BandTimeouts>>;
  private readonly series: ReturnType<typeof createRequestMetrics>;
  private readonly snapshots: SnapshotKeeper | null;
  private readonly trust: EngineTrust = createEngineTrust();
  private readonly stops: (() => void)[] = [];
  private readonly servers: Server[] = [];
  private readonly answers: ReturnType<typeof createOpenAnswers> = createOpenAnswers();
  private sweepEveryMs: number;
  private draining: Promise<void> | null = null;
  private closing: Promise<void> | null = null;

  constructor(options: GatewayOptions) {
    this.options = options;
    this.address = options.listen;
    this.adminAddress = options.adminListen;
    const { clock, logger, directory, store, sample, sampleEveryMs = SAMPLE_MS } = options;
    this.limits = { ...LIMITS, ...options.limits };
    this.timeouts = toBandTimeouts(options.timeouts);
    this.sweepEveryMs = sweepMs(this.timeouts);
    this.upstreams = createUpstreams({ clock });
    this.series = createRequestMetrics(options.metrics);
    this.live = createLiveExchanges({ clock, everyMs: () => this.sweepEveryMs });
    this.qos = createQos({
      clock,
      logger,
      observer: this.series,
      freshMs: sampleEveryMs * 2,
      preemptStreams: options.preemptStreams ?? false,
      // One more than a request has, for one that waits for its engine's next process.
      maxRetries: 2,
    });
    this.served = createServedModels(directory, {
      clock,
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
      const { served, live, qos, trust } = this;
      const everyMs = sampleEveryMs;
      this.stops.push(scrapeEngines({ sample, everyMs, served, live, qos, trust, clock, logger }));
    }
  }

  async start(): Promise<void> {
    const { listen: listenAt, adminListen, tenants, allowAnonymous } = this.options;
    if (tenants.anonymous && allowAnonymous !== true && !isLoopbackAddress(listenAt.host))
      throw openToAll(listenAt.host);
    if (this.options.adminToken === undefined && !isLoopbackAddress(adminListen.host))
      throw adminOpen(adminListen.host);
    try {
      await this.snapshots?.start();
      this.address = await this.open(this.publicServer(), listenAt, '--listen');
      this.adminAddress = await this.open(this.adminServer(), adminListen, '--admin-listen');
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

  applyPolicy({ maxBodyBytes, holdMs, openPerTenant, timeouts }: GatewayPolicy): void {
    Object.assign(this.limits, { maxBodyBytes, holdMs, maxOpenPerTenant: openPerTenant });
    // Each request has its band's entry, and keeps it.
    Object.assign(this.timeouts, timeouts);
    this.sweepEveryMs = sweepMs(this.timeouts);
  }

  demand(): readonly BandDemand[] {
    return this.qos.demand();
  }

  private addresses(): readonly EndpointAddress[] {
    return this.served
      .all()
      .flatMap(({ endpoints }) => [...endpoints.values()].map(({ address }) => address));
  }

  private publicServer(): Server {
    const { options, limits } = this;
    const tools: HandlerTools = {
      tenants: options.tenants,
      callers: createCallerMemo(options.tenants),
      answers: this.answers,
      bodies: createBodyBudget(limits),
      clock: options.clock,
      ids: options.ids,
      logger: options.logger,
      accessLog: options.accessLog ?? null,
      qos: this.qos,
      upstreams: this.upstreams,
      served: this.served,
      live: this.live,
      holds: createModelHolds({
        directory: options.directory,
        clock: options.clock,
        limits,
      }),
      series: this.series,
      timeouts: this.timeouts,
      retries: createRetryBudget(RETRIES),
      trust: this.trust,
      traffic: createTenantTraffic(limits),
      affinity: createPrefixAffinity(),
      preempts: createPreemptCalls(),
      isDraining: () => this.draining !== null,
      isLocal: isLoopbackAddress(options.listen.host),
      limits,
    };
    const { server, stop } = createPublicServer({
      limits,
      tls: options.tls ?? null,
      clock: options.clock,
      logger: options.logger,
      metrics: options.metrics,
      onRequest: (request, response) => handleRequest(tools, request, response),
      onExpectation: (request, response) => refuseExpectation(tools, request, response),
    });
    this.stops.push(stop);
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

  private open(server: Server, address: EndpointAddress, flag: string): Promise<EndpointAddress> {
    this.servers.push(server);
    return listen(server, address, flag);
  }

  private async waitForEnd(): Promise<void> {
    const { clock, drainMs = DRAIN_MS } = this.options;
    let cancel = (): void => undefined;
    const late = new Promise<void>((resolve) => {
      cancel = clock.timer(drainMs, resolve);
    });
    // A permit ends with the engine's last byte; the client may still be reading then.
    const ended = this.qos.drain().then(() => this.answers.whenNone());
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

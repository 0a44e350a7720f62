/**
 * What a gateway is for its host: its options, what can be asked of it. Types only; the gateway itself is gateway.ts.
 */
import type {
  Clock,
  DemandSignal,
  EndpointAddress,
  EndpointDirectory,
  GatewayPolicy,
  IdSource,
  Logger,
  MetricSink,
  StateStore,
} from '@aim-gpu/core';
import type { AccessLog } from './access-log.js';
import type { BandTimeoutChanges } from './band-timeouts.js';
import type { SampleEngine } from './engine-scrape.js';
import type { RequestLimits } from './incoming.js';
import type { ResolvedTenants } from './tenants.js';
import type { TlsFiles } from './tls-files.js';

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
  /**
   * Whether streams of bands that may be preempted are stopped, with an error as their last event, when a request of a
   * higher band waits for their place; false unless given.
   */
  readonly preemptStreams?: boolean;
  /** Longest wait of {@link Gateway.drain} for streams under way. */
  readonly drainMs?: number;
}

/** A running gateway. As a {@link DemandSignal} it tells the planner what is asked of each model and band. */
export interface Gateway extends DemandSignal {
  /**
   * Binds both ports. Throws `ERR_PORT_IN_USE` (conflict), `ERR_ANONYMOUS_REFUSED` (denied) for an open address
   * without tenants, `ERR_ADMIN_OPEN` (denied) for an open admin address without token, `ERR_TLS_INVALID` (invalid),
   * `ERR_LISTEN` (unavailable) for an address that cannot be bound.
   */
  start(): Promise<void>;
  /** Where clients find it, with the port that was taken. */
  readonly address: EndpointAddress;
  readonly adminAddress: EndpointAddress;
  /** Takes other bounds of requests into use, from the next request on; those under way keep their time-outs. */
  applyPolicy(policy: GatewayPolicy): void;
  /** Admits nothing more and waits, bounded, for what runs. Idempotent. */
  drain(): Promise<void>;
  /** Ends everything. Idempotent. */
  close(): Promise<void>;
}

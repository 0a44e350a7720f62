/**
 * The keys of a fleet file, once, for both directions: numbers when read, text with units when written. Owns the
 * names and nesting of the file's vocabulary; defaults and checks are in schema.ts, the domain's own types in core.
 */
import type { Band, Objective, SpreadTopology, WorkloadKind } from '@aim-gpu/core';

/** One card of a simulated node, as the file says it. */
export interface CardShape {
  readonly id: string | null;
  readonly product: string;
  readonly hive: string | null;
}

/** One node, as the file says it. `cards` is null where the file says nothing about them. */
export interface NodeShape {
  readonly name: string;
  readonly driver: 'simulated' | 'rocm';
  readonly cards: readonly CardShape[] | null;
  readonly cordon: 'all' | readonly string[];
  readonly cardPricePerHour: number | null;
}

/** Latency targets, as the file says them; a missing key takes the band's preset, null is no target. */
export interface SloShape<Time, Share> {
  readonly ttft?: Time | null | undefined;
  readonly tpot?: Time | null | undefined;
  readonly e2e?: Time | null | undefined;
  readonly objective?: Share | undefined;
}

/** Where a model may, should or must run, as the file says it. */
export interface PlacementShape<Size> {
  readonly exclusive: boolean;
  readonly products: readonly string[];
  readonly nodes: readonly string[];
  readonly near: readonly string[];
  readonly apart: readonly string[];
  readonly pin: {
    readonly node: string;
    readonly card: string;
    readonly partition: number | null;
  } | null;
  readonly minShare: Size | null;
  readonly spread: { readonly over: SpreadTopology; readonly maxSkew: number } | null;
  readonly protected: boolean;
}

/** Limits of a tenant, of a model, or of a tenant on one model, as the file says them; null is unlimited. */
export interface LimitsShape {
  readonly requestsPerMinute: number | null;
  readonly inputTokensPerMinute: number | null;
  readonly outputTokensPerMinute: number | null;
  readonly concurrent: number | null;
}

/** One model, as the file says it. */
export interface ModelShape<Time, Size, Share> {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly source: string;
  readonly kind: WorkloadKind;
  readonly dtype: string;
  readonly quantization: string;
  readonly kvCacheDtype: string;
  readonly maxModelLen: number | null;
  readonly concurrency: number;
  readonly expectedFill: number;
  readonly load: {
    readonly requestsPerSecond: number;
    readonly promptTokens: number;
    readonly outputTokens: number;
  } | null;
  readonly replicas: {
    readonly min: number;
    readonly max: number;
    readonly idle?: Time | null | undefined;
  };
  readonly band: Band;
  readonly slo: SloShape<Time, Share>;
  readonly engine: {
    readonly name: string;
    readonly version: string | null;
    readonly args: Readonly<Record<string, unknown>>;
  };
  readonly parallel: { readonly tensor: number; readonly pipeline: number };
  readonly fallback: string | null;
  readonly adapters: readonly { readonly name: string; readonly path: string }[];
  readonly placement: PlacementShape<Size>;
  readonly tenant: string | null;
  readonly gang: string | null;
  readonly of: { readonly model: string; readonly within: 'card' | 'node' } | null;
  readonly duration: Time | null;
  readonly limits: LimitsShape;
}

/** Where a tenant's key comes from, as the file says it: exactly one of the three. */
export interface KeyShape {
  readonly env?: string | undefined;
  readonly file?: string | undefined;
  readonly sha256?: string | undefined;
}

/** What a tenant's models may take, as the file says it. */
export interface QuotaShape<Size> {
  readonly memory: Size;
  readonly borrow: Size | null;
  readonly guaranteed: Size;
}

/** One tenant, as the file says it. */
export interface TenantShape<Size> {
  readonly name: string;
  readonly keys: readonly KeyShape[];
  readonly weight: number;
  readonly bands: readonly Band[];
  readonly limits: LimitsShape;
  readonly modelLimits: Readonly<Record<string, LimitsShape>>;
  readonly quota: QuotaShape<Size> | null;
}

/** How long requests of one band may take, as the file says it. */
export interface TimeoutsShape<Time> {
  readonly firstByte: Time;
  readonly idle: Time;
  readonly total: Time;
}

/** Bounds of requests at the gateway, as the file says them. */
export interface GatewayShape<Time, Size> {
  readonly maxBody: Size;
  readonly hold: Time;
  readonly openPerTenant: number;
  readonly timeouts: Readonly<Record<Band, TimeoutsShape<Time>>>;
}

/** A whole fleet file; the parameters are the types of its quantities. */
export interface FleetShape<Time, Size, Share> {
  readonly apiVersion: 'aim-gpu/v1alpha1';
  readonly kind: 'Fleet';
  readonly metadata: { readonly name: string };
  readonly nodes: readonly NodeShape[];
  readonly models: readonly ModelShape<Time, Size, Share>[];
  readonly tenants: readonly TenantShape<Size>[];
  readonly policy: {
    readonly objective: Objective;
    readonly repartition: { readonly allow: boolean; readonly maxDowntime: Time };
    readonly memoryReserve: Share;
    readonly slowdown: Share;
    readonly gateway: GatewayShape<Time, Size>;
  };
}

/** A fleet file as read: times in milliseconds, sizes in bytes, shares as ratios. */
export type FleetFile = FleetShape<number, number, number>;
/** A fleet as a file says it, every default filled in: quantities are text such as `50ms`, `20GiB`, `2%`. */
export type FleetDocument = FleetShape<string, string, string>;

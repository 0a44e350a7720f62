/**
 * A fleet back to the file's own vocabulary, every default written out. Owns the inverse of domain.ts: what is written
 * here parses to the same fleet again.
 */
import {
  DEFAULT_GATEWAY_POLICY,
  type Fleet,
  type FleetNode,
  type GatewayPolicy,
  type KeySource,
  type Tenant,
  type TenantLimits,
  type Workload,
} from '@aim-gpu/core';
import { shareText, sizeText, timeText } from './quantity-text.js';
import { API_VERSION } from './schema.js';
import type {
  FleetDocument,
  GatewayShape,
  KeyShape,
  LimitsShape,
  ModelShape,
  NodeShape,
  TenantShape,
} from './shape.js';
import { byBand } from './shared-words.js';

function orNull<T>(value: T | null, write: (value: T) => string): string | null {
  return value === null ? null : write(value);
}

function toNodeShape(node: FleetNode): NodeShape {
  const { name, driver, cards, cordoned = [], cardPricePerHour = null } = node;
  const written = cards.map(({ id, product, hive }) => ({ id, product, hive }));
  return {
    name,
    driver,
    cards: written.length === 0 ? null : written,
    cordon: cordoned,
    cardPricePerHour,
  };
}

function toModelShape(model: Workload): ModelShape<string, string, string> {
  const { placement, replicas, slo } = model;
  return {
    name: model.name,
    aliases: model.aliases,
    source: model.source,
    kind: model.kind,
    dtype: model.dtype,
    quantization: model.quantization,
    kvCacheDtype: model.kvCacheDtype,
    maxModelLen: model.maxModelLen,
    concurrency: model.concurrency,
    expectedFill: model.expectedFill,
    load: model.load === null ? null : { ...model.load },
    replicas: { min: replicas.min, max: replicas.max, idle: orNull(replicas.idleMs, timeText) },
    band: model.band,
    slo: {
      ttft: orNull(slo.ttftMs, timeText),
      tpot: orNull(slo.tpotMs, timeText),
      e2e: orNull(slo.e2eMs, timeText),
      objective: shareText(slo.objective),
    },
    engine: { name: model.engine.name, version: model.engine.version, args: model.engine.args },
    parallel: { tensor: model.parallel.tensor, pipeline: model.parallel.pipeline },
    fallback: model.fallback,
    adapters: model.adapters.map(({ name, path }) => ({ name, path })),
    placement: {
      exclusive: placement.exclusive,
      products: placement.products,
      nodes: placement.nodes,
      near: placement.near,
      apart: placement.apart,
      pin: placement.pin === null ? null : { ...placement.pin },
      minShare: orNull(placement.minShareBytes, sizeText),
      spread: placement.spread ?? null,
      protected: placement.protected ?? false,
    },
    tenant: model.tenant ?? null,
    gang: model.gang ?? null,
    of: model.of ?? null,
    duration: orNull(model.durationMs ?? null, timeText),
    limits: toLimitsShape(model.limits),
  };
}

function toKeyShape(key: KeySource): KeyShape {
  if (key.kind === 'env') return { env: key.name };
  return key.kind === 'file' ? { file: key.path } : { sha256: key.digest };
}

function toLimitsShape(limits: TenantLimits | undefined): LimitsShape {
  return {
    requestsPerMinute: limits?.requestsPerMinute ?? null,
    inputTokensPerMinute: limits?.inputTokensPerMinute ?? null,
    outputTokensPerMinute: limits?.outputTokensPerMinute ?? null,
    concurrent: limits?.concurrent ?? null,
  };
}

function toGatewayShape(gateway: GatewayPolicy): GatewayShape<string, string> {
  const { maxBodyBytes, holdMs, openPerTenant, timeouts } = gateway;
  return {
    maxBody: sizeText(maxBodyBytes),
    hold: timeText(holdMs),
    openPerTenant,
    timeouts: byBand((band) => {
      const { firstByteMs, idleMs, totalMs } = timeouts[band];
      return { firstByte: timeText(firstByteMs), idle: timeText(idleMs), total: timeText(totalMs) };
    }),
  };
}

function toTenantShape(tenant: Tenant): TenantShape<string> {
  const { modelLimits = {} } = tenant;
  return {
    name: tenant.name,
    keys: tenant.keys.map(toKeyShape),
    weight: tenant.weight,
    bands: tenant.bands,
    limits: toLimitsShape(tenant.limits),
    modelLimits: Object.fromEntries(
      Object.entries(modelLimits).map(([model, limits]) => [model, toLimitsShape(limits)]),
    ),
    quota: toQuotaShape(tenant),
  };
}

function toQuotaShape({ quota = null }: Tenant): TenantShape<string>['quota'] {
  if (quota === null) return null;
  const size = (value: number): string => (value === 0 ? '0' : sizeText(value));
  return {
    memory: sizeText(quota.memoryBytes),
    borrow: orNull(quota.borrowBytes, size),
    guaranteed: size(quota.guaranteedBytes),
  };
}

/**
 * Writes a fleet as its file would say it, with every default: plain JSON, paths absolute, cards and replicas in their
 * long forms. Parsing the result gives the same fleet.
 */
export function toFleetDocument(fleet: Fleet): FleetDocument {
  const { repartition, objective, memoryReserve, slowdown } = fleet.policy;
  const { gateway = DEFAULT_GATEWAY_POLICY } = fleet.policy;
  return {
    apiVersion: API_VERSION,
    kind: 'Fleet',
    metadata: { name: fleet.name },
    nodes: fleet.nodes.map(toNodeShape),
    models: fleet.models.map(toModelShape),
    tenants: fleet.tenants.map(toTenantShape),
    policy: {
      objective,
      repartition: { allow: repartition.allow, maxDowntime: timeText(repartition.maxDowntimeMs) },
      memoryReserve: shareText(memoryReserve),
      slowdown: shareText(slowdown),
      gateway: toGatewayShape(gateway),
    },
  };
}

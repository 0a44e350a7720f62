/**
 * A checked file to the domain's own types: units become branded numbers, paths absolute, bands bring their targets.
 * Owns the defaults that depend on another value; it trusts what schema.ts and references.ts have checked.
 */
import { dirname, isAbsolute, resolve } from 'node:path';
import {
  bytes,
  cardId,
  type Fleet,
  type FleetNode,
  type GatewayPolicy,
  hiveId,
  type KeySource,
  nodeName,
  ratio,
  type Slo,
  type Tenant,
  tenantName,
  type Workload,
  workloadName,
} from '@aim-gpu/core';
import type {
  CardShape,
  FleetFile,
  KeyShape,
  ModelShape,
  NodeShape,
  TenantShape,
} from './shape.js';
import { byBand } from './shared-words.js';
import { completeCards } from './simulated-cards.js';
import { SLO_PRESETS } from './slo-presets.js';

type FileModel = ModelShape<number, number, number>;

/** How long replicas of a model that may be parked wait for a request when the file does not say. */
const IDLE_MS = 600_000;

/** What a simulated node has when its file says nothing of cards. */
export const DEFAULT_CARD: CardShape = { id: null, product: 'MI300X', hive: null };

/** Whether a model's source is a path rather than a catalogue id. */
function isPathSource(source: string): boolean {
  return source.startsWith('.') || isAbsolute(source) || source.endsWith('.json');
}

function toNode(node: NodeShape): FleetNode {
  // Cards said of a rocm node are kept: `--driver simulated` on the command line may want them.
  const cards = node.cards ?? (node.driver === 'rocm' ? [] : [DEFAULT_CARD]);
  return {
    name: nodeName(node.name),
    driver: node.driver,
    cards: completeCards(node.name, cards).map((card) => ({
      id: cardId(card.id),
      product: card.product,
      hive: hiveId(card.hive),
    })),
    cordoned: node.cordon === 'all' ? 'all' : node.cordon.map(cardId),
    cardPricePerHour: node.cardPricePerHour,
  };
}

function toSlo(model: FileModel): Slo {
  const preset = SLO_PRESETS[model.band];
  const { ttft, tpot, e2e, objective } = model.slo;
  return {
    ttftMs: ttft === undefined ? preset.ttftMs : ttft,
    tpotMs: tpot === undefined ? preset.tpotMs : tpot,
    e2eMs: e2e === undefined ? preset.e2eMs : e2e,
    objective: ratio(objective ?? preset.objective),
  };
}

function toReplicas({ min, max, idle }: FileModel['replicas']): Workload['replicas'] {
  return { min, max, idleMs: idle === undefined ? (min === 0 ? IDLE_MS : null) : idle };
}

function toWorkload(model: FileModel, directory: string): Workload {
  const { placement } = model;
  return {
    name: workloadName(model.name),
    aliases: model.aliases,
    source: isPathSource(model.source) ? resolve(directory, model.source) : model.source,
    kind: model.kind,
    dtype: model.dtype,
    quantization: model.quantization,
    kvCacheDtype: model.kvCacheDtype,
    maxModelLen: model.maxModelLen,
    concurrency: model.concurrency,
    expectedFill: ratio(model.expectedFill),
    load: model.load,
    replicas: toReplicas(model.replicas),
    band: model.band,
    slo: toSlo(model),
    engine: model.engine,
    parallel: model.parallel,
    fallback: model.fallback === null ? null : workloadName(model.fallback),
    adapters: model.adapters.map(({ name, path }) => ({ name, path: resolve(directory, path) })),
    placement: {
      exclusive: placement.exclusive,
      products: placement.products,
      nodes: placement.nodes.map(nodeName),
      near: placement.near.map(workloadName),
      apart: placement.apart.map(workloadName),
      pin:
        placement.pin === null
          ? null
          : {
              node: nodeName(placement.pin.node),
              card: cardId(placement.pin.card),
              partition: placement.pin.partition,
            },
      minShareBytes: placement.minShare === null ? null : bytes(placement.minShare),
      spread: placement.spread,
      protected: placement.protected,
    },
    tenant: model.tenant === null ? null : tenantName(model.tenant),
    gang: model.gang,
    of: model.of === null ? null : { ...model.of, model: workloadName(model.of.model) },
    durationMs: model.duration,
    limits: model.limits,
  };
}

function toKey(key: KeyShape, directory: string): KeySource {
  if (key.env !== undefined) return { kind: 'env', name: key.env };
  if (key.file !== undefined) return { kind: 'file', path: resolve(directory, key.file) };
  return { kind: 'sha256', digest: (key.sha256 ?? '').toLowerCase() };
}

function toTenant(tenant: TenantShape<number>, directory: string): Tenant {
  const { quota } = tenant;
  return {
    name: tenantName(tenant.name),
    keys: tenant.keys.map((key) => toKey(key, directory)),
    weight: tenant.weight,
    bands: tenant.bands,
    limits: tenant.limits,
    modelLimits: tenant.modelLimits,
    quota:
      quota === null
        ? null
        : {
            memoryBytes: bytes(quota.memory),
            borrowBytes: quota.borrow === null ? null : bytes(quota.borrow),
            guaranteedBytes: bytes(quota.guaranteed),
          },
  };
}

function toGatewayPolicy(gateway: FleetFile['policy']['gateway']): GatewayPolicy {
  const { maxBody, hold, openPerTenant, timeouts } = gateway;
  return {
    maxBodyBytes: bytes(maxBody),
    holdMs: hold,
    openPerTenant,
    timeouts: byBand((band) => {
      const { firstByte, idle, total } = timeouts[band];
      return { firstByteMs: firstByte, idleMs: idle, totalMs: total };
    }),
  };
}

/** Makes the fleet of a checked file. Relative paths become absolute, from the directory of `file`. */
export function toFleet(checked: FleetFile, file: string): Fleet {
  const directory = dirname(resolve(file));
  const { repartition } = checked.policy;
  return {
    name: checked.metadata.name,
    nodes: checked.nodes.map(toNode),
    models: checked.models.map((model) => toWorkload(model, directory)),
    tenants: checked.tenants.map((tenant) => toTenant(tenant, directory)),
    policy: {
      objective: checked.policy.objective,
      repartition: { allow: repartition.allow, maxDowntimeMs: repartition.maxDowntime },
      memoryReserve: ratio(checked.policy.memoryReserve),
      slowdown: ratio(checked.policy.slowdown),
      gateway: toGatewayPolicy(checked.policy.gateway),
    },
  };
}

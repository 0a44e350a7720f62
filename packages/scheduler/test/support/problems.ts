/**
 * Problems in few words: models by name, memory and wishes; cards by product and count. Sizes are given, not computed:
 * these tests are about placement.
 */
import {
  type Band,
  bytes,
  type Demand,
  type Fleet,
  GIB,
  type Inventory,
  type Layout,
  nodeName,
  type PlacementWish,
  type Policy,
  ratio,
  type Workload,
  type WorkloadName,
  workloadName,
} from '@aim-gpu/core';
import { aCard, aDemand, aFleet, anInventory, aWorkload, someCards } from '@aim-gpu/core/testing';
import type { FleetProblem } from '../../src/index.js';

/** A model in few words. */
export interface ModelWords {
  readonly name: string;
  /** Memory of each share, most of it weights. */
  readonly gib: number;
  readonly band?: Band;
  readonly replicas?: number;
  readonly ranks?: number;
  readonly requestsPerSecond?: number;
  readonly placement?: Partial<PlacementWish>;
  readonly workload?: Partial<Workload>;
}

/** A problem in few words. */
export interface ProblemWords {
  readonly models: readonly ModelWords[];
  readonly cards?: { readonly product?: string; readonly count?: number; readonly layout?: Layout };
  readonly policy?: Partial<Policy>;
  readonly inventories?: readonly Inventory[];
}

const FREE: PlacementWish = {
  exclusive: false,
  products: [],
  nodes: [],
  near: [],
  apart: [],
  pin: null,
  minShareBytes: null,
};

/** Spells out a problem. */
export function aProblem(words: ProblemWords): FleetProblem {
  const fleet: Fleet = aFleet({
    models: words.models.map(toWorkload),
    policy: { ...aFleet().policy, ...words.policy },
  });
  return {
    fleet,
    inventories: words.inventories ?? [
      anInventory({ node: nodeName('node0'), cards: toCards(words) }),
    ],
    demands: new Map(words.models.map((model) => [workloadName(model.name), toDemand(model)])),
  };
}

function toCards({ cards = {} }: ProblemWords): Inventory['cards'] {
  const overrides = {
    ...(cards.product === undefined ? {} : { product: cards.product }),
    ...(cards.layout === undefined ? {} : { layout: cards.layout }),
  };
  return cards.count === undefined ? [aCard(overrides)] : someCards(cards.count, overrides);
}

function toWorkload(model: ModelWords): Workload {
  const replicas = model.replicas ?? 1;
  return aWorkload({
    name: workloadName(model.name),
    band: model.band ?? 'standard',
    replicas: { min: replicas, max: replicas, idleMs: null },
    parallel: { tensor: model.ranks ?? 1, pipeline: 1 },
    load: {
      requestsPerSecond: model.requestsPerSecond ?? 0.05,
      promptTokens: 200,
      outputTokens: 20,
    },
    placement: { ...FREE, ...model.placement },
    slo: { ttftMs: null, tpotMs: null, e2eMs: null, objective: ratio(0.99) },
    ...model.workload,
  });
}

function toDemand(model: ModelWords): Demand {
  const weights = Math.round(model.gib * GIB * 0.6);
  const kv = Math.round(model.gib * GIB) - weights;
  return aDemand({
    workload: workloadName(model.name) as WorkloadName,
    ranks: model.ranks ?? 1,
    memory: {
      weightsBytes: bytes(weights),
      activationBytes: bytes(0),
      nonTorchBytes: bytes(0),
      graphBytes: bytes(0),
      contextBytes: bytes(0),
      kvBytes: bytes(kv),
      kvMinimumBytes: bytes(Math.floor(kv / 8)),
    },
    step: { parameters: weights / 2, activeParameters: weights / 2, alwaysReadBytes: weights },
  });
}

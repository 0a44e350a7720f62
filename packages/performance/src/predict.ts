/**
 * Predicts one engine on one partition under one load: chooses the loop, applies co-tenants, grade and band. The
 * formulas are in step-model.ts and closed-loop.ts and open-loop.ts.
 */
import type { CoTenantActivity, StepDemand } from '@aim-gpu/core';
import { DEFAULT_ASSUMPTIONS, type PerformanceAssumptions } from './assumptions.js';
import { MEASURED_BANDS, toEstimate } from './bands.js';
import { closedLoopMeans } from './closed-loop.js';
import { meanCoTenantSlowdown } from './co-tenants.js';
import {
  ENGINE_PROFILES,
  type EngineConstants,
  type EngineFamily,
  type Grade,
} from './engine-constants.js';
import type { EngineLimits, LoadMeans } from './load-means.js';
import { openLoopMeans } from './open-loop.js';
import type { PartitionSpeed } from './partition-speed.js';
import type { NoPrediction, Prediction } from './prediction.js';
import { createStepModel } from './step-model.js';
import { type Traffic, trafficMeans, validateTraffic } from './traffic.js';
import { requireNumber, requireWhole } from './validation.js';

/** What a calibration was measured on. */
export interface CalibratedPlace {
  readonly step: StepDemand;
  /** One partition of the engine. */
  readonly speed: PartitionSpeed;
  readonly tensorParallel: number;
}

/** Constants that replace an engine family's on this host, with how they were found. */
export interface CalibratedConstants {
  readonly constants: EngineConstants;
  /** Shown with every prediction that used them. */
  readonly provenance: string;
  /** Another model, partition or number of ranks is a transfer, and is graded as one. */
  readonly measured: CalibratedPlace;
}

/** Input of {@link predict}. */
export interface PredictOptions {
  readonly step: StepDemand;
  /** One partition of the engine. */
  readonly speed: PartitionSpeed;
  /** By default 1. */
  readonly tensorParallel?: number;
  /** By default `vllm`. */
  readonly engine?: EngineFamily;
  readonly traffic: Traffic;
  /** Tokens that the engine's whole KV pool holds. */
  readonly kvCapacityTokens: number;
  readonly maxNumSeqs: number;
  /** By default 8192, vLLM's for these GPUs. */
  readonly maxNumBatchedTokens?: number;
  /** By default none. */
  readonly coTenants?: CoTenantActivity;
  readonly assumptions?: PerformanceAssumptions;
  readonly calibration?: CalibratedConstants;
}

/** Token budget of a step when none is given: vLLM's default for online serving on GPUs of this size. */
export const DEFAULT_MAX_NUM_BATCHED_TOKENS = 8192;
/** Requests of each client in a closed loop, unless told otherwise: the convention of published benchmarks. */
const DEFAULT_REQUESTS_PER_CLIENT = 10;

const NO_TENANTS: CoTenantActivity = { samePartition: [], otherPartitions: [] };

/** What a calibration was not measured on, in words; null when it is used for just what was measured. */
function transferOf(options: PredictOptions, measured: CalibratedPlace): string | null {
  const { step, speed } = options;
  const sameModel =
    step.parameters === measured.step.parameters &&
    step.alwaysReadBytes === measured.step.alwaysReadBytes &&
    step.layers === measured.step.layers;
  const samePlace =
    speed.product === measured.speed.product &&
    speed.share === measured.speed.share &&
    speed.cuShare === measured.speed.cuShare &&
    (options.tensorParallel ?? 1) === measured.tensorParallel;
  if (sameModel && samePlace) return null;
  return [
    ...(sameModel ? [] : ['another model']),
    ...(samePlace ? [] : ['another partition']),
  ].join(' on ');
}

function gradeOf(options: PredictOptions, engine: EngineFamily, slowdown: number): Grade {
  if (options.calibration !== undefined) {
    return slowdown > 1 || transferOf(options, options.calibration.measured) !== null
      ? 'transferred'
      : 'calibrated';
  }
  if (slowdown > 1.1) return 'assumed';
  const profile = ENGINE_PROFILES[engine];
  const measured =
    profile.measuredOn.includes(options.speed.product) &&
    (profile.measuredExperts || options.step.routedExpertBytes === 0);
  if (!measured) return options.speed.share < 1 ? 'assumed' : 'transferred';
  return options.speed.share < 1 || options.speed.cuShare < 1 || slowdown > 1
    ? 'transferred'
    : 'measured';
}

function assumptionsOf(options: PredictOptions, engine: EngineFamily): string[] {
  const texts: string[] = [];
  const assumptions = options.assumptions ?? DEFAULT_ASSUMPTIONS;
  const { speed, coTenants = NO_TENANTS } = options;
  const profile = ENGINE_PROFILES[engine];
  if (options.calibration !== undefined) {
    const transfer = transferOf(options, options.calibration.measured);
    const other = transfer === null ? '' : `; carried over to ${transfer}`;
    texts.push(`${options.calibration.provenance}${other}`);
  }
  if (options.calibration === undefined && !profile.measuredOn.includes(speed.product))
    texts.push(
      `${engine} was not measured on ${speed.product}: efficiencies of ${profile.measuredOn.join(', ')} on this product's own peaks`,
    );
  if (
    options.calibration === undefined &&
    !profile.measuredExperts &&
    options.step.routedExpertBytes > 0
  )
    texts.push(
      `${engine} was not measured with routed experts: a layer with experts costs ${profile.constants.expertLayerFactor} times one without`,
    );
  if (speed.share < 1)
    texts.push(
      `a partition has its share ${speed.xcds} XCDs of compute and bandwidth; per-layer latency does not shrink`,
    );
  if (speed.share < 1 && (speed.layout.memory === 'NPS4' || speed.layout.memory === 'NPS8'))
    texts.push(assumptions.nps4Bandwidth.text);
  if (speed.cuShare < 1) texts.push(assumptions.cuMaskBandwidth.text);
  if (coTenants.samePartition.some((busy) => busy > 0)) texts.push(assumptions.samePartition.text);
  if (coTenants.otherPartitions.some((busy) => busy > 0)) {
    texts.push(
      speed.layout.memory === 'NPS1'
        ? assumptions.otherPartitionsNps1.text
        : speed.layout.memory === 'NPS2'
          ? assumptions.otherPartitionsNps2.text
          : assumptions.otherPartitionsNps4.text,
    );
  }
  return texts;
}

/** The means of a load, or the reasons why it cannot be served. Throws `ERR_PREDICT_INVALID`. */
export function loadMeans(options: PredictOptions, slowdown: number): LoadMeans | NoPrediction {
  const { traffic } = options;
  validateTraffic(traffic);
  const limits: EngineLimits = {
    kvCapacityTokens: requireNumber('kvCapacityTokens', options.kvCapacityTokens, 0, 1e15),
    maxNumSeqs: requireWhole('maxNumSeqs', options.maxNumSeqs, 1, 1_000_000),
    maxNumBatchedTokens: requireWhole(
      'maxNumBatchedTokens',
      options.maxNumBatchedTokens ?? DEFAULT_MAX_NUM_BATCHED_TOKENS,
      1,
      16_777_216,
    ),
  };
  const model = createStepModel({
    step: options.step,
    speed: options.speed,
    engine: options.engine ?? 'vllm',
    tensorParallel: options.tensorParallel ?? 1,
    ...(options.calibration === undefined ? {} : { constants: options.calibration.constants }),
  });
  const longest = traffic.promptTokens + traffic.outputTokens;
  if (longest > limits.kvCapacityTokens) {
    return {
      ok: false,
      reasons: [
        {
          code: 'CONTEXT_EXCEEDS_KV',
          message: `one request of ${Math.ceil(longest)} tokens does not fit the KV cache of ${Math.floor(limits.kvCapacityTokens)} tokens`,
        },
      ],
    };
  }
  const means = trafficMeans(traffic);
  if (traffic.arrivals.kind === 'closed') {
    return closedLoopMeans(
      model,
      means,
      limits,
      traffic.arrivals.concurrency,
      traffic.arrivals.requestsPerClient ?? DEFAULT_REQUESTS_PER_CLIENT,
      slowdown,
    );
  }
  const wanted = traffic.arrivals.requestsPerSecond;
  const open = openLoopMeans(model, means, limits, wanted, slowdown);
  if (!('capacityPerSecond' in open)) return open;
  return {
    ok: false,
    capacityPerSecond: open.capacityPerSecond,
    reasons: [
      {
        code: 'LOAD_ABOVE_CAPACITY',
        message: `${wanted} requests/s are more than the ${open.capacityPerSecond.toPrecision(3)} requests/s that this partition can serve`,
      },
    ],
  };
}

/**
 * Predicts TTFT, TPOT and throughput of an engine on a partition under a load, with 90 % bands, the share of time it
 * keeps the partition busy, and what the answer rests on. Means are over all requests; in a closed loop the clients
 * start together and send ten requests each, as benchmarks do. `{ ok: false }` when the load is above capacity or one
 * request does not fit. Throws `ERR_PREDICT_INVALID` for numbers that cannot be a load, a model or a partition.
 */
export function predict(options: PredictOptions): Prediction | NoPrediction {
  const engine = options.engine ?? 'vllm';
  const slowdown = meanCoTenantSlowdown({
    activity: options.coTenants ?? NO_TENANTS,
    memory: options.speed.layout.memory,
    ...(options.assumptions === undefined ? {} : { assumptions: options.assumptions }),
  });
  const means = loadMeans(options, slowdown);
  if ('ok' in means) return means;
  const grade = gradeOf(options, engine, slowdown);
  const bands = MEASURED_BANDS;
  return {
    ok: true,
    ttftMs: toEstimate(means.ttftMs, bands.ttftMs, grade),
    tpotMs: toEstimate(means.tpotMs, bands.tpotMs, grade),
    outputTokensPerSecond: toEstimate(
      means.outputTokensPerSecond,
      bands.outputTokensPerSecond,
      grade,
    ),
    requestsPerSecond: means.requestsPerSecond,
    busy: means.busy,
    batch: means.batch,
    seats: means.seats,
    slowdown,
    grade,
    assumptions: assumptionsOf(options, engine),
  };
}

/**
 * Turns a user's own measurement of an engine into constants for that host: bounded corrections of an engine family's
 * constants on a known product, a free fit of bandwidth, FLOP/s and latencies on unknown hardware. Pure; the load
 * driver that measures is elsewhere.
 */
import type { StepDemand } from '@aim-gpu/core';
import { closedLoopMeans } from './closed-loop.js';
import { ENGINE_PROFILES, type EngineConstants, type EngineFamily } from './engine-constants.js';
import { minimise } from './internal/minimise.js';
import type { EngineLimits } from './load-means.js';
import type { PartitionSpeed } from './partition-speed.js';
import {
  type CalibratedConstants,
  type CalibratedPlace,
  DEFAULT_MAX_NUM_BATCHED_TOKENS,
} from './predict.js';
import { createStepModel } from './step-model.js';
import { type Traffic, trafficMeans, validateTraffic } from './traffic.js';
import { invalidInput, requireNumber } from './validation.js';

/** What was measured at one setting of a sweep. */
export interface Measurement {
  /** Nominal tokens, as in a load. */
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Share of the nominal lengths that the shortest requests had, by default 1: all alike. */
  readonly lengthsFrom?: number;
  readonly concurrency: number;
  /** Requests each client sent, by default 10. */
  readonly requestsPerClient?: number;
  readonly ttftMs: number;
  readonly tpotMs: number;
}

/** Input of {@link fitCalibration}. */
export interface CalibrationOptions {
  readonly step: StepDemand;
  /** The partition, or {@link unknownHardware} when nothing is known about the machine. */
  readonly speed: PartitionSpeed;
  /** By default `vllm`. */
  readonly engine?: EngineFamily;
  readonly tensorParallel?: number;
  readonly kvCapacityTokens: number;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens?: number;
  readonly measurements: readonly Measurement[];
  /** Where and when it was measured, for the provenance. */
  readonly origin: string;
}

/** A calibration with how well it reproduces what it was fitted to. */
export interface Calibration extends CalibratedConstants {
  readonly product: string;
  readonly engine: EngineFamily;
  readonly measured: CalibratedPlace;
  /** The engine's limits while it was measured. */
  readonly limits: EngineLimits;
  readonly measurements: readonly Measurement[];
  /** Median absolute relative errors on the measurements, in per cent. */
  readonly tpotErrorPercent: number;
  readonly ttftErrorPercent: number;
  /** Factor on each corrected constant. */
  readonly corrections: Readonly<Record<string, number>>;
}

/** Constants that a measurement may correct on a known product, and by how much at most. */
const BOUND = 4;
const CORRECTED = [
  'weightEfficiency',
  'layerMs',
  'prefillEfficiency',
  'frontEndMs',
  'sequenceMs',
] as const;
/** On unknown hardware nothing is known to better than some orders of magnitude. */
const FREE_BOUND = 1e5;
const FREE = [...CORRECTED, 'kvEfficiency', 'decodeEfficiency', 'stepMs'] as const;
/** How far a constant strays before the measurements have to insist: one deviation, as a factor. */
const DEVIATION = { known: Math.log(1.6), unknown: Math.log(30) } as const;
const NOISE = 0.05;
/** Beyond so many times the noise an error counts linearly: one disturbed setting must not bend the others. */
const HUBER = 2;
const TTFT_WEIGHT = 0.5;

/**
 * A stand-in for a machine whose peaks are unknown, such as a CPU: 100 GB/s and 1 TFLOP/s. A calibration fits its
 * efficiencies freely, so they may come out above one.
 */
export function unknownHardware(name: string): PartitionSpeed {
  return {
    product: name,
    architecture: 'unknown',
    layout: { compute: 'SPX', memory: 'NPS1' },
    xcds: 1,
    share: 1,
    cuShare: 1,
    memoryBytesPerSecond: 100e9,
    flopsPerSecond: { fp16: 1e12, fp8: 1e12, fp4: 1e12 },
    nativeFp4: true,
  };
}

function robust(size: number): number {
  const large = Math.abs(size);
  return large <= HUBER ? size * size : 2 * HUBER * large - HUBER * HUBER;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

/**
 * Fits a calibration to a sweep. On a product of the catalogue each corrected constant moves by at most a factor of
 * four; on unknown hardware eight are fitted freely: bandwidth, FLOP/s and latencies. What the sweep does not determine stays near where it
 * was. Throws `ERR_PREDICT_INVALID` for fewer than two settings or numbers that cannot be times.
 */
export function fitCalibration(options: CalibrationOptions): Calibration {
  const { measurements, speed, step } = options;
  if (measurements.length < 2)
    throw invalidInput('measurements', measurements.length, 'at least two settings');
  for (const measurement of measurements) {
    requireNumber('ttftMs', measurement.ttftMs, 1e-3, 1e8);
    requireNumber('tpotMs', measurement.tpotMs, 1e-4, 1e7);
  }
  const engine = options.engine ?? 'vllm';
  const base = ENGINE_PROFILES[engine].constants;
  const unknown = speed.architecture === 'unknown';
  const keys: readonly (keyof EngineConstants)[] = unknown ? FREE : CORRECTED;
  const bound = Math.log(unknown ? FREE_BOUND : BOUND);
  const deviation = unknown ? DEVIATION.unknown : DEVIATION.known;
  const limits = {
    kvCapacityTokens: options.kvCapacityTokens,
    maxNumSeqs: options.maxNumSeqs,
    maxNumBatchedTokens: options.maxNumBatchedTokens ?? DEFAULT_MAX_NUM_BATCHED_TOKENS,
  };
  const toConstants = (logs: readonly number[]): EngineConstants => {
    const changed: Record<string, number> = { ...base };
    for (const [index, key] of keys.entries()) {
      changed[key] = base[key] * Math.exp(Math.max(-bound, Math.min(bound, logs[index] ?? 0)));
    }
    return changed as unknown as EngineConstants;
  };
  const errors = (constants: EngineConstants): { tpot: number[]; ttft: number[] } => {
    const model = createStepModel({
      step,
      speed,
      engine,
      tensorParallel: options.tensorParallel ?? 1,
      constants,
    });
    const tpot: number[] = [];
    const ttft: number[] = [];
    for (const measurement of measurements) {
      const traffic: Traffic = {
        promptTokens: measurement.promptTokens,
        outputTokens: measurement.outputTokens,
        arrivals: { kind: 'closed', concurrency: measurement.concurrency },
        lengths: { kind: 'uniform', from: measurement.lengthsFrom ?? 1 },
      };
      validateTraffic(traffic);
      const means = closedLoopMeans(
        model,
        trafficMeans(traffic),
        limits,
        measurement.concurrency,
        measurement.requestsPerClient ?? 10,
        1,
      );
      tpot.push(Math.log(means.tpotMs / measurement.tpotMs));
      ttft.push(Math.log(means.ttftMs / measurement.ttftMs));
    }
    return { tpot, ttft };
  };
  const cost = (logs: readonly number[]): number => {
    const { tpot, ttft } = errors(toConstants(logs));
    let sum = 0;
    for (const error of tpot) sum += robust(error / NOISE);
    for (const error of ttft) sum += TTFT_WEIGHT * robust(error / NOISE);
    for (const log of logs) sum += (log / deviation) ** 2;
    return sum;
  };
  const logs = minimise(
    cost,
    keys.map(() => 0),
    unknown ? 1 : 0.3,
  );
  const constants = toConstants(logs);
  const left = errors(constants);
  const percent = (values: readonly number[]): number =>
    100 * median(values.map((value) => Math.abs(Math.expm1(value))));
  return {
    constants,
    product: speed.product,
    engine,
    measured: { step, speed, tensorParallel: options.tensorParallel ?? 1 },
    limits,
    measurements,
    provenance: `calibrated on ${speed.product} with ${measurements.length} measurements (${options.origin})`,
    tpotErrorPercent: percent(left.tpot),
    ttftErrorPercent: percent(left.ttft),
    corrections: Object.fromEntries(keys.map((key) => [key, constants[key] / base[key]])),
  };
}

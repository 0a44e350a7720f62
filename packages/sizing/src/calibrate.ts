/**
 * Corrections learnt from a host's own start-up log: measured beside predicted, and bounded factors that later sizings
 * on that host use. This is how terms nobody measured, ROCm's above all, become right on a real machine. Owns the
 * comparison and the cutting: a correction beyond the bounds is a sign of another model or other flags.
 */
import {
  type Calibration,
  type CalibrationRow,
  MOST_NON_TORCH,
  modelShape,
} from './calibration-file.js';
import { invalidConfig } from './errors.js';
import type { ModelConfig } from './model-config.js';
import { sizeModel } from './size-model.js';
import type { SizeOptions } from './size-options.js';
import { parseDtype } from './spellings.js';
import type { StartupLog } from './startup-log.js';

function within(
  name: string,
  value: number,
  least: number,
  most: number,
  bounded: string[],
): number {
  if (value >= least && value <= most) return value;
  bounded.push(name);
  return Math.min(most, Math.max(least, value));
}

/**
 * Compares a start-up log with what this package predicts for the same model and flags, and derives corrections.
 * `options` are the flags the engine was started with. A log that names only weights and pool gives what lies between
 * them to memory outside the allocator. Throws `ERR_CONFIG_INVALID` when the log has no memory line at all.
 */
export function calibrate(
  config: ModelConfig,
  options: SizeOptions,
  log: StartupLog,
  source = 'start-up log',
): Calibration {
  const total = options.totalMemoryBytes ?? log.totalMemoryBytes;
  const utilization = options.gpuMemoryUtilization ?? log.gpuMemoryUtilization;
  const flags: SizeOptions = {
    ...options,
    totalMemoryBytes: total,
    gpuMemoryUtilization: utilization,
  };
  const { perRank } = sizeModel(config, flags);
  const rows: CalibrationRow[] = [];
  const row = (
    component: CalibrationRow['component'],
    predictedBytes: number | null,
    measuredBytes: number | null,
  ): void => {
    if (predictedBytes !== null && measuredBytes !== null)
      rows.push({ component, predictedBytes, measuredBytes });
  };
  row('weights', perRank.weightsBytes, log.weightsBytes);
  row('activation', perRank.activationBytes, log.activationBytes);
  row(
    'nonTorch',
    perRank.nonTorchBytes,
    log.nonTorchBytes ?? restOf(log, perRank.activationBytes, total, utilization),
  );
  row('graphs', perRank.graphBytes, log.graphBytes);
  row('kvPool', perRank.kvPoolBytes, log.kvPoolBytes);
  if (rows.length === 0)
    throw invalidConfig(
      source,
      '',
      'no memory line of vLLM or SGLang found',
      'give the start-up log of the engine',
    );
  const bounded: string[] = [];
  const factor = (component: CalibrationRow['component'], least: number, most: number): number => {
    const found = rows.find((one) => one.component === component);
    if (found === undefined || found.predictedBytes === 0) return 1;
    return within(component, found.measuredBytes / found.predictedBytes, least, most, bounded);
  };
  const nonTorch = rows.find((one) => one.component === 'nonTorch');
  return {
    apiVersion: 'aim-gpu/v1alpha1',
    kind: 'Calibration',
    source,
    engine: options.engine ?? log.engine ?? 'vllm',
    platform: options.platform ?? 'cuda',
    tensor: options.parallel?.tensor ?? 1,
    model: log.model ?? config.source,
    shape: modelShape(config, parseDtype(options.dtype ?? 'auto', config)),
    rows,
    corrections: {
      weightsFactor: factor('weights', 0.9, 1.1),
      activationFactor: factor('activation', 0.25, 4),
      graphFactor: factor('graphs', 0.1, 10),
      nonTorchBytes:
        nonTorch === undefined
          ? null
          : Math.round(within('nonTorch', nonTorch.measuredBytes, 0, MOST_NON_TORCH, bounded)),
    },
    bounded,
  };
}

/** What a log without the detailed lines leaves between weights, activation and pool. */
function restOf(
  log: StartupLog,
  activation: number,
  total: number | null,
  utilization: number | null,
): number | null {
  if (
    log.weightsBytes === null ||
    log.kvPoolBytes === null ||
    total === null ||
    utilization === null
  )
    return null;
  return Math.max(
    0,
    total * utilization - log.weightsBytes - log.kvPoolBytes - (log.activationBytes ?? activation),
  );
}

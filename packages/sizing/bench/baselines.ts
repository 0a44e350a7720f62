/**
 * Two other ways to predict the same numbers, re-implemented from their descriptions: the llm-d capacity planner's
 * constants per kind of architecture, and the plain 2·L·h formula that most calculators use.
 */
import { countParameters, type ModelConfig } from '../src/index.js';
import type { PredictableRow } from './measured-rows.js';

const GIB = 2 ** 30;

/** A prediction in GiB; tokens of the logged pool where asked. */
export interface BaselinePrediction {
  readonly weightsGib: number;
  readonly kvPoolGib: number | null;
  readonly tokensOfLoggedPool: number | null;
}

function weightBytes(
  config: ModelConfig,
  quantization: string | undefined,
  dtype: string | undefined,
): number {
  const { loaded, byComponent } = countParameters(config);
  const kept = byComponent.embedding + byComponent.head + byComponent.vision;
  const bits: Readonly<Record<string, number>> = {
    fp8: 8,
    int8: 8,
    awq: 4,
    int4: 4,
    'fp8-block': 8,
  };
  const linear =
    quantization === undefined
      ? 16
      : (bits[quantization] ?? (config.quantization === null ? 16 : 4.25));
  const float = dtype === 'float32' ? 32 : 16;
  return linear === 16 ? (loaded * float) / 8 : (kept * float) / 8 + ((loaded - kept) * linear) / 8;
}

function headShape(config: ModelConfig): { kvHeads: number; headDim: number; layers: number } {
  for (const block of config.blocks)
    if (block.mixer.kind === 'attention')
      return {
        kvHeads: block.mixer.kvHeads,
        headDim: block.mixer.headDim,
        layers: config.layers.length,
      };
  return { kvHeads: 1, headDim: config.hidden, layers: config.layers.length };
}

function kvBytes(options: PredictableRow['options']): number {
  return options.kvCacheDtype === 'fp8' ? 1 : options.dtype === 'float32' ? 4 : 2;
}

/** The llm-d planner: constant activation per kind (dense 5.5, MoE 8.0, multimodal 2.5 GiB), non-torch 0.15 / 0.6, graphs 0. */
export function llmdPlanner({ row, config, options }: PredictableRow): BaselinePrediction {
  const weights =
    weightBytes(config, options.quantization, options.dtype) / row.tensor / row.pipeline / GIB;
  const experts = config.blocks.some((block) => block.feedForward.experts !== null);
  const activation = config.vision !== null ? 2.5 : experts ? 8 : 5.5;
  const nonTorch = row.tensor > 1 ? 0.6 : 0.15;
  const { kvHeads, headDim, layers } = headShape(config);
  const perToken = 2 * layers * Math.max(1, kvHeads / row.tensor) * headDim * kvBytes(options);
  return {
    weightsGib: weights,
    kvPoolGib:
      row.totalGib === null || row.utilization === null
        ? null
        : Math.max(0, row.totalGib * row.utilization - weights - activation - nonTorch),
    tokensOfLoggedPool: row.kvGib === null ? null : (row.kvGib * GIB) / perToken,
  };
}

/** Parameters × 2 bytes, KV 2·L·h·2 bytes a token, everything else nothing. */
export function plainFormula({ row, config, options }: PredictableRow): BaselinePrediction {
  const weights = (countParameters(config).total * 2) / row.tensor / row.pipeline / GIB;
  const perToken = (2 * config.layers.length * config.hidden * kvBytes(options)) / row.tensor;
  return {
    weightsGib: weights,
    kvPoolGib:
      row.totalGib === null || row.utilization === null
        ? null
        : Math.max(0, row.totalGib * row.utilization - weights),
    tokensOfLoggedPool: row.kvGib === null ? null : (row.kvGib * GIB) / perToken,
  };
}

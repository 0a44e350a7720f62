/**
 * Which constants are fitted for each engine family, from which prior. The priors are round numbers that no
 * measurement of the table went into: efficiencies near what well-tuned kernels reach, latencies of a few tens of
 * microseconds; an untuned engine of 2024 starts from slower ones.
 */
import type { EngineConstants, EngineFamily } from '../src/index.js';
import type { Parameter } from './constant-fit.js';

/** The families in the order of the tables. */
export const FAMILIES: readonly EngineFamily[] = ['atom', 'sglang', 'vllm', 'vllm-2024'];

/** Width of the priors: a factor of 1.35 either way at one deviation. */
const WIDTH = 0.3;

/** Constants before the fit; what has no parameter stays. */
const COMMON: EngineConstants = {
  weightEfficiency: 0.6,
  kvEfficiency: 0.5,
  attentionEfficiency: 0.2,
  prefillEfficiency: 0.3,
  decodeEfficiency: 0.2,
  layerMs: 0.06,
  sequenceMs: 0.008,
  stepMs: 0.133,
  allReduceMs: 0.03,
  allReduceBytesPerSecond: 200e9,
  frontEndMs: 40,
  expertReadEfficiency: 1.2,
  expertSpread: 0.8,
  expertComputeEfficiency: 0.35,
  fp4ComputeEfficiency: 0.8,
  sparseLayerFactor: 2,
  expertLayerFactor: 1,
  fp8ReadEfficiency: 1,
  fp4ReadEfficiency: 1,
  cdna3LatencyFactor: 1,
  cdna3ComputeFactor: 1,
};

/**
 * A family's constants before the fit. The table has no mixture of experts on today's vLLM; 200 to 300 us a layer were
 * seen on MI300X (Millstone-AI-Solutions/mi300x-benchmark-investigation; gpt-oss-20b, 7.3 ms a token alone).
 */
export function fitBase(family: EngineFamily): EngineConstants {
  return family === 'vllm' ? { ...COMMON, expertLayerFactor: 5 } : COMMON;
}

/** The parameters of a family's fit. */
export function fitParameters(family: EngineFamily): readonly Parameter[] {
  const untuned = family === 'vllm-2024';
  const experts = family === 'atom' || family === 'sglang';
  const log = (
    key: keyof EngineConstants,
    prior: number,
    low: number,
    high: number,
    deviation: number = WIDTH,
  ): Parameter => ({ key, prior, deviation, low, high });
  return [
    log('weightEfficiency', 0.6, 0.1, 0.95),
    log('kvEfficiency', 0.5, 0.05, 0.95),
    // Unknown to an order of magnitude: it decides nothing where the KV cache is read at the rate of memory.
    log('attentionEfficiency', 0.2, 0.001, 10, 1),
    log('prefillEfficiency', untuned ? 0.1 : 0.3, 0.01, 0.8),
    log('decodeEfficiency', untuned ? 0.05 : 0.2, 0.01, 0.8),
    // Held near 60 us for vLLM: few rows, and a partition needs the split of fixed and bandwidth time right.
    log('layerMs', untuned ? 0.1 : 0.06, 0.005, 0.5, family === 'vllm' ? 0.12 : WIDTH),
    log('sequenceMs', untuned ? 0.05 : 0.008, 0.0005, 0.3),
    log('allReduceMs', 0.03, 0.005, 0.2),
    log('allReduceBytesPerSecond', 200e9, 50e9, 2e12),
    log('frontEndMs', 40, 1, 300),
    ...(untuned ? [] : [log('fp8ReadEfficiency', 1, 0.3, 1.6)]),
    ...(experts
      ? [
          log('fp4ReadEfficiency', 1, 0.3, 1.6),
          log('fp4ComputeEfficiency', 0.8, 0.2, 1, 0.15),
          log('expertReadEfficiency', 1.2, 0.4, 1.2, 0.15),
          log('expertSpread', 0.8, 0.4, 1, 0.15),
          log('expertComputeEfficiency', 0.35, 0.05, 1),
          log('expertLayerFactor', 1, 0.5, 4),
          log('sparseLayerFactor', 2, 1, 4, 0.15),
          log('cdna3LatencyFactor', 1.5, 1, 4),
          log('cdna3ComputeFactor', 0.7, 0.2, 1),
        ]
      : []),
  ];
}

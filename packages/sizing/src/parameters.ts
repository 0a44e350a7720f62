/**
 * Counts parameters by component. Logical counts: packed weights unpacked, a tied head once.
 * Reads the tensors of a `ModelConfig`; holds no formula of its own.
 */
import { tensorParameters } from './architecture/tensor-shapes.js';
import type { Component, ModelConfig, Tensor } from './model-config.js';

/** How many parameters a model has. */
export interface ParameterCount {
  /** Every parameter of the checkpoint: vision tower and prediction layers included, a tied head once. */
  readonly total: number;
  /** What an engine loads: without prediction layers, which only speculative decoding asks for. */
  readonly loaded: number;
  /** Parameters that one token passes through: `loaded` with only the chosen experts, without vision tower and embedding table. */
  readonly active: number;
  readonly byComponent: Readonly<Record<Component, number>>;
}

const EMPTY: Readonly<Record<Component, number>> = {
  embedding: 0,
  head: 0,
  attention: 0,
  stateMixer: 0,
  feedForward: 0,
  experts: 0,
  sharedExperts: 0,
  router: 0,
  norms: 0,
  vision: 0,
  prediction: 0,
};

/** Layers of each block kind. */
function layersPerBlock(config: ModelConfig): readonly number[] {
  const counts = config.blocks.map(() => 0);
  for (const block of config.layers) counts[block] = (counts[block] ?? 0) + 1;
  return counts;
}

/** Counts the parameters of a model, split by component. */
export function countParameters(config: ModelConfig): ParameterCount {
  const by: Record<Component, number> = { ...EMPTY };
  let idle = 0;
  const add = (tensor: Tensor, times: number): void => {
    by[tensor.component] += times * tensorParameters(tensor);
  };
  for (const tensor of config.outerTensors) add(tensor, 1);
  layersPerBlock(config).forEach((times, index) => {
    const block = config.blocks[index];
    if (block === undefined) return;
    for (const tensor of block.tensors) {
      add(tensor, times);
      const { experts } = block.feedForward;
      if (experts !== null && tensor.component === 'experts' && tensor.stack > 1)
        idle += times * tensorParameters(tensor) * (1 - experts.topK / experts.experts);
    }
  });
  if (config.vision !== null) by.vision = config.vision.parameters;
  if (config.mtp !== null) for (const tensor of config.mtp.tensors) add(tensor, config.mtp.layers);
  // A checkpoint's own headers are exact; the split by component stays the config's.
  const total =
    config.checkpoint?.parameters ?? Object.values(by).reduce((sum, value) => sum + value, 0);
  const loaded = total - by.prediction;
  const table = config.tied ? 0 : by.embedding;
  return { total, loaded, active: loaded - idle - by.vision - table, byComponent: by };
}

/**
 * How a model is divided over ranks: layers over pipeline stages, heads and widths over tensor ranks, experts over
 * expert ranks. Owns the arithmetic of the division and the refusal of divisions that engines refuse.
 */
import { AimError } from '@aim-gpu/core';
import type { ModelConfig } from './model-config.js';

/** Ranks of one engine instance. */
export interface Parallel {
  readonly tensor: number;
  readonly pipeline: number;
  readonly data: number;
  /** Experts are spread over all tensor × data ranks instead of being sliced. */
  readonly expert: boolean;
}

/** One rank alone. */
export const SINGLE: Parallel = { tensor: 1, pipeline: 1, data: 1, expert: false };

const MOST_RANKS = 4096;

/** A half-open range of layers. */
export interface LayerRange {
  readonly from: number;
  readonly to: number;
  readonly first: boolean;
  readonly last: boolean;
}

/** Divides layers over pipeline stages as vLLM does: the remainder goes to the stages before the last. */
export function pipelineStages(layers: number, pipeline: number): readonly LayerRange[] {
  const base = Math.floor(layers / pipeline);
  const sizes = Array.from({ length: pipeline }, () => base);
  for (let extra = 0; extra < layers % pipeline; extra += 1) {
    const at = (pipeline - 2 - extra + pipeline) % pipeline;
    sizes[at] = (sizes[at] ?? base) + 1;
  }
  let from = 0;
  return sizes.map((size, index) => {
    const range = { from, to: from + size, first: index === 0, last: index === pipeline - 1 };
    from += size;
    return range;
  });
}

function refused(
  message: string,
  hint: string,
  details: Readonly<Record<string, unknown>>,
): AimError {
  return new AimError({ code: 'ERR_CONFIG_INVALID', kind: 'invalid', message, hint, details });
}

/** Throws `ERR_CONFIG_INVALID` when the model cannot be divided that way. */
export function checkParallel(config: ModelConfig, parallel: Parallel): void {
  const { tensor, pipeline, data } = parallel;
  for (const [name, value] of Object.entries({ tensor, pipeline, data }))
    if (!Number.isInteger(value) || value < 1 || value > MOST_RANKS)
      throw refused(`parallel.${name} is ${value}`, `give a whole number from 1 to ${MOST_RANKS}`, {
        [name]: value,
      });
  if (pipeline > config.layers.length)
    throw refused(
      `${pipeline} pipeline stages for ${config.layers.length} layers`,
      'use at most one stage per layer',
      { pipeline, layers: config.layers.length },
    );
  if (tensor === 1) return;
  for (const { mixer } of config.blocks) {
    const heads = mixer.kind === 'gdn' ? mixer.valueHeads : 'heads' in mixer ? mixer.heads : null;
    if (heads !== null && heads % tensor !== 0)
      throw refused(
        `tensor parallelism of ${tensor} does not divide the model's ${heads} heads`,
        `use a divisor of ${heads}`,
        { tensor, heads },
      );
  }
}

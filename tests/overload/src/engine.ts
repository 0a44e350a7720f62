/**
 * The engine that every run here is on: an 8B model on a part of an MI300X, as performance predicts its speed. Owns its
 * sizes; drives nothing.
 */
import { findProduct } from '@aim-gpu/core/products';
import { aDemand } from '@aim-gpu/core/testing';
import {
  createEngineSimulation,
  createStepModel,
  type EngineSimulation,
  type StepModel,
  toPartitionSpeed,
} from '@aim-gpu/performance';

export const KV_TOKENS = 200_000;
export const BLOCK = 16;

/** The model's speed on a whole card, or on one of the four partitions of one. */
export function aModel(compute: 'SPX' | 'QPX'): StepModel {
  const product = findProduct('MI300X');
  if (product === null) throw new Error('the catalogue has no MI300X');
  const xcds = compute === 'SPX' ? 8 : 2;
  const speed = toPartitionSpeed({ product, xcds, layout: { compute, memory: 'NPS1' } });
  return createStepModel({ step: aDemand().step, speed });
}

/** An idle engine of it with so many sequences at once. */
export function anEngine(model: StepModel, maxNumSeqs: number): EngineSimulation {
  return createEngineSimulation({
    model,
    kvBlocks: KV_TOKENS / BLOCK,
    blockSize: BLOCK,
    maxNumSeqs,
    maxNumBatchedTokens: 2_048,
  });
}

import { describe, expect, test } from 'vitest';
import { tensorParameters } from '../src/architecture/tensor-shapes.js';
import { countParameters, createModelLibrary, type ModelConfig } from '../src/index.js';
import { assignScheme } from '../src/tensor-schemes.js';
import { indexRows } from './model-data.js';

/** Parameters that the checkpoint's own rules say are quantized. */
function quantizedParameters(config: ModelConfig): number {
  let sum = 0;
  for (const [layer, index] of config.layers.entries())
    for (const tensor of config.blocks[index]?.tensors ?? []) {
      const { scheme, except } = assignScheme(tensor, config.quantization);
      const plain = scheme.method === 'none' || except === 'all' || except?.has(layer) === true;
      if (!plain) sum += tensorParameters(tensor);
    }
  return sum;
}

// A published total of a packed checkpoint counts stored elements: two 4-bit weights are one, and in some files each
// group of 16 has a scale that counts as well. It therefore says exactly how much of the model is quantized, which
// checks the reading of exclusion lists with hundreds of entries.
describe('exclusion lists against the published totals of packed checkpoints', () => {
  test.each([
    ['nvidia/DeepSeek-V3.1-NVFP4', 'with scales', 1 / 2 + 1 / 16],
    ['nvidia/DeepSeek-V3.2-NVFP4', 'with scales', 1 / 2 + 1 / 16],
    ['nvidia/GLM-5-NVFP4', 'with scales', 1 / 2 + 1 / 16],
    ['nvidia/Gemma-4-31B-IT-NVFP4', 'without scales', 1 / 2],
    ['nvidia/MiniMax-M2.5-NVFP4', 'without scales', 1 / 2],
  ])('%s, counted %s', async (id, _counted, perWeight) => {
    const config = await createModelLibrary().load(id);
    const published = indexRows().find((row) => row.model === id)?.published ?? 0;
    const total = countParameters(config).total;
    const implied = (total - published) / (1 - perWeight);
    expect(quantizedParameters(config) / implied).toBeCloseTo(1, 4);
  });

  // Published 158,069,433,298 and 861,608,274,846 elements: experts packed in FP4 with a scale per 32.
  test.each([
    ['deepseek-ai/DeepSeek-V4-Flash', 158_069_433_298],
    ['deepseek-ai/DeepSeek-V4-Pro', 861_608_274_846],
  ])('%s within 0.01 %%', async (id, published) => {
    const config = await createModelLibrary().load(id);
    const { total } = countParameters(config);
    const experts = [
      ...config.layers.flatMap((index) => config.blocks[index]?.tensors ?? []),
      ...(config.mtp?.tensors ?? []),
    ]
      .filter((tensor) => tensor.stack > 1)
      .reduce((sum, tensor) => sum + tensorParameters(tensor), 0);
    const stored = total - experts + experts * (1 / 2 + 1 / 32);
    expect(Math.abs(stored / published - 1)).toBeLessThan(1e-4);
  });
});

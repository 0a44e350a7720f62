import { describe, expect, test } from 'vitest';
import { countParameters, parseModelConfig } from '../src/index.js';
import { configFiles, configText, indexRows } from './model-data.js';

const rows = indexRows().filter((row) => configFiles.has(row.file));

describe('parameter counts against published totals', () => {
  test.each(rows.filter((row) => row.exact))('$model is exact', (row) => {
    const config = parseModelConfig(configText(row.file), { source: row.model });
    expect(countParameters(config).total).toBe(row.published);
  });

  test.each(rows.filter((row) => row.formula !== null && !row.file.includes('.partial.')))(
    '$model is within 0.5 % of the formula or of the published total',
    (row) => {
      const count = countParameters(parseModelConfig(configText(row.file), { source: row.model }));
      // The notes say which rows count the text stack only, without prediction layers.
      const candidates = [count.total, count.loaded, count.loaded - count.byComponent.vision];
      const errors = candidates.flatMap((value) =>
        [row.formula, row.published].flatMap((want) =>
          want === null ? [] : [Math.abs(value / want - 1)],
        ),
      );
      expect(Math.min(...errors)).toBeLessThanOrEqual(0.005);
    },
  );

  test.each([
    ['Qwen__Qwen3-Next-80B-A3B-Instruct.partial.json', 81_324_862_720],
    ['google__gemma-2-27b-it.partial.json', 27_227_128_320],
    ['google__gemma-3-4b-it.partial.json', 4_300_079_472],
    ['ibm-granite__granite-4.0-h-tiny.partial.json', 6_939_037_248],
    ['ibm-granite__granite-4.0-h-micro.partial.json', 3_191_396_096],
    ['meta-llama__Llama-4-Maverick-17B-128E-Instruct.json', 401_583_781_376],
    ['XiaomiMiMo__MiMo-7B-Base.json', 7_833_409_536],
    ['zai-org__GLM-5.json', 753_864_139_008],
    ['openai__gpt-oss-120b.json', 116_829_156_672],
    // Published 26,544,131,376 lists the tied output projection (262,144 × 2816) a second time.
    ['google__gemma-4-26B-A4B.json', 26_544_131_376 - 262_144 * 2816],
    // Published 684,531,386,000 counts 41,540,496 block scales.
    ['deepseek-ai__DeepSeek-R1.json', 684_531_386_000 - 41_540_496],
    // Published 228,703,644,928 counts 13,880,064 block scales.
    ['MiniMaxAI__MiniMax-M2.5.json', 228_703_644_928 - 13_880_064],
  ])('%s has exactly %i parameters', (file, total) => {
    expect(countParameters(parseModelConfig(configText(file))).total).toBe(total);
  });

  test('components add up, and only prediction layers are not loaded', () => {
    for (const file of configFiles.keys()) {
      const count = countParameters(parseModelConfig(configText(file), { source: file }));
      const sum = Object.values(count.byComponent).reduce((total, value) => total + value, 0);
      expect(sum).toBe(count.total);
      expect(count.total - count.byComponent.prediction).toBe(count.loaded);
      expect(count.active).toBeGreaterThan(0);
      expect(count.active).toBeLessThanOrEqual(count.loaded);
    }
  });
});

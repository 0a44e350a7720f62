// Families beyond the committed configs: their structure must give the published totals to the last parameter.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { countParameters, parseModelConfig } from '../src/index.js';

interface Row {
  readonly model: string;
  readonly publishedParameters: number;
  readonly config: Readonly<Record<string, unknown>>;
}

const rows = JSON.parse(
  readFileSync(path.join(import.meta.dirname, 'fixtures/families/families.json'), 'utf8'),
) as readonly Row[];

describe('families whose configs are not committed', () => {
  test.each(rows)('$model has exactly $publishedParameters parameters', (row) => {
    const config = parseModelConfig(row.config, { source: row.model });
    expect(countParameters(config).total).toBe(row.publishedParameters);
    expect(config.assumptions).toEqual([]);
  });

  test('a list of one number for every layer is that number, a mixed one is refused with its place', () => {
    const hunyuan = rows.find((row) => row.model.startsWith('tencent/'));
    const mixed = { ...hunyuan?.config, moe_intermediate_size: [3072, 1024] };
    expect(() => parseModelConfig(mixed)).toThrow(/moe_intermediate_size/);
  });

  test('norms that only a field announces are counted per head and said to be assumed', () => {
    const plain = rows.find((row) => row.model === '01-ai/Yi-34B')?.config;
    const config = parseModelConfig({ ...plain, use_qk_norm: true });
    expect(config.assumptions).toEqual(['query and key norms are counted per head channel']);
    expect(countParameters(config).total).toBe(34_388_917_248 + 60 * 2 * 128);
  });
});

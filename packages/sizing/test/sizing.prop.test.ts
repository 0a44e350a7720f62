import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { countParameters, fitModel, type ModelConfig, sizeModel } from '../src/index.js';
import { committed } from './fixtures.js';
import { configFiles } from './model-data.js';

const GIB = 2 ** 30;
const names = [...configFiles.keys()].filter((file) => !file.includes('Qwen3.6-27B'));
const configs: readonly ModelConfig[] = names.map((file) => committed(file));
const model = fc
  .nat(configs.length - 1)
  .map((index) => configs[index] ?? committed('Qwen__Qwen3-8B.json'));
const length = fc.integer({ min: 16, max: 131_072 });

describe('sizing properties over every committed config', () => {
  test('a longer context never takes less KV memory', () => {
    fc.assert(
      fc.property(model, length, length, (config, one, other) => {
        const [short, long] = [Math.min(one, other), Math.max(one, other)];
        const at = (maxModelLen: number): number =>
          sizeModel(config, { maxModelLen }).kv.bytesPerRequestAtMaxLen;
        expect(at(short)).toBeLessThanOrEqual(at(long));
      }),
      { numRuns: 500 },
    );
  });

  test('more sequences never take less activation memory', () => {
    fc.assert(
      fc.property(
        model,
        fc.integer({ min: 1, max: 2048 }),
        fc.integer({ min: 1, max: 2048 }),
        (config, one, other) => {
          const at = (maxNumSeqs: number): number =>
            sizeModel(config, { maxNumSeqs, maxModelLen: 4096 }).perRank.activationBytes;
          expect(at(Math.min(one, other))).toBeLessThanOrEqual(at(Math.max(one, other)));
        },
      ),
      { numRuns: 300 },
    );
  });

  test('fewer bits never take more weights', () => {
    for (const config of configs) {
      const at = (quantization: string, dtype = 'bf16'): number =>
        sizeModel(config, { quantization, dtype, maxModelLen: 1024 }).perRank.weightsBytes;
      if (config.quantization !== null) continue;
      const ladder = [at('none', 'fp32'), at('none'), at('fp8'), at('int4')];
      expect([...ladder].sort((one, other) => other - one)).toEqual(ladder);
    }
  });

  test('the ranks of a tensor-parallel model hold at least the whole model', () => {
    for (const config of configs) {
      for (const tensor of [2, 4, 8]) {
        const divides = config.blocks.every(({ mixer }) =>
          mixer.kind === 'gdn'
            ? mixer.valueHeads % tensor === 0
            : !('heads' in mixer) || mixer.heads % tensor === 0,
        );
        if (!divides) continue;
        const whole = sizeModel(config, { maxModelLen: 1024 }).perRank.weightsBytes;
        const rank = sizeModel(config, { maxModelLen: 1024, parallel: { tensor } }).perRank
          .weightsBytes;
        // The allocator rounds large blocks of the whole up by up to half a percent; the bytes themselves never shrink.
        expect(rank * tensor).toBeGreaterThanOrEqual(whole * 0.995);
        if (config.quantization === null)
          expect(rank * tensor).toBeGreaterThanOrEqual(2 * countParameters(config).loaded);
        expect(rank).toBeLessThan(whole);
      }
    }
  });

  test('the stages of a pipeline together hold the whole model', () => {
    for (const config of configs) {
      if (config.layers.length < 4) continue;
      const whole = sizeModel(config, { maxModelLen: 1024 }).perRank.weightsBytes;
      const { ranks } = sizeModel(config, { maxModelLen: 1024, parallel: { pipeline: 4 } });
      expect(ranks.map((rank) => rank.rank)).toEqual([0, 1, 2, 3]);
      expect(ranks.reduce((sum, rank) => sum + rank.weightsBytes, 0)).toBeGreaterThanOrEqual(whole);
    }
  });

  test('what fit says holds when sized again, and one more does not', () => {
    fc.assert(
      fc.property(
        model,
        fc.integer({ min: 8, max: 288 }),
        fc.integer({ min: 1, max: 64 }),
        fc.integer({ min: 256, max: 32_768 }),
        fc.constantFrom('vllm@0.19.0', 'vllm@0.21.0'),
        fc.constantFrom<'cuda' | 'rocm'>('cuda', 'rocm'),
        (config, gibs, concurrency, maxModelLen, engine, platform) => {
          const options = {
            totalMemoryBytes: gibs * GIB,
            maxModelLen,
            engine,
            platform,
            maxNumSeqs: 64,
          };
          const fit = fitModel(config, { ...options, concurrency });
          expect(fit.fits).toBe(fit.maxConcurrency >= concurrency);
          if (!fit.fits || fit.gpuMemoryUtilization === null || fit.kvCacheMemoryBytes === null)
            return;
          const byUtilization = sizeModel(config, {
            ...options,
            gpuMemoryUtilization: fit.gpuMemoryUtilization,
          });
          expect(byUtilization.fits).toBe(true);
          expect(
            byUtilization.kv.maxConcurrency ?? Number.POSITIVE_INFINITY,
          ).toBeGreaterThanOrEqual(concurrency);
          const byBytes = sizeModel(config, {
            ...options,
            kvCacheMemoryBytes: fit.kvCacheMemoryBytes,
          });
          expect(byBytes.fits).toBe(true);
          expect(byBytes.kv.maxConcurrency ?? Number.POSITIVE_INFINITY).toBeGreaterThanOrEqual(
            concurrency,
          );
          // The longest context is really the longest.
          const limit = config.maxPositionEmbeddings ?? 131_072;
          const longest = fitModel(config, {
            ...options,
            concurrency,
            maxModelLen: fit.maxModelLen,
          });
          expect(longest.maxConcurrency).toBeGreaterThanOrEqual(concurrency);
          if (fit.maxModelLen < limit) {
            const more = fitModel(config, {
              ...options,
              concurrency,
              maxModelLen: fit.maxModelLen + 1,
            });
            expect(more.maxConcurrency).toBeLessThan(concurrency);
          }
          if (fit.maxConcurrency < 1e6)
            expect(fitModel(config, { ...options, concurrency: fit.maxConcurrency + 1 }).fits).toBe(
              false,
            );
        },
      ),
      { numRuns: 600 },
    );
  });
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readArchitectures } from '../bench/serving-rows.js';
import {
  createStepModel,
  ENGINE_PROFILES,
  type EngineFamily,
  predict,
  toPartitionSpeed,
} from '../src/index.js';
import { aProduct, aStep } from './models.js';

const anyStep = fc
  .record({
    name: fc.constantFrom(...Object.keys(readArchitectures())),
    precision: fc.constantFrom('fp16', 'fp8', 'fp4'),
  })
  .map(({ name, precision }) => aStep(name, precision as 'fp16' | 'fp8' | 'fp4'));
const anyEngine = fc.constantFrom(...(Object.keys(ENGINE_PROFILES) as EngineFamily[]));
const anyProduct = fc.constantFrom('MI300X', 'MI325X', 'MI355X', 'MI350X', 'MI300A').map(aProduct);
const anyRanks = fc.constantFrom(1, 2, 4, 8);

test('costs grow with batch, context and prompt, and are never NaN', () => {
  fc.assert(
    fc.property(
      anyStep,
      anyEngine,
      anyProduct,
      anyRanks,
      fc.integer({ min: 1, max: 500 }),
      fc.integer({ min: 1, max: 100_000 }),
      fc.integer({ min: 1, max: 100_000 }),
      (step, engine, product, tensorParallel, batch, context, more) => {
        const speed = toPartitionSpeed({
          product,
          xcds: product.xcds,
          layout: { compute: 'SPX', memory: 'NPS1' },
        });
        const model = createStepModel({ step, speed, engine, tensorParallel });
        const decode = model.decodeMs(batch, context);
        expect(decode).toBeGreaterThan(0);
        expect(Number.isFinite(decode)).toBe(true);
        expect(model.decodeMs(batch + 1, context)).toBeGreaterThanOrEqual(decode);
        expect(model.decodeMs(batch, context + more)).toBeGreaterThanOrEqual(decode);
        expect(model.decodeParts(batch, context).totalMs).toBe(decode);
        const prompt = model.prefillMs(context);
        expect(Number.isFinite(prompt)).toBe(true);
        expect(model.prefillMs(context + more)).toBeGreaterThanOrEqual(prompt);
        expect(model.prefillMs(context + more, context)).toBeLessThanOrEqual(
          model.prefillMs(context + more),
        );
      },
    ),
  );
});

test('the chunks of a prompt cost what the prompt costs', () => {
  const product = aProduct();
  const speed = toPartitionSpeed({ product, xcds: 2, layout: { compute: 'QPX', memory: 'NPS4' } });
  fc.assert(
    fc.property(
      anyStep,
      fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 0, max: 3000 }),
      (step, chunks, cached) => {
        const model = createStepModel({ step, speed });
        const total = cached + chunks.reduce((sum, chunk) => sum + chunk, 0);
        let at = cached;
        let sum = 0;
        for (const chunk of chunks) {
          sum += model.chunkMs(at, at + chunk, cached, total);
          at += chunk;
        }
        expect(sum / model.prefillMs(total, cached)).toBeCloseTo(1, 6);
      },
    ),
  );
});

test('more of a card is never slower', () => {
  fc.assert(
    fc.property(
      anyStep,
      anyEngine,
      anyProduct,
      fc.integer({ min: 1, max: 64 }),
      fc.integer({ min: 1, max: 8000 }),
      (step, engine, product, batch, tokens) => {
        let decode = Number.POSITIVE_INFINITY;
        let prompt = Number.POSITIVE_INFINITY;
        for (let xcds = 1; xcds <= product.xcds; xcds += 1) {
          const speed = toPartitionSpeed({
            product,
            xcds,
            layout: { compute: 'SPX', memory: 'NPS1' },
          });
          const model = createStepModel({ step, speed, engine });
          expect(model.decodeMs(batch, tokens)).toBeLessThanOrEqual(decode);
          expect(model.prefillMs(tokens)).toBeLessThanOrEqual(prompt);
          decode = model.decodeMs(batch, tokens);
          prompt = model.prefillMs(tokens);
        }
      },
    ),
  );
});

test('predictions are finite and ordered, or refused', () => {
  const arrivals = fc.oneof(
    fc.record({
      kind: fc.constant('closed' as const),
      concurrency: fc.integer({ min: 1, max: 2000 }),
    }),
    fc.record({
      kind: fc.constant('open' as const),
      requestsPerSecond: fc.double({ min: 1e-4, max: 200, noNaN: true }),
    }),
  );
  fc.assert(
    fc.property(
      anyStep,
      anyEngine,
      anyProduct,
      arrivals,
      fc.integer({ min: 1, max: 30_000 }),
      fc.integer({ min: 1, max: 4000 }),
      fc.double({ min: 0.1, max: 1, noNaN: true }),
      fc.integer({ min: 100, max: 5_000_000 }),
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 3 }),
      (
        step,
        engine,
        product,
        load,
        promptTokens,
        outputTokens,
        from,
        kvCapacityTokens,
        samePartition,
      ) => {
        const speed = toPartitionSpeed({
          product,
          xcds: 1,
          layout: { compute: 'CPX', memory: 'NPS1' },
        });
        const options = {
          step,
          speed,
          engine,
          kvCapacityTokens,
          maxNumSeqs: 256,
          traffic: {
            promptTokens,
            outputTokens,
            arrivals: load,
            lengths: { kind: 'uniform', from },
          },
          coTenants: { samePartition, otherPartitions: [] },
        } as const;
        const result = predict(options);
        if (!result.ok) {
          expect(result.reasons.length).toBeGreaterThan(0);
          return;
        }
        for (const { low, mean, high } of [
          result.ttftMs,
          result.tpotMs,
          result.outputTokensPerSecond,
        ]) {
          expect(low).toBeGreaterThan(0);
          expect(mean).toBeGreaterThanOrEqual(low);
          expect(high).toBeGreaterThanOrEqual(mean);
          expect(Number.isFinite(high)).toBe(true);
        }
        expect(result.busy).toBeGreaterThanOrEqual(0);
        expect(result.busy).toBeLessThanOrEqual(1);
      },
    ),
    { numRuns: 400 },
  );
});

import { createMetrics, parseExposition } from '@aim-gpu/metrics';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('exposition and reader', () => {
  it('agree on every label and value', async () => {
    const sample = fc.record({
      tenant: fc.string(),
      model: fc.string(),
      by: fc.double({ min: 0, max: 1e12, noNaN: true }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(sample, {
          selector: ({ tenant, model }) => JSON.stringify([tenant, model]),
          maxLength: 20,
        }),
        async (samples) => {
          const metrics = createMetrics();
          for (const { tenant, model, by } of samples)
            metrics.count('aim_gpu_tokens_total', { tenant, model }, by);
          const read = parseExposition(await metrics.exposition());
          expect(read.samples.map(({ labels, value }) => ({ ...labels, by: value }))).toEqual(
            samples,
          );
        },
      ),
    );
  });

  it('never grow past the limit, and lose no count', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(50), fc.nat(5)), { maxLength: 200 }),
        fc.integer({ min: 1, max: 10 }),
        async (requests, maxLabelSets) => {
          const metrics = createMetrics({ maxLabelSets });
          for (const [tenant, model] of requests)
            metrics.count('aim_gpu_requests_total', { tenant: `t${tenant}`, model: `m${model}` });
          const read = parseExposition(await metrics.exposition());
          expect(read.samples.length).toBeLessThanOrEqual(2 * maxLabelSets + 1);
          expect(read.sum('aim_gpu_requests_total') ?? 0).toBe(requests.length);
        },
      ),
    );
  });

  it('never throw on any text', () => {
    fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => void parseExposition(text)));
  });
});

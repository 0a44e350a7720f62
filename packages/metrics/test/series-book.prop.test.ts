/** What is written of counters and histograms is, byte for byte, what prom-client writes of its own. */
import { createMetrics, type MetricDefinition } from '@aim-gpu/metrics';
import fc from 'fast-check';
import { Counter, Histogram, Registry } from 'prom-client';
import { expect, it } from 'vitest';

const COUNTER: MetricDefinition = {
  name: 'x_total',
  type: 'counter',
  help: 'X.',
  labels: ['model', 'code'],
  buckets: null,
};
const HISTOGRAM: MetricDefinition = {
  name: 'y_seconds',
  type: 'histogram',
  help: 'Y.',
  labels: ['model', 'code'],
  buckets: [0.001, 0.25, 1, 1920],
};
/** The same labels as objects that may be remembered and as objects that may not, in both orders. */
const SHAPES = [
  (model: string, code: string) => Object.freeze({ model, code }),
  (model: string, code: string) => ({ model, code }),
  (model: string, code: string) => ({ code, model }),
  (model: string) => Object.freeze({ model }),
];
const KEPT = new Map<string, Readonly<Record<string, string>>>();

function labelsOf(shape: number, model: string, code: string): Readonly<Record<string, string>> {
  const make = SHAPES[shape] ?? SHAPES[0];
  const key = JSON.stringify([shape, model, code]);
  const known = KEPT.get(key) ?? make?.(model, code) ?? {};
  KEPT.set(key, known);
  return known;
}

const sample = fc.record({
  labels: fc
    .tuple(fc.nat(3), fc.constantFrom('a', 'b "c"\n', ''), fc.constantFrom('200', '503'))
    .map(([shape, model, code]) => labelsOf(shape, model, code)),
  value: fc.oneof(
    fc.double({ min: 0, max: 4000, noNaN: true }),
    fc.constantFrom(0, 0.001, 0.25, 1, 1920),
  ),
});

it('writes what prom-client would', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(sample, { maxLength: 60 }), async (samples) => {
      const mine = createMetrics({ definitions: [COUNTER, HISTOGRAM] });
      const registry = new Registry();
      const common = { labelNames: ['model', 'code'], registers: [registry] };
      const counter = new Counter({ ...common, name: 'x_total', help: 'X.' });
      const histogram = new Histogram({
        ...common,
        name: 'y_seconds',
        help: 'Y.',
        buckets: [0.001, 0.25, 1, 1920],
      });
      for (const { labels, value } of samples) {
        mine.count('x_total', labels, value);
        mine.observe('y_seconds', labels, value);
        counter.inc(labels, value);
        histogram.observe(labels, value);
      }
      expect(await mine.exposition()).toBe(await registry.metrics());
    }),
  );
});

it('a frozen object that was folded into `other` goes on being counted there', async () => {
  const metrics = createMetrics({ definitions: [COUNTER], maxLabelSets: 1 });
  const second = Object.freeze({ model: 'b' });
  metrics.count('x_total', { model: 'a' });
  metrics.count('x_total', second);
  metrics.count('x_total', second, 2);
  expect(await metrics.exposition()).toContain('x_total{model="other"} 3');
});

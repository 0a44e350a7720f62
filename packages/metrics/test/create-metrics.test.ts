import { AimError } from '@aim-gpu/core';
import { createRecordingLogger } from '@aim-gpu/core/testing';
import {
  createMetrics,
  DURATION_BUCKETS,
  METRICS,
  type MetricDefinition,
  parseExposition,
  TPOT_BUCKETS,
  TTFT_BUCKETS,
} from '@aim-gpu/metrics';
import { describe, expect, it } from 'vitest';

/** Every name the contract promises to dashboards. */
const PROMISED = [
  'aim_gpu_card_memory_bytes',
  'aim_gpu_partition_memory_bytes',
  'aim_gpu_partition_memory_reserved_bytes',
  'aim_gpu_instance_up',
  'aim_gpu_repartitions_total',
  'aim_gpu_placements',
  'aim_gpu_fragmentation_ratio',
  'aim_gpu_requests_total',
  'aim_gpu_request_ttft_seconds',
  'aim_gpu_request_tpot_seconds',
  'aim_gpu_request_duration_seconds',
  'aim_gpu_tokens_total',
  'aim_gpu_queue_depth',
  'aim_gpu_queue_wait_seconds',
  'aim_gpu_rejects_total',
  'aim_gpu_slo_attainment_ratio',
];

describe('the definitions', () => {
  it('have every promised name, once', () => {
    const names = METRICS.map((metric) => metric.name);
    expect(names).toEqual(expect.arrayContaining(PROMISED));
    expect(new Set(names).size).toBe(names.length);
  });

  it.each(METRICS)('$name follows the naming rules of Prometheus', (metric) => {
    expect(metric.name).toMatch(/^aim_gpu_[a-z_]+$/);
    expect(metric.name.endsWith('_total')).toBe(metric.type === 'counter');
    expect(metric.help).toMatch(/^\S.*\.$/);
    expect(metric.buckets !== null).toBe(metric.type === 'histogram');
    expect(metric.labels.length).toBeGreaterThan(0);
  });

  it.each([
    ['TTFT', TTFT_BUCKETS],
    ['TPOT', TPOT_BUCKETS],
    ['duration', DURATION_BUCKETS],
  ])('%s buckets rise', (_, buckets) => {
    expect(buckets).toEqual([...new Set(buckets)].toSorted((a, b) => a - b));
  });
});

describe('createMetrics', () => {
  it('exposes every metric with help and type before any sample', async () => {
    const { types, help, samples } = parseExposition(await createMetrics().exposition());
    expect([...types]).toEqual(METRICS.map((metric) => [metric.name, metric.type]));
    expect([...help]).toEqual(METRICS.map((metric) => [metric.name, metric.help]));
    expect(samples).toEqual([]);
  });

  it('counts, by one unless told otherwise', async () => {
    const metrics = createMetrics();
    metrics.count('aim_gpu_requests_total', { model: 'a', code: '200' });
    metrics.count('aim_gpu_requests_total', { code: '200', model: 'a' });
    metrics.count('aim_gpu_tokens_total', { model: 'a', kind: 'output' }, 40);
    const { samples } = parseExposition(await metrics.exposition());
    expect(samples).toEqual([
      { name: 'aim_gpu_requests_total', labels: { model: 'a', code: '200' }, value: 2 },
      { name: 'aim_gpu_tokens_total', labels: { model: 'a', kind: 'output' }, value: 40 },
    ]);
  });

  it('sets gauges and forgets those that are cleared, whatever the order of labels', async () => {
    const metrics = createMetrics();
    metrics.gauge('aim_gpu_instance_up', { instance: 'a-0', workload: 'a' }, 1);
    metrics.gauge('aim_gpu_instance_up', { instance: 'b-0', workload: 'b' }, 1);
    metrics.gauge('aim_gpu_instance_up', { instance: 'b-0', workload: 'b' }, 0);
    metrics.clear('aim_gpu_instance_up', { workload: 'a', instance: 'a-0' });
    const { samples } = parseExposition(await metrics.exposition());
    expect(samples.map(({ labels, value }) => [labels['instance'], value])).toEqual([['b-0', 0]]);
  });

  it('puts observations into vLLM’s buckets, in seconds', async () => {
    const metrics = createMetrics();
    metrics.observe('aim_gpu_request_ttft_seconds', { model: 'a' }, 0.07);
    metrics.observe('aim_gpu_request_ttft_seconds', { model: 'a' }, 3000);
    const read = parseExposition(await metrics.exposition());
    const bucket = (le: string): number | null =>
      read.sum('aim_gpu_request_ttft_seconds_bucket', { le });
    expect([bucket('0.06'), bucket('0.08'), bucket('2560'), bucket('+Inf')]).toEqual([0, 1, 1, 2]);
    expect(read.sum('aim_gpu_request_ttft_seconds_sum')).toBeCloseTo(3000.07);
    expect(read.sum('aim_gpu_request_ttft_seconds_count')).toBe(2);
  });

  it('escapes what a label may hold, and reads it back', async () => {
    const metrics = createMetrics();
    const tenant = 'a "quoted" \\ name\nof two lines, with {braces}';
    metrics.count('aim_gpu_requests_total', { tenant });
    const { samples } = parseExposition(await metrics.exposition());
    expect(samples).toEqual([{ name: 'aim_gpu_requests_total', labels: { tenant }, value: 1 }]);
  });

  it('keeps two sinks of one process apart', async () => {
    const [first, second] = [createMetrics(), createMetrics()];
    first.count('aim_gpu_requests_total', { model: 'a' });
    expect(parseExposition(await second.exposition()).samples).toEqual([]);
  });

  it('names the content type that a scraper expects', () => {
    expect(createMetrics().contentType).toBe('text/plain; version=0.0.4; charset=utf-8');
  });

  it('adds the metrics of the process on demand', async () => {
    const read = parseExposition(await createMetrics({ defaults: true }).exposition());
    expect(read.sum('process_resident_memory_bytes')).toBeGreaterThan(0);
    expect(
      parseExposition(await createMetrics().exposition()).types.has(
        'process_resident_memory_bytes',
      ),
    ).toBe(false);
  });

  it('knows definitions of others, a histogram without buckets included', async () => {
    const own: MetricDefinition = {
      name: 'x_seconds',
      type: 'histogram',
      help: 'X.',
      labels: ['kind'],
      buckets: null,
    };
    const metrics = createMetrics({ definitions: [own] });
    metrics.observe('x_seconds', { kind: 'a' }, 1);
    expect(parseExposition(await metrics.exposition()).sum('x_seconds_count')).toBe(1);
  });
});

describe('a sample that is not defined', () => {
  const wrong: readonly [string, (metrics: ReturnType<typeof createMetrics>) => void][] = [
    ['an unknown name', (metrics) => metrics.count('aim_gpu_unheard_of_total', {})],
    ['an unknown label', (metrics) => metrics.count('aim_gpu_requests_total', { user: 'x' })],
    ['a counter set', (metrics) => metrics.gauge('aim_gpu_requests_total', {}, 1)],
    ['a gauge counted', (metrics) => metrics.count('aim_gpu_queue_depth', {})],
    ['a counter observed', (metrics) => metrics.observe('aim_gpu_requests_total', {}, 1)],
    ['a counter cleared', (metrics) => metrics.clear('aim_gpu_requests_total', {})],
    ['a counter going down', (metrics) => metrics.count('aim_gpu_requests_total', {}, -1)],
    ['no number', (metrics) => metrics.gauge('aim_gpu_queue_depth', {}, Number.NaN)],
    [
      'an infinite one',
      (metrics) => metrics.observe('aim_gpu_queue_wait_seconds', {}, Number.POSITIVE_INFINITY),
    ],
  ];

  it.each(wrong)('%s throws', (_, record) => {
    try {
      record(createMetrics());
      expect.unreachable();
    } catch (error) {
      expect(AimError.is(error, 'ERR_METRIC_UNKNOWN')).toBe(true);
    }
  });

  it.each(wrong)('%s is left out and logged where the program must go on', async (_, record) => {
    const logger = createRecordingLogger();
    const metrics = createMetrics({ onUnknown: 'log', logger });
    const before = await metrics.exposition();
    record(metrics);
    record(metrics);
    expect(await metrics.exposition()).toBe(before);
    expect(logger.records.map(({ level, event }) => [level, event])).toEqual([
      ['warn', 'metric-refused'],
    ]);
  });
});

describe('endless label values', () => {
  it('fold into the tenant "other" once a metric has its number of label sets', async () => {
    const metrics = createMetrics({ maxLabelSets: 3 });
    for (let index = 0; index < 100; index += 1)
      metrics.count('aim_gpu_requests_total', { tenant: `t${index}`, model: 'a', code: '200' });
    const read = parseExposition(await metrics.exposition());
    expect(read.samples).toHaveLength(4);
    expect(read.sum('aim_gpu_requests_total', { tenant: 't2' })).toBe(1);
    expect(read.sum('aim_gpu_requests_total', { tenant: 'other', model: 'a' })).toBe(97);
    expect(read.sum('aim_gpu_requests_total')).toBe(100);
  });

  it('fold the other outside labels too, when folding the tenant is not enough', async () => {
    const metrics = createMetrics({ maxLabelSets: 2 });
    for (let index = 0; index < 50; index += 1)
      metrics.count('aim_gpu_requests_total', {
        tenant: `t${index}`,
        model: `m${index}`,
        code: '200',
      });
    const read = parseExposition(await metrics.exposition());
    expect(read.samples).toHaveLength(5);
    expect(
      read.sum('aim_gpu_requests_total', { tenant: 'other', model: 'other', code: '200' }),
    ).toBe(46);
    expect(read.sum('aim_gpu_requests_total')).toBe(50);
  });

  it('are bounded without a tenant as well', async () => {
    const metrics = createMetrics({ maxLabelSets: 2 });
    for (let index = 0; index < 50; index += 1)
      metrics.gauge('aim_gpu_instance_up', { instance: `i-${index}` }, 1);
    expect(
      parseExposition(await metrics.exposition()).samples.map(({ labels }) => labels['instance']),
    ).toEqual(['i-0', 'i-1', 'other']);
  });

  it('get room again from what is cleared', async () => {
    const metrics = createMetrics({ maxLabelSets: 1 });
    metrics.gauge('aim_gpu_instance_up', { instance: 'a-0' }, 1);
    metrics.clear('aim_gpu_instance_up', { instance: 'a-0' });
    metrics.gauge('aim_gpu_instance_up', { instance: 'b-0' }, 1);
    expect(
      parseExposition(await metrics.exposition()).sum('aim_gpu_instance_up', { instance: 'b-0' }),
    ).toBe(1);
  });
});

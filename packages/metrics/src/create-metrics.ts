/**
 * The metric sink of the product over prom-client, with a registry of its own. Owns the way from a sample to the
 * exposition text; names and labels are in definitions.ts, the port in core.
 */
import {
  AimError,
  type Logger,
  type MetricLabels,
  type MetricSink,
  silentLogger,
} from '@aim-gpu/core';
import { collectDefaultMetrics, Gauge, type Metric, Registry } from 'prom-client';
import { METRICS, type MetricDefinition } from './definitions.js';
import { createLabelSets, type LabelSets } from './label-sets.js';
import { SeriesBook } from './series-book.js';

/** How metrics are collected. */
export interface MetricsOptions {
  /** Also collect prom-client's metrics of this process (memory, event loop, file descriptors). Default false. */
  readonly defaults?: boolean;
  /** Metrics to know; default {@link METRICS}. */
  readonly definitions?: readonly MetricDefinition[];
  /** Label sets kept per metric before further ones are folded into `other`. Default 2000. */
  readonly maxLabelSets?: number;
  /**
   * What happens to a sample with an unknown name, label or type: thrown (the default, since it is a mistake in the
   * program), or left out and logged once per name, for programs that must go on.
   */
  readonly onUnknown?: 'throw' | 'log';
  /** Told of samples left out. */
  readonly logger?: Logger;
}

/** A {@link MetricSink} that can be scraped. */
export interface Metrics extends MetricSink {
  /** Everything collected, in Prometheus' text format. */
  exposition(): Promise<string>;
  /** The `content-type` of {@link Metrics.exposition}. */
  readonly contentType: string;
}

interface Held {
  readonly definition: MetricDefinition;
  readonly sets: LabelSets;
  /** Gauges are prom-client's; the others are counted on hot paths, see series-book.ts. */
  readonly collector: Gauge | SeriesBook;
}

function toCollector(definition: MetricDefinition, registry: Registry): Held['collector'] {
  const { name, help, labels } = definition;
  if (definition.type === 'gauge')
    return new Gauge({ name, help, labelNames: [...labels], registers: [registry] });
  const book = new SeriesBook(definition);
  // The registry asks its metrics for nothing but `name` and `get()`.
  registry.registerMetric(book as unknown as Metric);
  return book;
}

function refused(message: string, details: Readonly<Record<string, unknown>>): AimError {
  const hint = 'use a name, labels and type of METRICS';
  return new AimError({ code: 'ERR_METRIC_UNKNOWN', kind: 'internal', message, hint, details });
}

/**
 * Makes a metric sink with a registry of its own, so that two of them in one process do not meet.
 *
 * Samples of an unknown name or label, of the wrong type, or that are no finite number throw `ERR_METRIC_UNKNOWN`
 * (internal) unless `onUnknown` is `log`. A counter does not go down: a negative `by` is refused the same way.
 */
export function createMetrics(options: MetricsOptions = {}): Metrics {
  const registry = new Registry();
  const logger = options.logger ?? silentLogger;
  const held = new Map<string, Held>();
  const complained = new Set<string>();
  for (const definition of options.definitions ?? METRICS) {
    const sets = createLabelSets(options.maxLabelSets ?? 2000);
    const collector = toCollector(definition, registry);
    held.set(definition.name, { definition, collector, sets });
  }
  if (options.defaults === true) collectDefaultMetrics({ register: registry });

  const refuse = (name: string, message: string, labels: MetricLabels): null => {
    if (options.onUnknown !== 'log') throw refused(message, { name, labels });
    if (!complained.has(name)) {
      complained.add(name);
      logger.warn('metric-refused', { name, message });
    }
    return null;
  };

  const find = (
    type: MetricDefinition['type'],
    name: string,
    labels: MetricLabels,
    value: number,
  ): Held | null => {
    const metric = held.get(name);
    if (metric === undefined) return refuse(name, `there is no metric ${name}`, labels);
    if (metric.definition.type !== type)
      return refuse(name, `${name} is a ${metric.definition.type}, not a ${type}`, labels);
    const known: readonly string[] = metric.definition.labels;
    const strange = Object.keys(labels).find((label) => !known.includes(label));
    if (strange !== undefined) return refuse(name, `${name} has no label ${strange}`, labels);
    if (!Number.isFinite(value) || (type === 'counter' && value < 0))
      return refuse(name, `${value} is not a value of the ${type} ${name}`, labels);
    return metric;
  };

  const record = (
    type: 'counter' | 'histogram',
    name: string,
    labels: MetricLabels,
    value: number,
  ): void => {
    const collector = held.get(name)?.collector;
    const isPlain = collector instanceof SeriesBook && collector.type === type && value >= 0;
    const series = isPlain ? collector.remembered(labels) : undefined;
    if (series !== undefined && value < Number.POSITIVE_INFINITY) {
      series.take(value);
      return;
    }
    const metric = find(type, name, labels, value);
    if (metric?.collector instanceof SeriesBook)
      metric.collector.of(metric.sets.admit(labels), labels).take(value);
  };

  return {
    count: (name, labels, by = 1) => record('counter', name, labels, by),
    gauge(name, labels, value) {
      const metric = find('gauge', name, labels, value);
      if (metric?.collector instanceof Gauge)
        metric.collector.set(metric.sets.admit(labels), value);
    },
    clear(name, labels) {
      const metric = find('gauge', name, labels, 0);
      if (!(metric?.collector instanceof Gauge)) return;
      metric.collector.remove(labels);
      metric.sets.release(labels);
    },
    observe: (name, labels, value) => record('histogram', name, labels, value),
    exposition: () => registry.metrics(),
    contentType: registry.contentType,
  };
}

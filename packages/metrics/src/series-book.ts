/**
 * Counters and histograms by their label objects, in a form that prom-client's registry writes out. Owns the sums and
 * the buckets; which labels are right was settled before.
 *
 * prom-client builds a text of all labels and checks each of them for every sample, five times for a request of the
 * gateway and dearer than admitting it. Here the object of labels stands for its series once it is known.
 */
import type { MetricLabels } from '@aim-gpu/core';
import type { MetricDefinition } from './definitions.js';
import { keyOfLabels } from './label-sets.js';

/** One series of a counter or a histogram. */
export interface Series {
  /** Adds to the counter, or puts the value into its bucket. */
  take(value: number): void;
}

/** A sample as the registry writes it: a metric's name and labels with a value. */
export interface WrittenSample {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

interface WritableSeries extends Series {
  write(into: WrittenSample[]): void;
}

/** prom-client's own buckets where a definition has none. */
const DEFAULT_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Every series of one metric. */
export class SeriesBook {
  readonly name: string;
  readonly help: string;
  readonly type: MetricDefinition['type'];
  readonly aggregator = 'sum';
  readonly #make: (labels: MetricLabels) => WritableSeries;
  readonly #byKey: Map<string, WritableSeries> = new Map();
  readonly #byLabels: WeakMap<MetricLabels, WritableSeries> = new WeakMap();

  constructor({ name, help, type, buckets }: MetricDefinition) {
    this.name = name;
    this.help = help;
    this.type = type;
    const bounds = [...(buckets ?? DEFAULT_BUCKETS)];
    this.#make =
      type === 'counter'
        ? (labels) => new CounterSeries(name, labels)
        : (labels) => new HistogramSeries(name, labels, bounds);
  }

  /** The series that was remembered for this very object; undefined for one that was not. */
  remembered(labels: MetricLabels): Series | undefined {
    return this.#byLabels.get(labels);
  }

  /**
   * The series of these labels, begun when there is none. The object that was `asked` with is remembered when it is
   * frozen, since it stays what it is.
   */
  of(labels: MetricLabels, asked: MetricLabels): Series {
    const key = keyOfLabels(labels);
    let series = this.#byKey.get(key);
    if (series === undefined) {
      series = this.#make({ ...labels });
      this.#byKey.set(key, series);
    }
    if (Object.isFrozen(asked)) this.#byLabels.set(asked, series);
    return series;
  }

  /** Everything in it, in the order in which it began; what prom-client's registry calls on its metrics. */
  get(): Promise<{
    readonly name: string;
    readonly help: string;
    readonly type: string;
    readonly aggregator: string;
    readonly values: readonly WrittenSample[];
  }> {
    const values: WrittenSample[] = [];
    for (const series of this.#byKey.values()) series.write(values);
    const { name, help, type, aggregator } = this;
    return Promise.resolve({ name, help, type, aggregator, values });
  }
}

class CounterSeries implements WritableSeries {
  readonly #name: string;
  readonly #labels: MetricLabels;
  #sum: number = 0;

  constructor(name: string, labels: MetricLabels) {
    this.#name = name;
    this.#labels = labels;
  }

  take(value: number): void {
    this.#sum += value;
  }

  write(into: WrittenSample[]): void {
    into.push({ metricName: this.#name, labels: this.#labels, value: this.#sum });
  }
}

class HistogramSeries implements WritableSeries {
  readonly #name: string;
  readonly #labels: MetricLabels;
  readonly #bounds: readonly number[];
  /** By bucket, and last those above every bound. */
  readonly #counts: number[];
  #sum: number = 0;

  constructor(name: string, labels: MetricLabels, bounds: readonly number[]) {
    this.#name = name;
    this.#labels = labels;
    this.#bounds = bounds;
    this.#counts = new Array<number>(bounds.length + 1).fill(0);
  }

  take(value: number): void {
    const bounds = this.#bounds;
    let bucket = 0;
    while (bucket < bounds.length && value > (bounds[bucket] as number)) bucket += 1;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#sum += value;
  }

  write(into: WrittenSample[]): void {
    const bucketName = `${this.#name}_bucket`;
    let count = 0;
    const edges = [...this.#bounds.map(String), '+Inf'];
    edges.forEach((le, bucket) => {
      count += this.#counts[bucket] ?? 0;
      into.push({ metricName: bucketName, labels: { le, ...this.#labels }, value: count });
    });
    into.push({ metricName: `${this.#name}_sum`, labels: this.#labels, value: this.#sum });
    into.push({ metricName: `${this.#name}_count`, labels: this.#labels, value: count });
  }
}

/**
 * Ports for what the product says about itself: log events and metrics. Both default to silence, so that a library
 * used alone prints nothing; adapters live in `metrics` and `cli`.
 */

/** A structured log. `event` is `<noun>-<action>`; fields are JSON-safe and carry no secrets. */
export interface Logger {
  /** What only somebody looking for a fault wants to know. */
  debug(event: string, fields?: Readonly<Record<string, unknown>>): void;
  /** What happened in the ordinary course. */
  info(event: string, fields?: Readonly<Record<string, unknown>>): void;
  /** What went wrong and was dealt with. */
  warn(event: string, fields?: Readonly<Record<string, unknown>>): void;
  /** What went wrong and was not dealt with. */
  error(event: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** Labels of a metric sample. */
export type MetricLabels = Readonly<Record<string, string>>;

/** Where samples go. Names carry the prefix `aim_gpu_` and base units (seconds, bytes). */
export interface MetricSink {
  /** Adds to a counter. */
  count(name: string, labels: MetricLabels, by?: number): void;
  /** Sets a gauge. */
  gauge(name: string, labels: MetricLabels, value: number): void;
  /** Removes a gauge's sample, for things that are gone. */
  clear(name: string, labels: MetricLabels): void;
  /** Records one value of a histogram. */
  observe(name: string, labels: MetricLabels, value: number): void;
}

const nothing = (): void => undefined;

/** A logger that says nothing. */
export const silentLogger: Logger = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
};

/** A metric sink that keeps nothing. */
export const silentMetrics: MetricSink = {
  count: nothing,
  gauge: nothing,
  clear: nothing,
  observe: nothing,
};

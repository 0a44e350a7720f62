/**
 * A logger and a metric sink that remember, so that tests can say what was reported. Owns no judgement of names or
 * labels; the real sink in `metrics` has it.
 */
import type { Logger, MetricLabels, MetricSink } from '../telemetry.js';

/** One remembered log event. */
export interface LogRecord {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly event: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A {@link Logger} with everything it was told. */
export interface RecordingLogger extends Logger {
  readonly records: readonly LogRecord[];
}

/** Makes a logger that remembers every event in order. */
export function createRecordingLogger(): RecordingLogger {
  const records: LogRecord[] = [];
  const at =
    (level: LogRecord['level']) =>
    (event: string, fields: Readonly<Record<string, unknown>> = {}): void => {
      records.push({ level, event, fields });
    };
  return { records, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** One remembered call of a metric sink; `value` is null for a clear. */
export interface MetricRecord {
  readonly kind: 'count' | 'gauge' | 'clear' | 'observe';
  readonly name: string;
  readonly labels: MetricLabels;
  readonly value: number | null;
}

/** A {@link MetricSink} with everything it was told. */
export interface RecordingMetrics extends MetricSink {
  readonly records: readonly MetricRecord[];
}

/** Makes a metric sink that remembers every call in order. */
export function createRecordingMetrics(): RecordingMetrics {
  const records: MetricRecord[] = [];
  const keep = (
    kind: MetricRecord['kind'],
    name: string,
    labels: MetricLabels,
    value: number | null,
  ): void => void records.push({ kind, name, labels, value });
  return {
    records,
    count: (name, labels, by = 1) => keep('count', name, labels, by),
    gauge: (name, labels, value) => keep('gauge', name, labels, value),
    clear: (name, labels) => keep('clear', name, labels, null),
    observe: (name, labels, value) => keep('observe', name, labels, value),
  };
}

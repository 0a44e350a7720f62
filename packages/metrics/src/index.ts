/**
 * Names, collects and exposes the metrics of GPU sharing.
 *
 * @packageDocumentation
 */
export { createMetrics, type Metrics, type MetricsOptions } from './create-metrics.js';
export {
  DURATION_BUCKETS,
  METRICS,
  type MetricDefinition,
  type MetricLabel,
  TPOT_BUCKETS,
  TTFT_BUCKETS,
} from './definitions.js';
export { type ExposedSample, type Exposition, parseExposition } from './exposition.js';

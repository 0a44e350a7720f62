/**
 * Every metric of the product as data: name, type, help, labels, buckets. Owns the names that dashboards and alerts
 * rely on (they may be added to, never renamed); it counts nothing itself.
 */

/** Labels a metric may have. */
export type MetricLabel =
  | 'node'
  | 'card'
  | 'partition'
  | 'layout'
  | 'workload'
  | 'instance'
  | 'model'
  | 'tenant'
  | 'band'
  | 'code'
  | 'reason'
  | 'kind';

/** One metric. */
export interface MetricDefinition {
  /** `aim_gpu_…`, with base units (seconds, bytes, ratio) and `_total` for counters. */
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  /** Labels a sample may have; it may leave some out. */
  readonly labels: readonly MetricLabel[];
  /** Upper edges of a histogram's buckets; null for the other types. */
  readonly buckets: readonly number[] | null;
}

/** vLLM's edges of `vllm:time_to_first_token_seconds`, so that one dashboard joins gateway and engine. */
export const TTFT_BUCKETS: readonly number[] = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
  160, 640, 2560,
];
/** vLLM's edges of `vllm:inter_token_latency_seconds`, which was `vllm:time_per_output_token_seconds`. */
export const TPOT_BUCKETS: readonly number[] = [
  0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
];
/** vLLM's edges of `vllm:e2e_request_latency_seconds`. */
export const DURATION_BUCKETS: readonly number[] = [
  0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
];

function gauge(name: string, help: string, labels: readonly MetricLabel[]): MetricDefinition {
  return { name, type: 'gauge', help, labels, buckets: null };
}

function counter(name: string, help: string, labels: readonly MetricLabel[]): MetricDefinition {
  return { name, type: 'counter', help, labels, buckets: null };
}

function histogram(
  name: string,
  help: string,
  buckets: readonly number[],
  labels: readonly MetricLabel[],
): MetricDefinition {
  return { name, type: 'histogram', help, labels, buckets };
}

const CARD: readonly MetricLabel[] = ['node', 'card', 'layout'];
const PARTITION: readonly MetricLabel[] = ['node', 'card', 'partition', 'layout'];
const REQUEST: readonly MetricLabel[] = ['node', 'workload', 'instance', 'model', 'tenant', 'band'];

/** Every metric of the product. */
export const METRICS: readonly MetricDefinition[] = [
  gauge('aim_gpu_card_memory_bytes', 'Memory of a card, as the driver reports it.', CARD),
  gauge(
    'aim_gpu_partition_memory_bytes',
    'Memory of a partition, as the driver reports it.',
    PARTITION,
  ),
  gauge(
    'aim_gpu_partition_memory_reserved_bytes',
    'Memory of a partition that is handed out to instances.',
    PARTITION,
  ),
  gauge('aim_gpu_instance_up', '1 while an instance is ready, else 0.', [
    'node',
    'card',
    'partition',
    'workload',
    'instance',
    'model',
    'band',
    'kind',
  ]),
  counter('aim_gpu_repartitions_total', 'Changes of layout, by how they ended (code).', [
    ...CARD,
    'code',
    'reason',
    'kind',
  ]),
  gauge('aim_gpu_placements', 'Instances that the current plan places.', [
    'node',
    'card',
    'partition',
    'workload',
    'band',
    'kind',
  ]),
  gauge(
    'aim_gpu_fragmentation_ratio',
    'Share of the free memory that is not in the largest free piece.',
    CARD,
  ),
  counter('aim_gpu_requests_total', 'Requests that ended, by HTTP status (code).', [
    ...REQUEST,
    'code',
    'reason',
    'kind',
  ]),
  histogram(
    'aim_gpu_request_ttft_seconds',
    'Time from the whole request read to the first chunk with content.',
    TTFT_BUCKETS,
    REQUEST,
  ),
  histogram(
    'aim_gpu_request_tpot_seconds',
    'Mean time per output token after the first, of one request.',
    TPOT_BUCKETS,
    REQUEST,
  ),
  histogram(
    'aim_gpu_request_duration_seconds',
    'Time from the whole request read to the end of the answer.',
    DURATION_BUCKETS,
    [...REQUEST, 'code'],
  ),
  counter('aim_gpu_tokens_total', 'Tokens served; kind is input, output or cached.', [
    ...REQUEST,
    'kind',
  ]),
  gauge('aim_gpu_queue_depth', 'Requests that wait for an engine.', [
    'node',
    'workload',
    'model',
    'tenant',
    'band',
  ]),
  // A queue worth having empties within the time to the first token, hence its edges.
  histogram(
    'aim_gpu_queue_wait_seconds',
    'Time a request waited between its admission and its dispatch.',
    TTFT_BUCKETS,
    REQUEST,
  ),
  counter('aim_gpu_rejects_total', 'Requests refused before an engine saw them, by reason.', [
    ...REQUEST,
    'code',
    'reason',
  ]),
  gauge(
    'aim_gpu_slo_attainment_ratio',
    'Share of requests that met their targets; kind is the target or the window.',
    ['node', 'workload', 'model', 'tenant', 'band', 'kind'],
  ),
];

/**
 * What a simulated engine says of itself on /metrics, under the names of vLLM V1 with vLLM's buckets. Owns the
 * registry; counts nothing that the engine core counts already.
 */
import type { EngineCounters } from '@aim-gpu/performance';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Everything about an engine that /metrics shows and the core does not know. */
export interface EngineMetrics {
  /** A sequence got its seat after waiting. */
  scheduled(queueMs: number): void;
  /** A sequence emitted its first token; its prompt is done. */
  firstToken(promptTokens: number, ttftMs: number): void;
  /** A sequence emitted a later token. */
  nextToken(intervalMs: number): void;
  /** A sequence is done or was dropped. */
  finished(sequence: {
    readonly reason: 'stop' | 'length' | 'abort';
    readonly promptTokens: number;
    readonly generatedTokens: number;
    readonly e2eMs: number;
  }): void;
  /** Tokens computed in one step. */
  iteration(tokens: number): void;
  exposition(): Promise<string>;
  readonly contentType: string;
}

// vllm/v1/metrics/loggers.py, release 0.11 and later.
const TTFT_BUCKETS = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
  160, 640, 2560,
];
const INTERVAL_BUCKETS = [
  0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
];
const LATENCY_BUCKETS = [
  0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
];
const ITERATION_BUCKETS = [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384];

/** Makes the metrics of one engine. */
export function createEngineMetrics(options: {
  readonly modelName: string;
  readonly maxModelLen: number;
  readonly blocks: number;
  readonly blockSize: number;
  readonly gpuMemoryUtilization: number;
  readonly prefixCache: boolean;
  readonly counters: () => EngineCounters;
}): EngineMetrics {
  const { counters } = options;
  const registry = new Registry();
  const registers = [registry];
  const labels = { model_name: options.modelName, engine: '0' };
  const labelNames = Object.keys(labels);
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name,
      help,
      registers,
      labelNames,
      collect() {
        this.set(labels, read());
      },
    });
  };
  const total = (name: string, help: string, read: () => number): void => {
    new Counter({
      name,
      help,
      registers,
      labelNames,
      collect() {
        this.reset();
        this.inc(labels, read());
      },
    });
  };
  const counter = (name: string, help: string): Counter =>
    new Counter({ name, help, registers, labelNames });
  const histogram = (name: string, help: string, buckets: readonly number[]): Histogram =>
    new Histogram({ name, help, registers, labelNames, buckets: [...buckets] });

  gauge(
    'vllm:num_requests_running',
    'Number of requests in model execution batches.',
    () => counters().running,
  );
  gauge(
    'vllm:num_requests_waiting',
    'Number of requests waiting to be processed.',
    () => counters().waiting,
  );
  gauge('vllm:kv_cache_usage_perc', 'KV-cache usage. 1 means 100 percent usage.', () => {
    const { kvBlocksUsed, kvBlocksTotal } = counters();
    return kvBlocksUsed / Math.max(1, kvBlocksTotal);
  });
  total(
    'vllm:num_preemptions_total',
    'Cumulative number of preemption from the engine.',
    () => counters().preemptions,
  );
  total(
    'vllm:prefix_cache_queries_total',
    'Prefix cache queries, in tokens.',
    () => counters().prefixQueriedTokens,
  );
  total(
    'vllm:prefix_cache_hits_total',
    'Prefix cache hits, in tokens.',
    () => counters().prefixHitTokens,
  );

  const info = {
    block_size: String(options.blockSize),
    cache_dtype: 'auto',
    enable_prefix_caching: options.prefixCache ? 'True' : 'False',
    engine: '0',
    gpu_memory_utilization: String(options.gpuMemoryUtilization),
    num_gpu_blocks: String(options.blocks),
  };
  new Gauge({
    name: 'vllm:cache_config_info',
    help: 'Information of the LLMEngine CacheConfig',
    registers,
    labelNames: Object.keys(info),
  }).set(info, 1);

  const promptTokens = counter('vllm:prompt_tokens_total', 'Number of prefill tokens processed.');
  const generationTokens = counter(
    'vllm:generation_tokens_total',
    'Number of generation tokens processed.',
  );
  for (const metric of [promptTokens, generationTokens]) metric.inc(labels, 0);
  const success = new Counter({
    name: 'vllm:request_success_total',
    help: 'Count of successfully processed requests.',
    registers,
    labelNames: [...labelNames, 'finished_reason'],
  });
  const ttft = histogram(
    'vllm:time_to_first_token_seconds',
    'Histogram of time to first token in seconds.',
    TTFT_BUCKETS,
  );
  const interval = histogram(
    'vllm:inter_token_latency_seconds',
    'Histogram of inter-token latency in seconds.',
    INTERVAL_BUCKETS,
  );
  const e2e = histogram(
    'vllm:e2e_request_latency_seconds',
    'Histogram of e2e request latency in seconds.',
    LATENCY_BUCKETS,
  );
  const queue = histogram(
    'vllm:request_queue_time_seconds',
    'Histogram of time spent in WAITING phase for request.',
    LATENCY_BUCKETS,
  );
  const sizes = tokenBuckets(options.maxModelLen);
  const promptSize = histogram(
    'vllm:request_prompt_tokens',
    'Number of prefill tokens processed.',
    sizes,
  );
  const answerSize = histogram(
    'vllm:request_generation_tokens',
    'Number of generation tokens processed.',
    sizes,
  );
  const iteration = histogram(
    'vllm:iteration_tokens_total',
    'Histogram of number of tokens per engine_step.',
    ITERATION_BUCKETS,
  );

  return {
    scheduled: (queueMs) => queue.observe(labels, queueMs / 1000),
    firstToken: (tokens, ttftMs) => {
      promptTokens.inc(labels, tokens);
      generationTokens.inc(labels, 1);
      ttft.observe(labels, ttftMs / 1000);
    },
    nextToken: (intervalMs) => {
      generationTokens.inc(labels, 1);
      interval.observe(labels, intervalMs / 1000);
    },
    finished: ({ reason, e2eMs, ...sequence }) => {
      success.inc({ ...labels, finished_reason: reason });
      e2e.observe(labels, e2eMs / 1000);
      promptSize.observe(labels, sequence.promptTokens);
      answerSize.observe(labels, sequence.generatedTokens);
    },
    iteration: (tokens) => iteration.observe(labels, tokens),
    exposition: () => registry.metrics(),
    contentType: registry.contentType,
  };
}

/** 1, 2, 5, 10, … up to the model's length, as vLLM builds them. */
function tokenBuckets(maximum: number): readonly number[] {
  const buckets: number[] = [];
  for (let power = 1; power <= maximum; power *= 10) {
    for (const step of [1, 2, 5]) if (step * power <= maximum) buckets.push(step * power);
  }
  return buckets;
}

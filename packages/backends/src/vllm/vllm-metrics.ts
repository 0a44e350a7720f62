/**
 * What vLLM's /metrics says, old names and new. Pure; the simulated engine is read by the same code.
 */
import type { EngineSample } from '@aim-gpu/core';
import { meanOf, parsePrometheusText, type Scrape, sumOf } from '../http/prometheus-text.js';

/**
 * Reads a scrape of vLLM. Names of V1 first, then those they replaced: kv_cache_usage_perc was gpu_cache_usage_perc.
 * The capacity comes from the info metric cache_config_info (blocks × tokens of a block), null while it is absent.
 */
export function parseVllmMetrics(text: string): EngineSample {
  const scrape = parsePrometheusText(text);
  return {
    running: sumOf(scrape, 'vllm:num_requests_running') ?? 0,
    waiting: sumOf(scrape, 'vllm:num_requests_waiting') ?? 0,
    kvUsage: meanOf(scrape, 'vllm:kv_cache_usage_perc', 'vllm:gpu_cache_usage_perc') ?? 0,
    kvCapacityTokens: kvCapacity(scrape),
    preemptionsTotal: sumOf(scrape, 'vllm:num_preemptions_total', 'vllm:num_preemptions') ?? 0,
    promptTokensTotal: sumOf(scrape, 'vllm:prompt_tokens_total', 'vllm:prompt_tokens') ?? 0,
    generationTokensTotal:
      sumOf(scrape, 'vllm:generation_tokens_total', 'vllm:generation_tokens') ?? 0,
  };
}

/** Sum over engine cores (data parallel): each says its own blocks. */
function kvCapacity(scrape: Scrape): number | null {
  let total: number | null = null;
  for (const { labels } of scrape.get('vllm:cache_config_info') ?? []) {
    const blocks = Number(labels['num_gpu_blocks']);
    const blockSize = Number(labels['block_size']);
    if (blocks > 0 && blockSize > 0) total = (total ?? 0) + blocks * blockSize;
  }
  return total;
}

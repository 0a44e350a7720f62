import { describe, expect, it } from 'vitest';
import { meanOf, parsePrometheusText, sumOf } from '../../src/http/prometheus-text.js';
import { parseLlamaCppMetrics } from '../../src/llama-cpp/llama-cpp-engine.js';
import { parseSglangMetrics } from '../../src/sglang/sglang-engine.js';
import { parseVllmMetrics } from '../../src/vllm/vllm-metrics.js';

describe('the text format', () => {
  it.each([
    ['a plain sample', 'a 1', [{ name: 'a', labels: {}, value: 1 }]],
    ['a time stamp', 'a 1 1700000000000', [{ name: 'a', labels: {}, value: 1 }]],
    ['labels', 'a{b="c",d="e"} 2', [{ name: 'a', labels: { b: 'c', d: 'e' }, value: 2 }]],
    ['a comma at the end', 'a{b="c",} 2', [{ name: 'a', labels: { b: 'c' }, value: 2 }]],
    [
      'escapes',
      String.raw`a{b="x\"y\\z\n"} 2`,
      [{ name: 'a', labels: { b: 'x"y\\z\n' }, value: 2 }],
    ],
    ['a brace in a label', 'a{b="}"} 2', [{ name: 'a', labels: { b: '}' }, value: 2 }]],
    ['exponents', 'a 1.5e+03', [{ name: 'a', labels: {}, value: 1500 }]],
    ['infinity', 'a +Inf', [{ name: 'a', labels: {}, value: Number.POSITIVE_INFINITY }]],
    ['colons', 'vllm:x 1', [{ name: 'vllm:x', labels: {}, value: 1 }]],
    ['comments', '# HELP a b\n# TYPE a gauge', []],
    ['rubbish', '<html>\n{} 1\na\na{b=c} 1\na one', []],
  ])('%s', (_, text, expected) => {
    expect([...parsePrometheusText(text).values()].flat()).toEqual(expected);
  });

  it('sums and averages over the first name that is there', () => {
    const scrape = parsePrometheusText('new{e="0"} 1\nnew{e="1"} 3\nold 9');
    expect(sumOf(scrape, 'new', 'old')).toBe(4);
    expect(meanOf(scrape, 'missing', 'new')).toBe(2);
    expect(sumOf(scrape, 'missing')).toBeNull();
    expect(meanOf(scrape, 'missing')).toBeNull();
  });
});

describe('engines', () => {
  const V1 = `
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:prompt_tokens_total{engine="0",model_name="m"} 1000.0
vllm:generation_tokens_total{engine="0",model_name="m"} 500.0
vllm:num_preemptions_total{engine="0",model_name="m"} 1.0
vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="0",num_gpu_blocks="4096"} 1.0`;

  it('vLLM V1', () => {
    expect(parseVllmMetrics(V1)).toEqual({
      running: 3,
      waiting: 2,
      kvUsage: 0.25,
      kvCapacityTokens: 65_536,
      preemptionsTotal: 1,
      promptTokensTotal: 1000,
      generationTokensTotal: 500,
    });
  });

  it('vLLM before the cache metric got its new name, without the info metric', () => {
    const old = V1.replace('vllm:kv_cache_usage_perc', 'vllm:gpu_cache_usage_perc').replace(
      /vllm:cache_config_info.*/,
      '',
    );
    expect(parseVllmMetrics(old)).toMatchObject({ kvUsage: 0.25, kvCapacityTokens: null });
  });

  it('vLLM with two engine cores: counts add up, shares average', () => {
    const two = `${V1}${V1.replaceAll('engine="0"', 'engine="1"').replace('0.25', '0.75')}`;
    expect(parseVllmMetrics(two)).toMatchObject({
      running: 6,
      kvUsage: 0.5,
      kvCapacityTokens: 131_072,
    });
  });

  it('vLLM that says that its number of blocks is not known yet', () => {
    expect(parseVllmMetrics(V1.replace('"4096"', '"None"')).kvCapacityTokens).toBeNull();
  });

  it('SGLang', () => {
    expect(
      parseSglangMetrics(`sglang:num_running_reqs{model_name="m"} 4
sglang:num_queue_reqs{model_name="m"} 1
sglang:token_usage{model_name="m"} 0.5
sglang:max_total_num_tokens{model_name="m"} 65536
sglang:prompt_tokens_total{model_name="m"} 10
sglang:generation_tokens_total{model_name="m"} 20`),
    ).toEqual({
      running: 4,
      waiting: 1,
      kvUsage: 0.5,
      kvCapacityTokens: 65_536,
      preemptionsTotal: 0,
      promptTokensTotal: 10,
      generationTokensTotal: 20,
    });
  });

  it('llama-server, with and without the gauges that newer builds dropped', () => {
    const text =
      'llamacpp:requests_processing 1\nllamacpp:requests_deferred 2\nllamacpp:prompt_tokens_total 7\nllamacpp:tokens_predicted_total 9';
    expect(parseLlamaCppMetrics(text)).toEqual({
      running: 1,
      waiting: 2,
      kvUsage: 0,
      kvCapacityTokens: null,
      preemptionsTotal: 0,
      promptTokensTotal: 7,
      generationTokensTotal: 9,
    });
    expect(
      parseLlamaCppMetrics(
        `${text}\nllamacpp:kv_cache_usage_ratio 0.25\nllamacpp:kv_cache_tokens 100`,
      ),
    ).toMatchObject({ kvUsage: 0.25, kvCapacityTokens: 400 });
  });

  it('nothing at all', () => {
    for (const parse of [parseVllmMetrics, parseSglangMetrics, parseLlamaCppMetrics]) {
      expect(parse('')).toMatchObject({ running: 0, waiting: 0, kvCapacityTokens: null });
    }
  });
});

import { parseExposition } from '@aim-gpu/metrics';
import { describe, expect, it } from 'vitest';

const VLLM = `# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 2.5e-01
# TYPE vllm:prompt_tokens counter
vllm:prompt_tokens_total{model_name="m"} 1234 1732521600000
vllm:time_to_first_token_seconds_bucket{le="+Inf",model_name="m"} 9 # {trace_id="x"} 0.5
`;

describe('parseExposition', () => {
  it('reads what vLLM exposes', () => {
    const read = parseExposition(VLLM);
    expect(read.sum('vllm:num_requests_running')).toBe(5);
    expect(read.sum('vllm:num_requests_running', { engine: '1' })).toBe(2);
    expect(read.sum('vllm:kv_cache_usage_perc')).toBe(0.25);
    expect(read.sum('vllm:prompt_tokens_total')).toBe(1234);
    expect(read.sum('vllm:time_to_first_token_seconds_bucket', { le: '+Inf' })).toBe(9);
    expect(read.types.get('vllm:num_requests_running')).toBe('gauge');
    expect(read.help.get('vllm:num_requests_running')).toBe(
      'Number of requests in model execution batches.',
    );
  });

  it('takes the new name of a metric before the one it replaced', () => {
    const names = [
      'sglang:inter_token_latency_seconds_sum',
      'sglang:time_per_output_token_seconds_sum',
    ];
    const [now, before] = names;
    expect(parseExposition(`${before} 2\n`).sum(names)).toBe(2);
    expect(parseExposition(`${before} 2\n${now} 3\n`).sum(names)).toBe(3);
    expect(parseExposition('').sum(names)).toBeNull();
  });

  it.each([
    ['a', ' +Inf', Number.POSITIVE_INFINITY],
    ['a', ' -Inf', Number.NEGATIVE_INFINITY],
    ['a', ' NaN', Number.NaN],
    ['a', '{} 1', 1],
    ['a', '{x="1",} 1', 1],
    ['a', '{ x = "1" , y = "2" } 1', 1],
    ['a', '\t1', 1],
    ['a', ' 1\r', 1],
  ])('reads %s%s', (name, rest, value) => {
    expect(parseExposition(`${name}${rest}\n`).samples.map((sample) => sample.value)).toEqual([
      value,
    ]);
  });

  it.each([
    'a',
    'a b',
    '{} 1',
    'a{x="1" 1',
    'a{x=1} 1',
    'a{x="1"y="2"} 1',
    '1 2',
    '# a comment',
    '',
    'a 1 2 3',
  ])('leaves out a line that is no sample: %s', (line) => {
    const read = parseExposition(`before 1\n${line}\nafter 2`);
    expect(read.samples.map((sample) => sample.name)).toEqual(['before', 'after']);
  });

  it('unescapes labels and help', () => {
    const read = parseExposition('# HELP a one\\ntwo \\\\\na{x="\\"\\\\\\n"} 1');
    expect(read.help.get('a')).toBe('one\ntwo \\');
    expect(read.samples[0]?.labels).toEqual({ x: '"\\\n' });
  });
});

import { createLlamaCppEngine, createSglangEngine, createVllmEngine } from '@aim-gpu/backends';
import { AimError, workloadName } from '@aim-gpu/core';
import { describe, expect, it } from 'vitest';
import { anInstanceSpec } from '../support/an-instance-spec.js';

const vllm = createVllmEngine();
const sglang = createSglangEngine();
const llama = createLlamaCppEngine();
const engine = (args: Record<string, unknown>, version: string | null = null) => ({
  name: 'vllm',
  version,
  args,
});

describe('vLLM', () => {
  it('gets the model, its names, its precision and the limits of its share', () => {
    const command = vllm.toCommand(
      anInstanceSpec({ workload: { aliases: ['gpt-4o-mini'], kvCacheDtype: 'fp8' } }),
    );
    expect(command.argv).toEqual([
      'vllm',
      'serve',
      'meta-llama/Llama-3.1-8B-Instruct',
      '--dtype=bfloat16',
      '--kv-cache-dtype=fp8',
      '--served-model-name',
      'chat',
      'gpt-4o-mini',
      '--max-model-len=8192',
      '--max-num-seqs=16',
      '--max-num-batched-tokens=2048',
      '--tensor-parallel-size=1',
      '--pipeline-parallel-size=1',
      '--gpu-memory-utilization=0.2084',
      '--kv-cache-memory-bytes=8589934592',
      '--host=127.0.0.1',
      '--port=9000',
    ]);
    expect(command.env).toEqual({ ROCR_VISIBLE_DEVICES: '3' });
  });

  it.each([
    ['a config.json means its directory', { source: '/models/llama/config.json' }, '/models/llama'],
    ['a directory', { source: '/models/llama' }, '/models/llama'],
    ['16-bit floats', { dtype: 'fp16' }, '--dtype=float16'],
    ['a quantization made at load time', { quantization: 'fp8' }, '--quantization=fp8'],
    ['16-bit KV', { kvCacheDtype: 'bf16' }, '--kv-cache-dtype=bfloat16'],
    ['tensor parallel', { parallel: { tensor: 4, pipeline: 2 } }, '--tensor-parallel-size=4'],
    ['pipeline parallel', { parallel: { tensor: 4, pipeline: 2 } }, '--pipeline-parallel-size=2'],
    ['adapters', { adapters: [{ name: 'legal', path: '/lora/legal' }] }, 'legal=/lora/legal'],
    ['user precision wins', { engine: engine({ dtype: 'float32' }) }, '--dtype=float32'],
    ['flag', { engine: engine({ 'enable-prefix-caching': null }) }, '--enable-prefix-caching'],
    [
      'no flag',
      { engine: engine({ 'enable-prefix-caching': false }) },
      '--no-enable-prefix-caching',
    ],
    ['number', { engine: engine({ seed: -1 }) }, '--seed=-1'],
    [
      'text that looks like a flag',
      { engine: engine({ 'chat-template': '--x' }) },
      '--chat-template=--x',
    ],
    [
      'mapping',
      { engine: engine({ 'compilation-config': { level: 3 } }) },
      '--compilation-config={"level":3}',
    ],
    ['list', { engine: engine({ 'allowed-origins': ['a', 'b'] }) }, 'b'],
  ])('%s', (_, workload, expected) => {
    expect(vllm.toCommand(anInstanceSpec({ workload })).argv).toContain(expected);
  });

  it('leaves the quantization of a checkpoint to the checkpoint', () => {
    const argv = vllm.toCommand(anInstanceSpec({ workload: { quantization: 'mxfp4' } })).argv;
    expect(argv.join(' ')).not.toContain('--quantization');
  });

  it.each([
    [null, true],
    ['0.19.0', true],
    ['0.11', true],
    ['0.10.1', false],
    ['0.9', false],
    ['nightly', false],
  ])('release %s takes KV bytes: %s', (version, takes) => {
    const argv = vllm.toCommand(anInstanceSpec({ workload: { engine: engine({}, version) } })).argv;
    expect(argv.includes('--kv-cache-memory-bytes=8589934592')).toBe(takes);
    expect(argv).toContain('--gpu-memory-utilization=0.2084');
  });
});

describe('SGLang', () => {
  it('gets a KV pool in tokens and a fraction that is enough of the share alone', () => {
    const { argv } = sglang.toCommand(
      anInstanceSpec({ workload: { adapters: [{ name: 'legal', path: '/lora/legal' }] } }),
    );
    expect(argv).toEqual([
      'python3',
      '-m',
      'sglang.launch_server',
      '--model-path=meta-llama/Llama-3.1-8B-Instruct',
      '--dtype=bfloat16',
      '--kv-cache-dtype=auto',
      '--enable-lora',
      '--lora-paths',
      'legal=/lora/legal',
      '--served-model-name=chat',
      '--context-length=8192',
      '--max-running-requests=16',
      '--chunked-prefill-size=2048',
      '--tp-size=1',
      '--pp-size=1',
      // (16 060 522 496 + 8 GiB) ÷ 40 GiB = 0.57394…
      '--mem-fraction-static=0.574',
      '--max-total-tokens=65536',
      '--enable-metrics',
      '--host=127.0.0.1',
      '--port=9000',
    ]);
  });
});

describe('llama.cpp', () => {
  const gguf = { source: '/models/m.gguf', quantization: 'gguf:Q4_K_M' };
  it('gets one pool of tokens for all slots', () => {
    const { argv } = llama.toCommand(
      anInstanceSpec({ workload: { ...gguf, aliases: ['small'], kvCacheDtype: 'fp8' } }),
    );
    expect(argv).toEqual(
      `llama-server --model /models/m.gguf --n-gpu-layers 999 --alias chat,small --ctx-size 65536 --parallel 16 --kv-unified --batch-size 2048 --cache-type-k q8_0 --cache-type-v q8_0 --metrics --host 127.0.0.1 --port 9000`.split(
        ' ',
      ),
    );
  });

  it('asks for no more context than its slots can use', () => {
    const { argv } = llama.toCommand(
      anInstanceSpec({ workload: gguf, demand: { maxModelLen: 1024, maxNumSeqs: 2 } }),
    );
    expect(argv[argv.indexOf('--ctx-size') + 1]).toBe('2048');
  });

  it('takes a repository of the hub, and lets the user keep layers on the CPU', () => {
    const { argv } = llama.toCommand(
      anInstanceSpec({
        workload: { source: 'ggml-org/m-GGUF', engine: engine({ 'n-gpu-layers': 0 }) },
      }),
    );
    expect(argv.join(' ')).toContain('--hf-repo ggml-org/m-GGUF');
    expect(argv.lastIndexOf('--n-gpu-layers')).toBe(argv.indexOf('0') - 1);
  });
});

describe('refusals, all ERR_CONFIG_INVALID', () => {
  const cyclic: Record<string, unknown> = {};
  cyclic['self'] = cyclic;
  it.each([
    ['the port', vllm, { port: 1 }],
    ['a limit', vllm, { 'gpu-memory-utilization': 0.99 }],
    ['a limit with underscores', vllm, { gpu_memory_utilization: 0.99 }],
    ['a limit in capitals', vllm, { 'GPU-memory-utilization': 0.99 }],
    ['a beginning of a limit', vllm, { 'gpu-mem': 0.99 }],
    ['a limit by its short name', vllm, { tp: 8 }],
    ['the length', vllm, { 'max-model-len': 1 }],
    ['a limit of SGLang', sglang, { 'mem-fraction-static': 0.9 }],
    ['a limit of llama.cpp', llama, { 'ctx-size': 1 }],
    ['a short limit of llama.cpp', llama, { c: 1 }],
    ['a function', vllm, { seed: () => 1 }],
    ['a symbol', vllm, { seed: Symbol('x') }],
    ['nothing', vllm, { seed: undefined }],
    ['no number', vllm, { seed: Number.NaN }],
    ['a date', vllm, { seed: new Date(0) }],
    ['a bigint', vllm, { seed: 1n }],
    ['a cycle', vllm, { x: cyclic }],
    ['a list in a list', vllm, { x: [['a']] }],
    ['a flag in a list', vllm, { x: ['--port=1'] }],
    ['a flag as text', llama, { mmproj: '--port' }],
    ['a NUL', vllm, { x: 'a\0b' }],
    ['a key with a dash before', vllm, { '--port': 1 }],
    ['a key with a space', vllm, { 'x y': 1 }],
    ['a key with an equals sign', vllm, { 'x=--port': 1 }],
    ['an empty key', vllm, { '': 1 }],
  ])('%s', (_, adapter, args) => {
    const attempt = () =>
      adapter.toCommand(anInstanceSpec({ workload: { source: '/m.gguf', engine: engine(args) } }));
    expect(attempt).toThrow();
    try {
      attempt();
    } catch (error) {
      expect(AimError.is(error, 'ERR_CONFIG_INVALID')).toBe(true);
      expect((error as AimError).hint).toMatch(/\S/);
    }
  });

  it.each([
    ['GGUF in vLLM', vllm, { quantization: 'gguf:Q4_K_M' }, 1],
    ['several ranks in llama.cpp', llama, { source: '/m.gguf' }, 2],
    [
      'adapters in llama.cpp',
      llama,
      { source: '/m.gguf', adapters: [{ name: 'a', path: '/a' }] },
      1,
    ],
    ['a directory in llama.cpp', llama, { source: '/models/llama' }, 1],
  ])('%s', (_, adapter, workload, ranks) => {
    const spec = anInstanceSpec({
      workload: { name: workloadName('m'), ...workload },
      demand: { ranks },
    });
    expect(() => adapter.toCommand(spec)).toThrow(
      expect.objectContaining({ code: 'ERR_CONFIG_INVALID', kind: 'invalid' }),
    );
  });
});

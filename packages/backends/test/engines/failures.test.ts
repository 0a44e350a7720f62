import { createLlamaCppEngine, createSglangEngine, createVllmEngine } from '@aim-gpu/backends';
import { describe, expect, it } from 'vitest';

const vllm = createVllmEngine();
const sglang = createSglangEngine();
const llama = createLlamaCppEngine();

// Lines as engines print them (wording from vLLM's, SGLang's and llama.cpp's sources and public issues).
describe('last words', () => {
  it.each([
    [
      'too little is free',
      vllm,
      '(EngineCore pid=253) ValueError: Free memory on device cuda:0 (12.18/23.56 GiB) on startup is less than desired GPU memory utilization (0.92, 21.67 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.',
      'has 12.18 of 23.56 GiB free, and the instance was started for 21.67 GiB',
    ],
    [
      'the same from a release that did not name the device',
      vllm,
      'ValueError: Free memory on device (61.05/119.7 GiB) on startup is less than desired GPU memory utilization (0.52, 62.24 GiB).',
      '61.05 of 119.7 GiB',
    ],
    [
      'one request does not fit',
      vllm,
      "ValueError: To serve at least one request with the models's max seq len (40960), (4.38 GiB KV cache is needed, which is larger than the available KV cache memory (4.00 GiB). Based on the available memory, the estimated maximum model length is 37440. Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.",
      '40960 tokens needs 4.38 GiB',
      'set maxModelLen to 37440',
    ],
    [
      'one request does not fit and nothing would',
      vllm,
      "ValueError: To serve at least one request with the models's max seq len (8192), (1.5 GiB KV cache is needed, which is larger than the available KV cache memory (1.08 GiB).  Try increasing",
      'leaves 1.08 GiB',
      'lower maxModelLen',
    ],
    [
      'the wording of vLLM before V1',
      vllm,
      "ValueError: The model's max seq len (32768) is larger than the maximum number of tokens that can be stored in KV cache (7344). Try increasing `gpu_memory_utilization`",
      'holds 7344 tokens, less than one request of 32768',
      'set maxModelLen to 7344',
    ],
    [
      'no room for KV',
      vllm,
      'ValueError: No available memory for the cache blocks. Try increasing',
      'no memory of the share for the KV cache',
    ],
    [
      'a neighbour freed memory',
      vllm,
      'AssertionError: Error in memory profiling. Initial free memory 10.5 GiB, current free memory 12.5 GiB. This happens',
      'freed memory of the partition',
      'one after the other',
    ],
    [
      'too long for the model',
      vllm,
      'User-specified max_model_len (65536) is greater than the derived max_model_len (max_position_embeddings=32768 or model_max_length=None in model',
      '65536 is more than the 32768',
    ],
    [
      'heads',
      vllm,
      'Total number of attention heads (28) must be divisible by tensor parallel size (8).',
      '28 attention heads',
    ],
    [
      'architecture',
      vllm,
      "ValueError: Model architectures ['FooForCausalLM'] are not supported for now. Supported architectures",
      "'FooForCausalLM'",
    ],
    [
      'HIP out of memory',
      vllm,
      'torch.OutOfMemoryError: HIP out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.98 GiB',
      '2.00 GiB more could not be allocated',
    ],
    [
      'CUDA out of memory',
      sglang,
      'torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 512.00 MiB',
      '512.00 MiB more',
    ],
    [
      'port',
      vllm,
      "OSError: [Errno 98] error while attempting to bind on address ('127.0.0.1', 8000): address already in use",
      'port of the engine is in use',
    ],
    [
      'model',
      vllm,
      'OSError: /nowhere/model is not a local folder and is not a valid model identifier',
      'model was not found',
    ],
    [
      'gated',
      vllm,
      'OSError: You are trying to access a gated repo.',
      'only be downloaded with permission',
    ],
    ['no GPU', vllm, 'RuntimeError: No HIP GPUs are available', 'sees no GPU'],
    [
      'kfd',
      vllm,
      'Unable to open /dev/kfd read-write: Permission denied',
      '/dev/kfd: Permission denied',
      'render and video',
    ],
    [
      'module',
      sglang,
      "ModuleNotFoundError: No module named 'sgl_kernel'",
      'sgl_kernel is missing',
    ],
    [
      'flag',
      vllm,
      'vllm: error: unrecognized arguments: --kv-cache-memory-bytes=1',
      'does not know --kv-cache-memory-bytes=1',
    ],
    [
      'value',
      vllm,
      "api_server.py: error: argument --dtype: invalid choice: 'x'",
      "refuses --dtype: invalid choice: 'x'",
    ],
    ['disk', vllm, 'OSError: [Errno 28] No space left on device', 'disk is full'],
    [
      'SGLang memory',
      sglang,
      'RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.',
      'no memory of the share for the KV cache',
    ],
    [
      'SGLang ranks',
      sglang,
      'ValueError: The memory capacity is unbalanced. Some GPUs may be occupied by other processes.',
      'different amounts of free memory',
    ],
    [
      'llama.cpp memory',
      llama,
      'ggml_backend_cuda_buffer_type_alloc_buffer: allocating 4096.00 MiB on device 0: cudaMalloc failed: out of memory',
      '4096.00 MiB',
    ],
    [
      'llama.cpp file',
      llama,
      "srv    load_model: failed to load model, '/models/x.gguf'",
      'was not found or is no GGUF',
    ],
    [
      'llama.cpp architecture',
      llama,
      "error loading model architecture: unknown model architecture: 'foo'",
      'architecture foo',
    ],
    [
      'llama.cpp flag',
      llama,
      'error: invalid argument: --kv-unified',
      'does not know --kv-unified',
    ],
    [
      'llama.cpp port',
      llama,
      "main: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8080",
      'port of the engine is in use',
    ],
  ])('%s', (_, engine, line, message, hint = '') => {
    const explained = engine.explainExit(['INFO loading', line, '']);
    expect(explained?.message).toContain(message);
    expect(explained?.hint).toContain(hint);
    expect(`${explained?.message} ${explained?.hint}`).not.toMatch(/[{}]|\?/);
  });

  it('prefers the cause over what follows from it', () => {
    const explained = vllm.explainExit([
      'ValueError: No available memory for the cache blocks.',
      'RuntimeError: Engine core initialization failed. See root cause above.',
      'OSError: [Errno 98] Address already in use',
    ]);
    expect(explained?.message).toContain('KV cache');
  });

  it.each([vllm, sglang, llama])('says nothing of what it does not know', (engine) => {
    expect(engine.explainExit([])).toBeNull();
    expect(engine.explainExit(['Segmentation fault (core dumped)'])).toBeNull();
  });
});

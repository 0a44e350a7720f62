/**
 * Starts, watches and stops inference engines: vLLM, SGLang, llama.cpp and a simulated one.
 *
 * @packageDocumentation
 */
export { createProcessLauncher, type ProcessLauncherOptions } from './launcher/process-launcher.js';
export { createLlamaCppEngine, type LlamaCppEngineOptions } from './llama-cpp/llama-cpp-engine.js';
export { createSglangEngine, type SglangEngineOptions } from './sglang/sglang-engine.js';
export { createVllmEngine, type VllmEngineOptions } from './vllm/vllm-engine.js';

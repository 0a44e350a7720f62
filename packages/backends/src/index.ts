/**
 * Starts, watches and stops inference engines: vLLM, SGLang, llama.cpp and a simulated one.
 *
 * @packageDocumentation
 */
export { createLastingLauncher, type LastingLauncherOptions } from './launcher/lasting-launcher.js';
export { createProcessLauncher, type ProcessLauncherOptions } from './launcher/process-launcher.js';
export { createLlamaCppEngine, type LlamaCppEngineOptions } from './llama-cpp/llama-cpp-engine.js';
export {
  type DriveLoadOptions,
  driveLoad,
  type LoadResult,
  type RequestFailure,
  type RequestTiming,
} from './load/drive-load.js';
export type { LoadSummary, Spread } from './load/load-summary.js';
export {
  type MeasuredSetting,
  type MeasureEndpointOptions,
  measureEndpoint,
  readServedModels,
  SWEEP_LENGTHS_FROM,
  type SweepSetting,
} from './load/measure-endpoint.js';
export { createSglangEngine, type SglangEngineOptions } from './sglang/sglang-engine.js';
export type { SimulatedPartition } from './simulated-engine/config.js';
export {
  createSimulatedEngine,
  type SimulatedEngineOptions,
} from './simulated-engine/simulated-engine.js';
export { createVllmEngine, type VllmEngineOptions } from './vllm/vllm-engine.js';

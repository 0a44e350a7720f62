/**
 * From an engine's name and version to the family whose constants stand for it. Owns that choice only.
 */
import type { EngineFamily } from './engine-constants.js';

/** The first vLLM release whose speed on MI300X was measured as tuned. */
const FIRST_TUNED = [0, 6] as const;

/**
 * The family that stands for an engine: vLLM before 0.6 is `vllm-2024`; the simulated engine behaves like vLLM; for
 * llama.cpp nothing was measured on these GPUs and vLLM's constants stand in until a calibration replaces them. Null
 * for a name that is not known.
 */
export function toEngineFamily(name: string, version?: string): EngineFamily | null {
  switch (name.toLowerCase()) {
    case 'vllm': {
      const [major = Number.NaN, minor = Number.NaN] = (version ?? '')
        .replace(/^v/, '')
        .split('.')
        .map(Number);
      const old = major < FIRST_TUNED[0] || (major === FIRST_TUNED[0] && minor < FIRST_TUNED[1]);
      return old ? 'vllm-2024' : 'vllm';
    }
    case 'simulated':
    case 'llama.cpp':
      return 'vllm';
    case 'sglang':
      return 'sglang';
    case 'atom':
      return 'atom';
    case 'vllm-2024':
      return 'vllm-2024';
    default:
      return null;
  }
}

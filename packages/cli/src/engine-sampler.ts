/**
 * Reads an engine's own figures for the gateway, each in its own dialect. Owns the choice of the dialect; the simulated
 * engine speaks vLLM's.
 */
import { createLlamaCppEngine, createSglangEngine, createVllmEngine } from '@aim-gpu/backends';
import type { Fleet, ServingEngine } from '@aim-gpu/core';
import type { SampleEngine } from '@aim-gpu/gateway';

/** Makes the reader; `fleet` is asked each time, since another one may be applied while it runs. */
export function createEngineSampler(fleet: () => Fleet): SampleEngine {
  const vllm = createVllmEngine();
  const others: Readonly<Record<string, ServingEngine>> = {
    sglang: createSglangEngine(),
    'llama.cpp': createLlamaCppEngine(),
  };
  return ({ workload, address }, options) => {
    const name = fleet().models.find((model) => model.name === workload)?.engine.name ?? 'auto';
    return (others[name] ?? vllm).sample(address, options);
  };
}

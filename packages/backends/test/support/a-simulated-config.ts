/** Builder of simulated engines' configurations: an 8B model on a whole MI300X with 40 GiB of it. */
import { aDemand } from '@aim-gpu/core/testing';
import type { SimulatedEngineConfig } from '../../src/simulated-engine/config.js';
import { SHARE_BYTES } from './an-instance-spec.js';

export function aSimulatedConfig(
  overrides: Partial<SimulatedEngineConfig> = {},
): SimulatedEngineConfig {
  const demand = aDemand();
  const { weightsBytes, activationBytes, nonTorchBytes, graphBytes, contextBytes } = demand.memory;
  return {
    instance: 'chat-0',
    host: '127.0.0.1',
    port: 0,
    modelNames: ['chat', 'gpt-4o-mini'],
    adapterNames: ['chat-legal'],
    modelSource: 'meta-llama/Llama-3.1-8B-Instruct',
    maxModelLen: 8192,
    maxNumSeqs: 16,
    maxNumBatchedTokens: 2048,
    step: demand.step,
    kv: demand.kv,
    memory: { weightsBytes, activationBytes, nonTorchBytes, graphBytes, contextBytes },
    partition: { product: 'MI300X', xcds: 8, layout: { compute: 'SPX', memory: 'NPS1' } },
    shares: [{ card: '0000:0c:00.0', partition: 0, memoryBytes: SHARE_BYTES }],
    tensorParallel: 1,
    gpuMemoryUtilization: 0.2084,
    prefixCache: true,
    sharedDeviceSocket: null,
    startupMs: 0,
    ...overrides,
  };
}

/**
 * Builder of demands for tests: the figures of an 8-billion-parameter dense model in bf16 (32 layers, 8 KV heads of
 * 128), close to what sizing says of Llama 3.1 8B. Owns no formula but the sums that keep a demand consistent.
 */
import type { Demand, KvDemand, MemoryDemand, StepDemand } from '../demand.js';
import { workloadName } from '../ids.js';
import { type Bytes, bytes, GIB, MIB } from '../units.js';

/** Overrides of {@link aDemand}; parts of memory, KV and step may be given alone. */
export type DemandOverrides = Partial<Omit<Demand, 'memory' | 'kv' | 'step'>> & {
  readonly memory?: Partial<MemoryDemand>;
  readonly kv?: Partial<KvDemand>;
  readonly step?: Partial<StepDemand>;
};

/** Makes a demand of one rank; the two memory totals follow from the components unless given. */
export function aDemand(overrides: DemandOverrides = {}): Demand {
  return {
    workload: workloadName('chat'),
    ranks: 1,
    maxModelLen: 8192,
    maxNumSeqs: 16,
    maxNumBatchedTokens: 2048,
    kvPoolRelative: 0.05,
    approximate: false,
    assumptions: [],
    ...overrides,
    memory: aMemoryDemand(overrides.memory),
    kv: { bytesPerToken: 131_072, bytesPerRequestFixed: 0, blockSize: 16, ...overrides.kv },
    step: aStepDemand(overrides.step),
  };
}

/** Makes the memory part of a demand: 16.1 GB of weights, 8 GiB of KV; totals follow from the components. */
export function aMemoryDemand(overrides: Partial<MemoryDemand> = {}): MemoryDemand {
  const parts = {
    weightsBytes: bytes(16_060_522_496),
    activationBytes: bytes(640 * MIB),
    nonTorchBytes: bytes(512 * MIB),
    graphBytes: bytes(256 * MIB),
    contextBytes: bytes(512 * MIB),
    kvBytes: bytes(8 * GIB),
    kvMinimumBytes: bytes(GIB),
    ...overrides,
  };
  const fixed: Bytes = bytes(
    parts.weightsBytes +
      parts.activationBytes +
      parts.nonTorchBytes +
      parts.graphBytes +
      parts.contextBytes,
  );
  return {
    totalBytes: bytes(fixed + parts.kvBytes),
    minimumBytes: bytes(fixed + parts.kvMinimumBytes),
    ...parts,
  };
}

/** Makes the step part of a demand: a dense model of 8.03e9 parameters in bf16. */
export function aStepDemand(overrides: Partial<StepDemand> = {}): StepDemand {
  return {
    parameters: 8_030_261_248,
    activeParameters: 8_030_261_248,
    alwaysReadBytes: 15_009_849_344,
    routedExpertBytes: 0,
    experts: 0,
    expertsPerToken: 0,
    layers: 32,
    hiddenSize: 4096,
    kvBytesPerToken: 131_072,
    kvHeads: 8,
    fullAttentionLayers: 32,
    queryWidth: 4096,
    latentAttention: false,
    sparseAttention: false,
    mathPrecision: 'fp16',
    ...overrides,
  };
}

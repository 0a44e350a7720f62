/**
 * What one simulated engine process is told at start, and how it travels: JSON in an environment variable. Owns that
 * shape at both ends; a process checks what it was given before it uses it.
 */
import { AimError, type KvDemand, type Layout, type StepDemand } from '@aim-gpu/core';
import { z } from 'zod';

/** The environment variable that holds the configuration. */
export const CONFIG_VARIABLE = 'AIM_GPU_SIMULATED_ENGINE';

/** The partition a simulated engine runs on, as the speed model needs it. */
export interface SimulatedPartition {
  /** A product's name in core/products. */
  readonly product: string;
  readonly xcds: number;
  readonly layout: Layout;
}

/** Configuration of one simulated engine process. */
export interface SimulatedEngineConfig {
  readonly instance: string;
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  /** Names of the model itself, its own first. */
  readonly modelNames: readonly string[];
  /** Names of its adapters. */
  readonly adapterNames: readonly string[];
  readonly modelSource: string;
  readonly maxModelLen: number;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  readonly step: StepDemand;
  readonly kv: KvDemand;
  /** What leaves no room for KV; the parts for KV itself are not read. */
  readonly memory: Readonly<
    Record<
      'weightsBytes' | 'activationBytes' | 'nonTorchBytes' | 'graphBytes' | 'contextBytes',
      number
    >
  >;
  readonly partition: SimulatedPartition;
  /** One for each rank. */
  readonly shares: readonly {
    readonly card: string;
    readonly partition: number;
    readonly memoryBytes: number;
  }[];
  readonly tensorParallel: number;
  readonly gpuMemoryUtilization: number;
  readonly prefixCache: boolean;
  /** Socket of the SharedDevice; null runs on a partition that nobody else uses and that has just enough memory. */
  readonly sharedDeviceSocket: string | null;
  /** Time between start and readiness. */
  readonly startupMs: number;
}

const whole = z.int().nonnegative();
const count = z.int().positive();
const amount = z.number().nonnegative();

const schema: z.ZodType<SimulatedEngineConfig> = z.strictObject({
  instance: z.string(),
  host: z.string(),
  port: z.int().min(0).max(65_535),
  modelNames: z.array(z.string()).min(1),
  adapterNames: z.array(z.string()),
  modelSource: z.string(),
  maxModelLen: count,
  maxNumSeqs: count,
  maxNumBatchedTokens: count,
  step: z.strictObject({
    parameters: amount,
    activeParameters: amount,
    alwaysReadBytes: amount,
    routedExpertBytes: amount,
    experts: amount,
    expertsPerToken: amount,
    layers: amount,
    hiddenSize: amount,
    kvBytesPerToken: amount,
    kvHeads: amount,
    fullAttentionLayers: amount,
    queryWidth: amount,
    latentAttention: z.boolean(),
    sparseAttention: z.boolean(),
    mathPrecision: z.enum(['fp16', 'fp8', 'fp4']),
  }),
  kv: z.strictObject({ bytesPerToken: amount, bytesPerRequestFixed: amount, blockSize: count }),
  memory: z.strictObject({
    weightsBytes: whole,
    activationBytes: whole,
    nonTorchBytes: whole,
    graphBytes: whole,
    contextBytes: whole,
  }),
  partition: z.strictObject({
    product: z.string(),
    xcds: count,
    layout: z.strictObject({
      compute: z.enum(['SPX', 'DPX', 'TPX', 'QPX', 'CPX']),
      memory: z.enum(['NPS1', 'NPS2', 'NPS4', 'NPS8']),
    }),
  }),
  shares: z
    .array(z.strictObject({ card: z.string(), partition: whole, memoryBytes: whole }))
    .min(1),
  tensorParallel: count,
  gpuMemoryUtilization: amount,
  prefixCache: z.boolean(),
  sharedDeviceSocket: z.string().nullable(),
  startupMs: amount,
});

/** Reads a configuration. Throws `ERR_CONFIG_INVALID` naming the field. */
export function parseSimulatedEngineConfig(text: string): SimulatedEngineConfig {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalid('it is no JSON', cause);
  }
  const result = schema.safeParse(value);
  if (!result.success) {
    const issue = result.error.issues[0];
    throw invalid(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'unknown'}`, result.error);
  }
  return result.data;
}

function invalid(reason: string, cause: unknown): AimError {
  return new AimError({
    code: 'ERR_CONFIG_INVALID',
    kind: 'invalid',
    message: `${CONFIG_VARIABLE}: ${reason}`,
    cause,
  });
}

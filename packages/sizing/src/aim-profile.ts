/**
 * AIM profiles: the YAML files by which AMD's inference containers start an engine. Owns reading one into a typed value
 * and writing one; what a profile asks of the memory is aim-workload.ts's and aim-generate.ts's business.
 * Format: aim-build 0.9; the JSON Schemas are data/aim-schemas.
 */
import { parse, stringify } from 'yaml';
import { z } from 'zod';
import { invalidConfig } from './errors.js';

/** Precisions a profile can name. */
export type AimPrecision = 'fp4' | 'fp8' | 'fp16' | 'fp32' | 'bf16' | 'int4' | 'int8';
/** What a profile is tuned for. */
export type AimMetric = 'latency' | 'throughput';

/** One AIM profile. */
export interface AimProfile {
  /** Model the profile is filed under; `null` in general profiles. */
  readonly aimId: string | null;
  /** Model that is loaded, often a quantized sibling of `aimId`. */
  readonly modelId: string | null;
  readonly metadata: {
    readonly engine: string;
    readonly gpu: string;
    readonly precision: AimPrecision;
    readonly gpuCount: number;
    readonly metric: AimMetric;
    readonly manualSelectionOnly: boolean;
    readonly type: 'optimized' | 'unoptimized' | 'general' | 'preview';
  };
  /** Long flag without dashes → value; `null` is a bare flag. */
  readonly engineArgs: Readonly<Record<string, unknown>>;
  readonly envVars: Readonly<Record<string, string>>;
}

const profileSchema = z.looseObject({
  aim_id: z.string().max(300).optional(),
  model_id: z.string().max(300).optional(),
  metadata: z.looseObject({
    engine: z.string().max(50),
    gpu: z.string().max(50),
    precision: z.enum(['fp4', 'fp8', 'fp16', 'fp32', 'bf16', 'int4', 'int8']),
    gpu_count: z.number().int().min(0).max(8),
    metric: z.enum(['latency', 'throughput']),
    manual_selection_only: z.boolean(),
    type: z.enum(['optimized', 'unoptimized', 'general', 'preview']),
  }),
  engine_args: z.record(z.string(), z.unknown()),
  env_vars: z.record(z.string(), z.string()),
});

/** Parses YAML with bounds against alias bombs. Throws `ERR_CONFIG_INVALID`. */
export function parseProfileYaml(text: string, source: string): unknown {
  try {
    return parse(text, { maxAliasCount: 20 });
  } catch (error) {
    throw invalidConfig(
      source,
      '',
      `not YAML: ${error instanceof Error ? error.message : String(error)}`,
      'give an AIM profile',
      error,
    );
  }
}

/** Reads an AIM profile. Throws `ERR_CONFIG_INVALID` naming the field. */
export function parseAimProfile(text: string, source = 'profile.yaml'): AimProfile {
  const checked = profileSchema.safeParse(parseProfileYaml(text, source));
  if (!checked.success) {
    const issue = checked.error.issues[0];
    throw invalidConfig(
      source,
      issue?.path.join('.') ?? '',
      issue?.message ?? 'no AIM profile',
      'see the AIM profile schema',
    );
  }
  const {
    aim_id: aimId,
    model_id: modelId,
    metadata,
    engine_args: engineArgs,
    env_vars: envVars,
  } = checked.data;
  return {
    aimId: aimId ?? null,
    modelId: modelId ?? null,
    metadata: {
      engine: metadata.engine,
      gpu: metadata.gpu,
      precision: metadata.precision,
      gpuCount: metadata.gpu_count,
      metric: metadata.metric,
      manualSelectionOnly: metadata.manual_selection_only,
      type: metadata.type,
    },
    engineArgs,
    envVars,
  };
}

/** Writes a profile as YAML, keys in the order published profiles have. */
export function toAimProfileYaml(profile: AimProfile): string {
  const { metadata } = profile;
  return stringify(
    {
      ...(profile.aimId === null ? {} : { aim_id: profile.aimId }),
      ...(profile.modelId === null ? {} : { model_id: profile.modelId }),
      metadata: {
        engine: metadata.engine,
        gpu: metadata.gpu,
        gpu_count: metadata.gpuCount,
        manual_selection_only: metadata.manualSelectionOnly,
        metric: metadata.metric,
        precision: metadata.precision,
        type: metadata.type,
      },
      engine_args: profile.engineArgs,
      env_vars: profile.envVars,
    },
    { lineWidth: 0 },
  );
}

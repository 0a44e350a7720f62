/**
 * What a calibration is, and its file: corrections of one host with bounds and provenance. Owns the shape and the
 * bounds; making one from a log is calibrate.ts's business, using one size-options.ts's.
 */
import { z } from 'zod';
import { invalidConfig } from './errors.js';
import { parseJsonText } from './json-text.js';
import type { FloatType, ModelConfig } from './model-config.js';

/** Factors and replaced constants of one host. */
export interface Corrections {
  /** Measured ÷ predicted weights, within 0.9 and 1.1. */
  readonly weightsFactor: number;
  /** Measured ÷ predicted activation, within 0.25 and 4. */
  readonly activationFactor: number;
  /** Measured ÷ predicted graphs, within 0.1 and 10. */
  readonly graphFactor: number;
  /** Measured memory outside the tensor allocator, at most 16 GiB; `null` keeps the profile's. */
  readonly nonTorchBytes: number | null;
}

/** One component, predicted and measured, in bytes. */
export interface CalibrationRow {
  readonly component: 'weights' | 'activation' | 'nonTorch' | 'graphs' | 'kvPool';
  readonly predictedBytes: number;
  readonly measuredBytes: number;
}

/** A calibration file: what was measured, on what, and the corrections that follow. */
export interface Calibration {
  readonly apiVersion: 'aim-gpu/v1alpha1';
  readonly kind: 'Calibration';
  /** What the log was, as the caller named it. */
  readonly source: string;
  readonly engine: string;
  readonly platform: 'cuda' | 'rocm';
  /** Tensor ranks of the run: memory outside the allocator holds for these only. */
  readonly tensor: number;
  readonly model: string;
  /** Shape of the model; weights, and activation where it is validated, are corrected for such a model only. */
  readonly shape: string;
  readonly rows: readonly CalibrationRow[];
  readonly corrections: Corrections;
  /** Components whose correction was cut at a bound. */
  readonly bounded: readonly string[];
}

const GIB = 2 ** 30;
/** Most memory outside the allocator that a calibration may claim. */
export const MOST_NON_TORCH: number = 16 * GIB;
const bytes = z.number().min(0).max(Number.MAX_SAFE_INTEGER);

const calibrationSchema: z.ZodType<Calibration> = z.strictObject({
  apiVersion: z.literal('aim-gpu/v1alpha1'),
  kind: z.literal('Calibration'),
  source: z.string().max(1000),
  engine: z.string().max(100),
  platform: z.enum(['cuda', 'rocm']),
  tensor: z.number().int().min(1).max(4096),
  model: z.string().max(1000),
  shape: z.string().max(200),
  rows: z.array(
    z.strictObject({
      component: z.enum(['weights', 'activation', 'nonTorch', 'graphs', 'kvPool']),
      predictedBytes: bytes,
      measuredBytes: bytes,
    }),
  ),
  corrections: z.strictObject({
    weightsFactor: z.number().min(0.9).max(1.1),
    activationFactor: z.number().min(0.25).max(4),
    graphFactor: z.number().min(0.1).max(10),
    nonTorchBytes: bytes.max(MOST_NON_TORCH).nullable(),
  }),
  bounded: z.array(z.string().max(100)),
});

/** What makes two runs of the same model for a calibration: dimensions and type, not names. */
export function modelShape(config: ModelConfig, dtype: FloatType): string {
  return `${config.modelType}/${config.layers.length}/${config.hidden}/${config.vocab}/${dtype}`;
}

/** Reads a calibration file. Throws `ERR_CONFIG_INVALID` for what is none. */
export function parseCalibration(input: unknown, source = 'calibration'): Calibration {
  const checked = calibrationSchema.safeParse(
    typeof input === 'string' ? parseJsonText(input, source) : input,
  );
  if (checked.success) return checked.data;
  const issue = checked.error.issues[0];
  throw invalidConfig(
    source,
    issue?.path.join('.') ?? '',
    issue?.message ?? 'no calibration',
    'make it again with --calibrate',
  );
}

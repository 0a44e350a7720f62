/**
 * Layout problems at the edge: JSON in, checked problems out, and the JSON Schema of the same.
 */
import { AimError, BANDS } from '@aim-gpu/core';
import { z } from 'zod';
import type { LayoutProblem } from './layout-problem.js';

const size = z.number().int().nonnegative();
const share = z.number().positive();

const option = z.strictObject({
  layout: z.string().regex(/^(SPX|DPX|TPX|QPX|CPX)\/NPS[1248]$/),
  partitions: z.number().int().min(1),
  usableBytes: size,
  speed: share.max(1),
  changeMs: z.number().nonnegative(),
});

const card = z.strictObject({
  id: z.string().min(1),
  hive: z.string().min(1),
  product: z.string().min(1),
  options: z.array(option).min(1),
  current: z.number().int().nonnegative().nullable(),
});

const instance = z.strictObject({
  id: z.string().min(1),
  band: z.enum(BANDS),
  value: share,
  ranks: z.number().int().min(1),
  bytes: size,
  busy: z.number().nonnegative().max(1),
  tpotMs: share,
  targetTpotMs: share.nullable(),
  measured: z
    .record(z.string(), z.strictObject({ busy: z.number().nonnegative(), tpotMs: share }))
    .optional(),
  exclusive: z.boolean(),
  products: z.array(z.string()),
  cards: z.array(z.string()).optional(),
  apart: z.array(z.string()),
  pin: z.strictObject({ card: z.string(), partition: size.nullable() }).nullable(),
  assigned: z.strictObject({ card: z.string(), partitions: z.array(size).min(1) }).nullable(),
});

const file = z.strictObject({
  problems: z
    .array(
      z.strictObject({
        name: z.string(),
        preset: z.enum(['pack', 'latency']),
        slowdown: z.number().nonnegative(),
        cards: z.array(card),
        instances: z.array(instance),
      }),
    )
    .min(1),
});

/** Reads a file of layout problems. Throws `ERR_CONFIG_INVALID` (invalid) that names the first wrong place. */
export function parseLayoutProblems(
  text: string,
  options: { readonly file: string },
): readonly LayoutProblem[] {
  const invalid = (message: string, cause?: unknown): AimError =>
    new AimError({
      code: 'ERR_CONFIG_INVALID',
      kind: 'invalid',
      message: `${options.file}: ${message}`,
      hint: 'the schema is packages/scheduler/schema/layout-problems.v1.json',
      cause,
    });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw invalid('is not JSON', error);
  }
  const result = file.safeParse(json);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw invalid(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'is wrong'}`, result.error);
  }
  // An absent and an undefined `measured` mean the same.
  return result.data.problems as readonly LayoutProblem[];
}

/** The JSON Schema (2020-12) of a file of layout problems. */
export function layoutProblemsJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(file);
}

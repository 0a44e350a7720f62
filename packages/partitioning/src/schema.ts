/**
 * What comes back from the journal: unknown values → records, or `ERR_STATE_CORRUPT`. The journal is written by this
 * package alone; it is checked because disks and hands change files.
 */
import {
  AimError,
  type Bytes,
  type CardId,
  COMPUTE_MODES,
  type EpochMs,
  type HiveId,
  type InstanceId,
  MEMORY_MODES,
  type NodeName,
  type PlanId,
  type WorkloadName,
} from '@aim-gpu/core';
import { z } from 'zod';
import type { RepartitionHook } from './hooks.js';
import type { CardLayout, CardTarget, LayoutStep } from './next-step.js';
import { type RepartitionPlan, toPlanHash } from './repartition-plan.js';
import type { RepartitionRecord } from './transaction.js';

function branded<T extends string>(): z.ZodType<T> {
  return z.string().transform((value) => value as T) as unknown as z.ZodType<T>;
}

const card = branded<CardId>();
const hive = branded<HiveId>().nullable();
const id = branded<PlanId>();
const at = z.number().transform((value) => value as EpochMs) as unknown as z.ZodType<EpochMs>;
const compute = z.enum(COMPUTE_MODES);
const memory = z.enum(MEMORY_MODES);

const cardLayout: z.ZodType<CardLayout> = z.strictObject({
  card,
  hive,
  layout: z.strictObject({ compute: compute.nullable(), memory: memory.nullable() }),
});

const cardTarget: z.ZodType<CardTarget> = z.strictObject({
  card,
  hive,
  layout: z.strictObject({ compute, memory }),
});

const change: z.ZodType<LayoutStep> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('stage-memory'), card, hive, to: memory }),
  z.strictObject({ kind: z.literal('reload') }),
  z.strictObject({ kind: z.literal('set-compute'), card, to: compute }),
]);

const reason = z.strictObject({ code: z.string(), message: z.string() });

const plan: z.ZodType<RepartitionPlan> = z.strictObject({
  apiVersion: z.literal('aim-gpu/v1alpha1'),
  kind: z.literal('RepartitionPlan'),
  id,
  node: branded<NodeName>(),
  generation: z.string(),
  from: z.array(cardTarget),
  to: z.array(cardTarget),
  steps: z.array(
    z.strictObject({
      change,
      expectedMs: z.number(),
      stops: z.array(branded<InstanceId>()),
      after: z.array(cardTarget),
    }),
  ),
  expectedMs: z.number(),
  stops: z.array(branded<InstanceId>()),
  blastRadius: z.strictObject({
    cards: z.array(card),
    nodeWide: z.boolean(),
    instances: z.array(
      z.strictObject({
        instance: branded<InstanceId>(),
        workload: branded<WorkloadName>(),
        cause: z.enum(['card-switched', 'driver-reloaded', 'kernel-blocks']),
        step: z.int().min(0),
      }),
    ),
    memoryBytes: z
      .int()
      .min(0)
      .transform((value) => value as Bytes) as unknown as z.ZodType<Bytes>,
  }),
  cost: z.strictObject({
    steps: z.int().min(0),
    reloads: z.int().min(0),
    expectedMs: z.number(),
    instanceDowntimeMs: z.number(),
  }),
  warnings: z.array(reason),
});

const hook: z.ZodType<RepartitionHook> = z.strictObject({
  name: z.string(),
  when: z.enum(['before', 'after']),
  argv: z.tuple([z.string()], z.string()),
  timeoutMs: z.number(),
  required: z.boolean(),
});

const record: z.ZodType<RepartitionRecord> = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('begin'), plan, at, hooks: z.array(hook).optional() }),
  z.strictObject({ type: z.literal('drained'), id, at }),
  z.strictObject({
    type: z.literal('step'),
    id,
    at,
    direction: z.enum(['forward', 'back']),
    change,
  }),
  z.strictObject({ type: z.literal('rolling-back'), id, at, error: reason }),
  z.strictObject({
    type: z.literal('end'),
    id,
    at,
    outcome: z.enum(['applied', 'rolled-back', 'degraded']),
    observed: z.array(cardLayout).nullable(),
    error: reason.nullable(),
  }),
]);

/**
 * Reads a plan that was printed and stored. Throws `ERR_CONFIG_INVALID` (invalid) when it is no plan, or was changed since
 * its id was made.
 */
export function parseRepartitionPlan(value: unknown): RepartitionPlan {
  const parsed = plan.safeParse(value);
  const { id: _, ...rest } = (value ?? {}) as Record<string, unknown>;
  if (parsed.success && toPlanHash(rest) === parsed.data.id) return parsed.data;
  const issue = parsed.error?.issues[0];
  throw new AimError({
    code: 'ERR_CONFIG_INVALID',
    kind: 'invalid',
    message: `not a repartition plan: ${issue === undefined ? 'it was changed since its id was made' : `${issue.path.join('.')}: ${issue.message}`}`,
    hint: 'make one with `aim-gpu partition plan --json`',
  });
}

/** Reads the journal's records. Throws `ERR_STATE_CORRUPT` (internal) with the place of the first wrong one. */
export function parseRepartitionRecords(values: readonly unknown[]): readonly RepartitionRecord[] {
  const parsed = z.array(record).safeParse(values);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new AimError({
    code: 'ERR_STATE_CORRUPT',
    kind: 'internal',
    message: `the repartition journal cannot be read: ${issue?.message ?? 'unknown form'}`,
    details: { journal: 'repartition', path: issue?.path.map(String).join('.') ?? '' },
    hint: 'read the layouts with `aim-gpu gpus`, then move the journal away',
  });
}

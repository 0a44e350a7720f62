/**
 * Identity of a plan: a hash over its content with sorted keys, so that the same plan has the same id everywhere.
 */
import { createHash } from 'node:crypto';
import type { Plan, PlanId } from '@aim-gpu/core';

/** The id of a plan's content: the first 16 hex digits of SHA-256 over its JSON with sorted keys. */
export function planIdOf(content: Omit<Plan, 'id'>): PlanId {
  return createHash('sha256').update(canonicalJson(content)).digest('hex').slice(0, 16) as PlanId;
}

/** JSON with object keys sorted at every depth. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  });
}

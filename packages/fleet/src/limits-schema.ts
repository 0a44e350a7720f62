/**
 * The schema of limits, which a tenant has, a model has, and a tenant may have on one model. Owns their keys; whose they
 * are is in the section's own schema.
 */
import type { z } from 'zod';
import * as field from './fields.js';
import type { LimitsShape } from './shape.js';

const limit = (description: string) => field.count(description, '600').nullable().prefault(null);

/** Limits; what is not said is unlimited. */
export function limits(description: string): z.ZodType<LimitsShape> {
  return field.section(description, '{ requestsPerMinute: 600 }', {
    requestsPerMinute: limit('Requests in a minute; null is unlimited.'),
    inputTokensPerMinute: limit('Prompt tokens in a minute; null is unlimited.'),
    outputTokensPerMinute: limit('Answer tokens in a minute; null is unlimited.'),
    concurrent: limit('Requests at the same time; null is unlimited.'),
  });
}

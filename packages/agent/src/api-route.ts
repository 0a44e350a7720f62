/**
 * What every route of the agent's API has in common: how answers and failures are described and given. Owns no path.
 */
import { AimError } from '@aim-gpu/core';
import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { errorSchema } from './api-schema.js';

/** A body of JSON as OpenAPI describes it. */
export interface DescribedJson {
  readonly content: { readonly 'application/json': { readonly schema: z.ZodType } };
  readonly description: string;
}

/** Describes an answer. */
export function json(schema: z.ZodType, description: string): DescribedJson {
  return { content: { 'application/json': { schema } }, description };
}

/** Describes every failure. */
export const failure: DescribedJson = json(errorSchema, 'the error, by its kind');

/** The body of routes whose work can be undone, for a request. */
export const undoBody: {
  readonly content: {
    readonly 'application/json': { readonly schema: z.ZodType<{ undo?: boolean | undefined }> };
  };
  readonly required: false;
} = {
  content: {
    'application/json': { schema: z.strictObject({ undo: z.boolean().optional() }) },
  },
  required: false,
};

/** Documents have types where they are made; zod's descriptions of them here are for the reader of the API. */
export function reply(context: Context, document: object, status: 200 | 202 | 503 = 200): never {
  return context.json(document, status) as never;
}

/** What a path names and nobody knows. */
export function missing(code: string, message: string): AimError {
  return new AimError({ code, kind: 'missing', message });
}

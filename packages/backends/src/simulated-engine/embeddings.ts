/**
 * Embeddings of a simulated engine: vectors that are a function of the text, at the cost of its prompt. Pure.
 */
import { z } from 'zod';
import { badRequest } from './api-error.js';
import {
  type GenerationPlan,
  type Planned,
  planCompletion,
  type RequestLimits,
  type SequencePlan,
} from './generation-request.js';
import { hashText } from './pseudo-text.js';
import { type ReplyHead, toUsage } from './replies.js';

const schema = z.looseObject({
  model: z.string().nullish(),
  input: z.unknown(),
  encoding_format: z.enum(['float', 'base64']).nullish(),
});

/** An embeddings request that can be served. */
export type EmbeddingsPlan = GenerationPlan & { readonly base64: boolean };

/** Plans a body of /v1/embeddings: each text is a prompt whose computation ends with its first token. */
export function planEmbeddings(
  body: unknown,
  limits: RequestLimits,
): { readonly ok: true; readonly plan: EmbeddingsPlan } | Extract<Planned, { ok: false }> {
  const parsed = schema.safeParse(body);
  if (!parsed.success) {
    return {
      ok: false,
      error: badRequest('1 validation error: encoding_format', 'encoding_format'),
    };
  }
  const { model, input, encoding_format: format } = parsed.data;
  const planned = planCompletion({ model, prompt: input, max_tokens: 1 }, limits);
  if (!planned.ok) return planned;
  return { ok: true, plan: { ...planned.plan, base64: format === 'base64' } };
}

/** The answer, with vectors of length 1. */
export function toEmbeddingsReply(
  head: ReplyHead,
  plan: EmbeddingsPlan,
  dimensions: number,
): unknown {
  return {
    id: head.id,
    object: 'list',
    created: head.created,
    model: head.model,
    data: plan.sequences.map((sequence) => {
      const vector = toVector(sequence, dimensions);
      return {
        index: sequence.index,
        object: 'embedding',
        embedding: plan.base64 ? Buffer.from(vector.buffer).toString('base64') : [...vector],
      };
    }),
    usage: toUsage(plan.promptTokens, 0),
  };
}

function toVector(sequence: SequencePlan, dimensions: number): Float32Array {
  const raw = Float32Array.from(
    { length: Math.max(1, dimensions) },
    (_, index) => hashText(String(index), sequence.seed) / 2 ** 31 - 1,
  );
  const norm = Math.hypot(...raw) || 1;
  return raw.map((value) => value / norm);
}

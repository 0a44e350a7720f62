/**
 * From the body of a completion request to the sequences it asks for. Owns validation and the length rules; no HTTP,
 * no time. Pure.
 */
import { z } from 'zod';
import { type ApiError, badRequest, tooLong, unknownModel } from './api-error.js';
import type { SimulatedEngineConfig } from './config.js';
import {
  answerText,
  blockKeysOf,
  countChatTokens,
  countTokens,
  hashText,
  tokenText,
} from './pseudo-text.js';

/** Tokens of an answer nobody gave a length to, at which it ends by itself. */
export const DEFAULT_OUTPUT_TOKENS = 128;
/** vLLM's own bound on n. */
const MAX_CHOICES = 16_384;

/** One sequence to generate. */
export interface SequencePlan {
  readonly index: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly blockKeys: readonly string[];
  /** Seed of the answer's text. */
  readonly seed: number;
  readonly finishReason: 'stop' | 'length';
  /** The stop string that ended it, and what each token adds to the text before it. */
  readonly stopped: { readonly reason: string; readonly pieces: readonly string[] } | null;
}

/** A request that can be served. */
export interface GenerationPlan {
  readonly kind: 'chat' | 'completion';
  readonly model: string;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  readonly sequences: readonly SequencePlan[];
  /** Of all prompts, each once. */
  readonly promptTokens: number;
}

/** What planning a request gives. */
export type Planned =
  | { readonly ok: true; readonly plan: GenerationPlan }
  | { readonly ok: false; readonly error: ApiError };

const sampling = {
  model: z.string().nullish(),
  max_tokens: z.int().nullish(),
  max_completion_tokens: z.int().nullish(),
  min_tokens: z.int().nonnegative().nullish(),
  ignore_eos: z.boolean().nullish(),
  n: z.int().nullish(),
  stop: z.union([z.string(), z.array(z.string())]).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
};

const contentPart = z.looseObject({ type: z.string(), text: z.string().optional() });
const chatSchema = z.looseObject({
  ...sampling,
  messages: z
    .array(
      z.looseObject({
        role: z.string(),
        content: z.union([z.string(), z.array(contentPart)]).nullish(),
      }),
    )
    .min(1),
});
const completionSchema = z.looseObject({
  ...sampling,
  prompt: z.union([
    z.string(),
    z.array(z.string()).min(1),
    z.array(z.int().nonnegative()).min(1),
    z.array(z.array(z.int().nonnegative()).min(1)).min(1),
  ]),
});
type Sampling = z.infer<z.ZodObject<typeof sampling>>;

interface Prompt {
  readonly text: string;
  readonly tokens: number;
}

/** Limits that decide over a request. */
export type RequestLimits = Pick<
  SimulatedEngineConfig,
  'modelNames' | 'adapterNames' | 'maxModelLen' | 'kv'
> & { readonly kvTokens: number };

/** Plans a body of /v1/chat/completions. */
export function planChat(body: unknown, limits: RequestLimits): Planned {
  const parsed = chatSchema.safeParse(body);
  if (!parsed.success) return { ok: false, error: invalidBody(parsed.error) };
  const messages: { text: string; role: string }[] = [];
  for (const { role, content } of parsed.data.messages) {
    const parts = typeof content === 'string' ? [{ type: 'text', text: content }] : (content ?? []);
    const other = parts.find(({ type }) => type !== 'text');
    if (other !== undefined) {
      const kind = other.type.replace(/^input_|_url$/g, '');
      const error = badRequest(`At most 0 ${kind}(s) may be provided in one prompt.`, 'messages');
      return { ok: false, error };
    }
    messages.push({ role, text: parts.map(({ text }) => text ?? '').join('\n') });
  }
  const prompt = {
    text: messages.map(({ role, text }) => `${role}\n${text}\n`).join(''),
    tokens: countChatTokens(messages),
  };
  return planSequences('chat', parsed.data, [prompt], limits);
}

/** Plans a body of /v1/completions. */
export function planCompletion(body: unknown, limits: RequestLimits): Planned {
  const parsed = completionSchema.safeParse(body);
  if (!parsed.success) return { ok: false, error: invalidBody(parsed.error) };
  return planSequences('completion', parsed.data, toPrompts(parsed.data.prompt), limits);
}

/** Prompts of the four forms OpenAI allows: text, texts, token ids, lists of token ids. */
function toPrompts(
  input: string | readonly string[] | readonly number[] | readonly (readonly number[])[],
): readonly Prompt[] {
  if (typeof input === 'string') return [{ text: input, tokens: countTokens(input) }];
  if (input.every((item) => typeof item === 'number')) return [fromIds(input)];
  return (input as readonly (string | readonly number[])[]).map((item) =>
    typeof item === 'string' ? { text: item, tokens: countTokens(item) } : fromIds(item),
  );
}

function fromIds(ids: readonly number[]): Prompt {
  return { text: ids.map((id) => String(id).padStart(4, ' ')).join(''), tokens: ids.length };
}

/** The name of the model a request is for, or the refusal. No name means the engine's own, as in vLLM. */
function resolveModel(
  name: string | null | undefined,
  limits: Pick<RequestLimits, 'modelNames' | 'adapterNames'>,
):
  | { readonly ok: true; readonly model: string }
  | { readonly ok: false; readonly error: ApiError } {
  const model = name ?? limits.modelNames[0] ?? '';
  const known = limits.modelNames.includes(model) || limits.adapterNames.includes(model);
  return known ? { ok: true, model } : { ok: false, error: unknownModel(model) };
}

function planSequences(
  kind: GenerationPlan['kind'],
  body: Sampling,
  prompts: readonly Prompt[],
  limits: RequestLimits,
): Planned {
  const resolved = resolveModel(body.model, limits);
  if (!resolved.ok) return resolved;
  const refuse = (message: string, param: string): Planned => ({
    ok: false,
    error: badRequest(message, param),
  });
  const choices = body.n ?? 1;
  if (choices < 1) return refuse(`n must be at least 1, got ${choices}.`, 'n');
  if (choices > MAX_CHOICES)
    return refuse(`n must be at most ${MAX_CHOICES}, got ${choices}.`, 'n');
  const asked = body.max_completion_tokens ?? body.max_tokens ?? null;
  if (asked !== null && asked < 1) {
    return refuse(`max_tokens must be at least 1, got ${asked}.`, 'max_tokens');
  }
  const least = body.min_tokens ?? 0;
  if (asked !== null && least > asked) {
    return refuse(
      `min_tokens must be less than or equal to max_tokens=${asked}, got ${least}.`,
      'min_tokens',
    );
  }
  if (body.stream_options != null && body.stream !== true) {
    return refuse('Stream options can only be defined when `stream=True`.', 'stream_options');
  }
  const stops = (typeof body.stop === 'string' ? [body.stop] : (body.stop ?? [])).filter(Boolean);
  const sequences: SequencePlan[] = [];
  for (const prompt of prompts) {
    const room = limits.maxModelLen - prompt.tokens;
    if (room < (asked ?? 1)) {
      const limit = limits.maxModelLen;
      const error = tooLong({ limit, promptTokens: prompt.tokens, outputTokens: asked ?? 0 });
      return { ok: false, error };
    }
    // The last token of an answer needs no room in the cache.
    const most = Math.min(room, limits.kvTokens - prompt.tokens + 1);
    const natural = body.ignore_eos === true ? most : Math.max(DEFAULT_OUTPUT_TOKENS, least);
    const outputTokens = Math.max(1, Math.min(asked ?? natural, most));
    const endsByItself = asked === null && body.ignore_eos !== true && natural <= most;
    const blockKeys = blockKeysOf(prompt.text, prompt.tokens, limits.kv.blockSize);
    for (let choice = 0; choice < choices; choice += 1) {
      const seed = hashText(`${prompt.text}#${choice}`);
      sequences.push({
        index: sequences.length,
        promptTokens: prompt.tokens,
        blockKeys,
        seed,
        ...endAtStop({ seed, outputTokens, least, stops, endsByItself }),
      });
    }
  }
  return {
    ok: true,
    plan: {
      kind,
      model: resolved.model,
      stream: body.stream === true,
      includeUsage: body.stream_options?.include_usage === true,
      sequences,
      promptTokens: prompts.reduce((sum, { tokens }) => sum + tokens, 0),
    },
  };
}

/** The answer is known beforehand, so where a stop string ends it is, too. */
function endAtStop(options: {
  readonly seed: number;
  readonly outputTokens: number;
  readonly least: number;
  readonly stops: readonly string[];
  readonly endsByItself: boolean;
}): Pick<SequencePlan, 'outputTokens' | 'finishReason' | 'stopped'> {
  const { seed, outputTokens, stops } = options;
  const whole = {
    outputTokens,
    finishReason: options.endsByItself ? 'stop' : 'length',
    stopped: null,
  } as const;
  if (stops.length === 0) return whole;
  const from = answerText(seed, options.least).length;
  const text = answerText(seed, outputTokens);
  const found = stops
    .map((reason) => ({ reason, start: text.indexOf(reason, from) }))
    .filter(({ start }) => start >= 0)
    .sort((a, b) => a.start + a.reason.length - (b.start + b.reason.length))[0];
  if (found === undefined) return whole;
  const { reason, start } = found;
  const pieces: string[] = [];
  for (let at = 0; at < start + reason.length; ) {
    const piece = tokenText(seed, pieces.length);
    pieces.push(piece.slice(0, Math.max(0, start - at)));
    at += piece.length;
  }
  return { outputTokens: pieces.length, finishReason: 'stop', stopped: { reason, pieces } };
}

function invalidBody(error: z.ZodError): ApiError {
  const issue = error.issues[0];
  const place = issue?.path.join('.') ?? '';
  return badRequest(`1 validation error: ${place}: ${issue?.message ?? 'invalid'}`, place || null);
}

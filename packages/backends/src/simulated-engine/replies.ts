/**
 * Bodies and stream chunks as vLLM's OpenAI server writes them. Pure.
 */
import type { GenerationPlan, SequencePlan } from './generation-request.js';
import { answerText, tokenText } from './pseudo-text.js';

/** What stays the same over all chunks of an answer. */
export interface ReplyHead {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}

/** Tokens of a request. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly total_tokens: number;
  readonly completion_tokens: number;
  readonly prompt_tokens_details: null;
}

/** Counts tokens as vLLM does: a prompt once, however many answers it gets. */
export function toUsage(promptTokens: number, completionTokens: number): Usage {
  return {
    prompt_tokens: promptTokens,
    total_tokens: promptTokens + completionTokens,
    completion_tokens: completionTokens,
    prompt_tokens_details: null,
  };
}

/** The text a token adds to an answer; what lies behind a stop string is not sent. */
function deltaText(sequence: SequencePlan, index: number): string {
  return sequence.stopped === null
    ? tokenText(sequence.seed, index)
    : (sequence.stopped.pieces[index] ?? '');
}

/** The whole answer of a request that does not stream. */
export function toWholeReply(head: ReplyHead, plan: GenerationPlan): unknown {
  const completionTokens = plan.sequences.reduce((sum, { outputTokens }) => sum + outputTokens, 0);
  const chat = plan.kind === 'chat';
  return {
    id: head.id,
    object: chat ? 'chat.completion' : 'text_completion',
    created: head.created,
    model: head.model,
    choices: plan.sequences.map((sequence) => {
      const text =
        sequence.stopped?.pieces.join('') ?? answerText(sequence.seed, sequence.outputTokens);
      const end = {
        logprobs: null,
        finish_reason: sequence.finishReason,
        stop_reason: sequence.stopped?.reason ?? null,
      };
      return chat
        ? { index: sequence.index, message: toMessage(text), ...end }
        : { index: sequence.index, text, ...end, prompt_logprobs: null };
    }),
    service_tier: null,
    system_fingerprint: null,
    usage: toUsage(plan.promptTokens, completionTokens),
    ...(chat ? { prompt_logprobs: null } : {}),
    kv_transfer_params: null,
  };
}

function toMessage(content: string): unknown {
  return {
    role: 'assistant',
    content,
    refusal: null,
    annotations: null,
    audio: null,
    function_call: null,
    tool_calls: [],
    reasoning_content: null,
  };
}

/** The first chunk of a chat answer, before its first text. */
export function toRoleChunk(head: ReplyHead, index: number): unknown {
  const choice = {
    index,
    delta: { role: 'assistant', content: '' },
    logprobs: null,
    finish_reason: null,
  };
  return toChunk(head, 'chat', [choice]);
}

/** The chunk of one token; the last one says why the answer ends. */
export function toTokenChunk(
  head: ReplyHead,
  kind: GenerationPlan['kind'],
  sequence: SequencePlan,
  index: number,
): unknown {
  const text = deltaText(sequence, index);
  const last = index === sequence.outputTokens - 1;
  const end = {
    logprobs: null,
    finish_reason: last ? sequence.finishReason : null,
    stop_reason: last ? (sequence.stopped?.reason ?? null) : null,
  };
  const choice =
    kind === 'chat'
      ? { index: sequence.index, delta: { content: text }, ...end }
      : { index: sequence.index, text, ...end };
  return toChunk(head, kind, [choice]);
}

/** The chunk behind all others when the client asked for usage. */
export function toUsageChunk(head: ReplyHead, kind: GenerationPlan['kind'], usage: Usage): unknown {
  return { ...(toChunk(head, kind, []) as object), usage };
}

function toChunk(
  head: ReplyHead,
  kind: GenerationPlan['kind'],
  choices: readonly unknown[],
): unknown {
  const object = kind === 'chat' ? 'chat.completion.chunk' : 'text_completion';
  return { id: head.id, object, created: head.created, model: head.model, choices };
}

/** One server-sent event. */
export function toEvent(payload: unknown): string {
  return `data: ${typeof payload === 'string' ? payload : JSON.stringify(payload)}\n\n`;
}

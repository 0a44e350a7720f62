import { describe, expect, it } from 'vitest';
import {
  DEFAULT_OUTPUT_TOKENS,
  type Planned,
  planChat,
  planCompletion,
} from '../../src/simulated-engine/generation-request.js';
import { answerText } from '../../src/simulated-engine/pseudo-text.js';
import { aSimulatedConfig } from '../support/a-simulated-config.js';

const limits = { ...aSimulatedConfig({ maxModelLen: 1000 }), kvTokens: 100_000 };
const chat = (body: object): Planned =>
  planChat(
    { model: 'chat', messages: [{ role: 'user', content: 'x'.repeat(372) }], ...body },
    limits,
  );
// 3 + 4 + 93
const PROMPT = 100;
const first = (planned: Planned) => {
  if (!planned.ok) throw new Error(planned.error.message);
  const [sequence] = planned.plan.sequences;
  if (sequence === undefined) throw new Error('no sequence');
  return sequence;
};

describe('how long an answer gets', () => {
  it.each([
    ['nothing said', {}, DEFAULT_OUTPUT_TOKENS, 'stop'],
    ['max_tokens', { max_tokens: 10 }, 10, 'length'],
    ['max_completion_tokens wins', { max_tokens: 10, max_completion_tokens: 20 }, 20, 'length'],
    ['more than the default', { max_tokens: 500 }, 500, 'length'],
    ['ignore_eos fills the context', { ignore_eos: true }, 900, 'length'],
    ['min_tokens prolongs', { min_tokens: 300 }, 300, 'stop'],
    ['min_tokens with max_tokens', { min_tokens: 5, max_tokens: 7 }, 7, 'length'],
    ['all the room there is', { max_tokens: 900 }, 900, 'length'],
  ])('%s', (_, body, outputTokens, finishReason) => {
    expect(first(chat(body))).toMatchObject({ promptTokens: PROMPT, outputTokens, finishReason });
  });

  it('ends at the end of the model where the default would go further', () => {
    const short = { ...limits, maxModelLen: 150 };
    const planned = planChat({ messages: [{ role: 'user', content: 'x'.repeat(372) }] }, short);
    expect(first(planned)).toMatchObject({ outputTokens: 50, finishReason: 'length' });
  });

  it('ends where the KV cache does', () => {
    const planned = planChat(
      { messages: [{ role: 'user', content: 'x'.repeat(372) }], ignore_eos: true },
      { ...limits, kvTokens: 200 },
    );
    expect(first(planned).outputTokens).toBe(101);
  });

  it('ends before a stop string, but not before min_tokens', () => {
    const { seed } = first(chat({ max_tokens: 50 }));
    const words = answerText(seed, 50).split(' ');
    const stop = words[9] ?? '';
    const at = words.indexOf(stop);
    const stopped = first(chat({ max_tokens: 50, stop: [stop, 'nowhere'] }));
    expect(stopped).toMatchObject({
      outputTokens: at + 1,
      finishReason: 'stop',
      stopped: { reason: stop },
    });
    expect(stopped.stopped?.pieces.join('')).toBe(
      `${words.slice(0, at).join(' ')}${at > 0 ? ' ' : ''}`,
    );
    const late = first(chat({ max_tokens: 50, min_tokens: 45, stop }));
    expect(late.outputTokens).toBeGreaterThan(45);
    expect(first(chat({ max_tokens: 50, stop: 'nowhere' })).stopped).toBeNull();
  });
});

describe('what a request asks for', () => {
  it('n answers to one prompt, with their own texts and the same blocks', () => {
    const planned = chat({ n: 3, stream: true, stream_options: { include_usage: true } });
    expect(planned).toMatchObject({
      ok: true,
      plan: { promptTokens: PROMPT, stream: true, includeUsage: true },
    });
    if (!planned.ok) return;
    const { sequences } = planned.plan;
    expect(sequences.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(new Set(sequences.map(({ seed }) => seed)).size).toBe(3);
    expect(sequences[0]?.blockKeys).toEqual(sequences[2]?.blockKeys);
  });

  it('is a function of the request alone', () => {
    expect(chat({})).toEqual(chat({}));
  });

  it.each([
    ['text', 'x'.repeat(40), [10]],
    ['texts', ['x'.repeat(40), 'y'.repeat(8)], [10, 2]],
    ['token ids', [1, 2, 3], [3]],
    ['lists of token ids', [[1, 2, 3], [4]], [3, 1]],
  ])('a prompt as %s', (_, prompt, tokens) => {
    const planned = planCompletion({ model: 'chat', prompt, max_tokens: 1 }, limits);
    if (!planned.ok) throw new Error(planned.error.message);
    expect(planned.plan.sequences.map(({ promptTokens }) => promptTokens)).toEqual(tokens);
    expect(planned.plan.promptTokens).toBe(tokens.reduce((sum, value) => sum + value, 0));
  });

  it('messages with parts, without content, and fields nobody knows', () => {
    const messages = [
      { role: 'system', content: [{ type: 'text', text: 'abcd' }] },
      { role: 'assistant', content: null, tool_calls: [] },
    ];
    expect(first(planChat({ messages, guided_json: {} }, limits)).promptTokens).toBe(3 + 5 + 4);
  });

  it.each(['chat', 'gpt-4o-mini', 'chat-legal', null, undefined])('the model %s', (model) => {
    expect(chat({ model }).ok).toBe(true);
  });
});

describe('refusals', () => {
  const tooLong = `This model's maximum context length is 1000 tokens. However, you requested 901 output tokens and your prompt contains at least 100 input tokens, for a total of at least 1001 tokens.`;
  it.each([
    ['another model', { model: 'x' }, 404, 'The model `x` does not exist.', 'model'],
    ['an answer too long', { max_tokens: 901 }, 400, tooLong, 'input_tokens'],
    [
      'a prompt too long',
      { messages: [{ role: 'user', content: 'x'.repeat(4000) }] },
      400,
      '0 output tokens',
      'input_tokens',
    ],
    ['no tokens', { max_tokens: 0 }, 400, 'max_tokens must be at least 1, got 0.', 'max_tokens'],
    [
      'fewer at most than at least',
      { max_tokens: 1, min_tokens: 2 },
      400,
      'min_tokens must be less than',
      'min_tokens',
    ],
    ['no answers', { n: 0 }, 400, 'n must be at least 1', 'n'],
    ['too many answers', { n: 1e6 }, 400, 'n must be at most', 'n'],
    [
      'stream options without a stream',
      { stream_options: { include_usage: true } },
      400,
      'Stream options',
      'stream_options',
    ],
    ['a wrong type', { max_tokens: 'many' }, 400, 'max_tokens', 'max_tokens'],
    ['no messages', { messages: [] }, 400, 'messages', 'messages'],
    [
      'a picture',
      { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] },
      400,
      'At most 0 image(s)',
      'messages',
    ],
  ])('%s', (_, body, status, message, param) => {
    const planned = chat(body);
    expect(planned).toMatchObject({ ok: false, error: { status, param } });
    if (!planned.ok) expect(planned.error.message).toContain(message);
  });

  it('a completion without a prompt', () => {
    expect(planCompletion({ model: 'chat' }, limits)).toMatchObject({
      ok: false,
      error: { status: 400, param: 'prompt' },
    });
  });
});

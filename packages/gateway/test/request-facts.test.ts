/** What is read of a request's body, and what the engine's copy of it becomes. */
import { describe, expect, it } from 'vitest';
import { type RequestFacts, readFacts, toEngineBody } from '../src/request-facts.js';

const CHAT = '/v1/chat/completions';
const COMPLETIONS = '/v1/completions';
const EMBEDDINGS = '/v1/embeddings';

function factsOf(body: unknown, path: string = CHAT): RequestFacts {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const facts = readFacts(Buffer.from(text), { path });
  if ('status' in facts) throw new Error(facts.body.error.message);
  return facts;
}

describe('the prompts of a request', () => {
  const words = 'word '.repeat(400);
  it.each([
    ['one text', COMPLETIONS, { prompt: words }, [1, 500, 15, 15]],
    ['texts', COMPLETIONS, { prompt: ['a', words] }, [2, 501, 15, 15]],
    ['the ids of one', COMPLETIONS, { prompt: [1, 2, 3] }, [1, 3, 3, 3]],
    ['the ids of several', COMPLETIONS, { prompt: [[1, 2], [3]] }, [2, 3, 3, 2]],
    ['a batch', EMBEDDINGS, { input: Array(300).fill(words) }, [300, 150_000, 4_687, 15]],
    ['documents', '/v1/rerank', { query: 'q', documents: ['a', { text: 'b' }] }, [2, 1, 0, 0]],
    ['messages', CHAT, { messages: [{ content: words }, { content: 'b' }] }, [1, 501, 15, 15]],
    ['a list of messages', '/v1/responses', { input: [{ content: 'a' }, {}] }, [1, 1, 0, 0]],
    ['texts that are no prompts', CHAT, { messages: [], stop: ['a', 'b'] }, [1, 1, 0, 0]],
    ['a picture', CHAT, { messages: [{ url: `data:${'x'.repeat(1e5)}` }] }, [1, 1_000, 0, 0]],
  ])('%s', (_, path, body, [prompts, promptTokens, leastPromptTokens, leastTokensOfOne]) => {
    const facts = factsOf({ model: 'm', ...body }, path);
    expect(facts).toMatchObject({ prompts, leastPromptTokens, leastTokensOfOne });
    // The model's name is text, too.
    expect(facts.promptTokens - (promptTokens ?? 0)).toBeLessThanOrEqual(1);
  });
});

describe('what counts as a stream', () => {
  it.each(['true', '1', '1.0', '"true"', '"True"', '"t"', '"YES"', '"y"', '"on"', '"1"'])(
    '%s does',
    (value) => {
      expect(factsOf(`{"model":"m","stream":${value}}`)).toMatchObject({
        stream: true,
        addUsage: true,
      });
    },
  );

  it.each([
    'false',
    '0',
    'null',
    '"false"',
    '"off"',
    '2',
    '""',
    '" true"',
    '{}',
    '[1]',
    '"truely"',
  ])('%s does not', (value) => {
    expect(factsOf(`{"model":"m","stream":${value}}`)).toMatchObject({
      stream: false,
      addUsage: false,
    });
  });
});

describe('counts', () => {
  it.each([
    ['5', 5],
    ['"5"', 5],
    ['5.0', 5],
    ['0', null],
    ['-1', null],
    ['1.5', null],
    ['null', null],
    ['""', null],
    ['[1]', null],
    ['9007199254740993', null],
    ['"x"', null],
    [`[${'0,'.repeat(1000)}0]`, null],
  ])('%s is %j', (value, want) => {
    expect(factsOf(`{"model":"m","max_tokens":${value}}`).maxOutputTokens).toBe(want);
  });

  it('are told apart: answers, prompts, tokens of one answer', () => {
    const facts = factsOf({ model: 'm', prompt: ['a', 'b'], n: 3, max_tokens: 7 }, COMPLETIONS);
    expect(facts).toMatchObject({ prompts: 2, answers: 3, maxOutputTokens: 7 });
  });

  it.each([
    ['{"model":"m","n":1000000000}', 128],
    ['{"model":"m","n":"4"}', 4],
    ['{"model":"m","n":0}', 1],
  ])('of answers are bounded: %s', (text, answers) => {
    expect(factsOf(text).answers).toBe(answers);
  });
});

describe('a model’s name', () => {
  it.each([
    ['{}', 'you must provide a model parameter'],
    ['{"model":1}', 'you must provide a model parameter'],
    ['{"model":""}', 'you must provide a model parameter'],
    [`{"model":"${'x'.repeat(2000)}"}`, 'the model’s name is longer than 1024 bytes'],
    ['{"model":"\\q"}', 'the value of model is not valid JSON'],
  ])('%s', (text, message) => {
    const facts = readFacts(Buffer.from(text), { path: CHAT });
    expect('status' in facts && facts.body.error).toMatchObject({ message, param: 'model' });
  });

  it('is read as the engine reads it, the last one and without escapes', () => {
    expect(factsOf('{"model":"a","\\u006dodel":"\\u0062"}').model).toBe('b');
  });
});

describe('the options of a stream', () => {
  const engineBody = (options: string): string =>
    toEngineBody(factsOf(`{"model":"m","stream":true${options}}`), { model: null }).toString();

  it.each([
    ['', '{"model":"m","stream_options":{"include_usage":true},"stream":true}'],
    [
      ',"stream_options":{"x":12345678901234567890,"y":1.0}',
      '{"model":"m","stream":true,"stream_options":{"include_usage":true,"x":12345678901234567890,"y":1.0}}',
    ],
    [
      ',"stream_options":{"include_usage":false, "x" : 1e400}',
      '{"model":"m","stream":true,"stream_options":{"include_usage":true, "x" : 1e400}}',
    ],
    [
      ',"stream_options":null',
      '{"model":"m","stream":true,"stream_options":{"include_usage":true}}',
    ],
    [',"stream_options":{}', '{"model":"m","stream":true,"stream_options":{"include_usage":true}}'],
  ])('%s gain usage and nothing else changes', (options, want) => {
    expect(engineBody(options)).toBe(want);
  });

  it.each([
    '"abc"',
    '[1]',
    '1',
    'true',
    '{"include_usage":true}',
    '{"include_usage":1}',
    `{"x":"${'y'.repeat(70_000)}"}`,
  ])('%s are left to the engine', (options) => {
    const body = `{"model":"m","stream":true,"stream_options":${options}}`;
    const facts = factsOf(body);
    expect(facts.addUsage).toBe(false);
    expect(toEngineBody(facts, { model: null }).toString()).toBe(body);
  });
});

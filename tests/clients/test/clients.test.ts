/** Clients that people have, as they come from their package, against the gateway. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { HumanMessage } from '@langchain/core/messages';
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai';
import OpenAI from 'openai';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Served, serve } from './support.js';

let served: Served;
beforeEach(async () => {
  served = await serve();
});
afterEach(() => served.close());

const say = (content: string) => [{ role: 'user' as const, content }];
const weather = {
  type: 'function' as const,
  function: {
    name: 'weather',
    parameters: { type: 'object', properties: { city: { type: 'string' } } },
  },
};

describe('the official openai client', () => {
  let client: OpenAI;
  beforeEach(() => {
    client = new OpenAI({ baseURL: served.url, apiKey: served.key });
  });

  it('JSON, under an alias, with the limits’ headers absent where there are none', async () => {
    const { data, response } = await client.chat.completions
      .create({ model: 'gpt-4o-mini', messages: say('hello') })
      .withResponse();
    expect(data.choices[0]?.message.content).toBe('one two three');
    expect(data.usage?.completion_tokens).toBe(3);
    expect(response.headers.get('x-ratelimit-limit-requests')).toBeNull();
  });

  it('streaming, with the usage it asked for and no other', async () => {
    for (const asks of [true, false]) {
      const stream = await client.chat.completions.create({
        model: 'chat',
        messages: say('hello'),
        stream: true,
        ...(asks ? { stream_options: { include_usage: true } } : {}),
      });
      let text = '';
      let usage = 0;
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? '';
        usage += chunk.usage?.completion_tokens ?? 0;
      }
      expect(text).toBe('one two three');
      expect(usage).toBe(asks ? 3 : 0);
    }
  });

  it('tools, whole and streamed, and n, logprobs and images on the way there', async () => {
    const content = [
      { type: 'text' as const, text: 'what is this?' },
      {
        type: 'image_url' as const,
        image_url: { url: `data:image/png;base64,${'A'.repeat(200)}` },
      },
    ];
    const request = {
      model: 'chat-legal',
      messages: [{ role: 'user' as const, content }],
      tools: [weather],
      n: 1,
      logprobs: true,
      top_logprobs: 2,
    };
    const answer = await client.chat.completions.create(request);
    expect(answer.choices[0]?.message.tool_calls?.[0]).toMatchObject({
      function: { name: 'weather', arguments: '{"city":"Oslo"}' },
    });
    expect(served.asked[0]?.body).toEqual(request);
    const runner = client.chat.completions.stream({ ...request, messages: say('weather?') });
    const { choices } = await runner.finalChatCompletion();
    expect(choices[0]?.message.tool_calls?.[0]).toMatchObject({ function: { name: 'weather' } });
  });

  it('embeddings, which it asks for in base64', async () => {
    const { data } = await client.embeddings.create({
      model: 'text-embedding-3-small',
      input: ['a', 'b'],
    });
    expect(data.map(({ embedding }) => embedding)).toEqual([
      [0.25, -0.5, 1],
      [0.25, -0.5, 1],
    ]);
  });

  it('errors as its own classes, and none of them asked again', async () => {
    const create = (model: string, content: string, from: OpenAI = client) =>
      from.chat.completions.create({ model, messages: say(content) });
    await expect(create('nothing', 'hello')).rejects.toBeInstanceOf(OpenAI.NotFoundError);
    await expect(create('chat', 'too long')).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    const stranger = new OpenAI({ baseURL: served.url, apiKey: 'sk-wrong' });
    await expect(create('chat', 'hello', stranger)).rejects.toBeInstanceOf(
      OpenAI.AuthenticationError,
    );
    expect(served.asked).toHaveLength(1);
  });

  it('an abort in mid-stream reaches the engine', async () => {
    const stream = await client.chat.completions.create({
      model: 'chat',
      messages: say('for ever'),
      stream: true,
    });
    let chunks = 0;
    for await (const _ of stream) {
      chunks += 1;
      if (chunks === 5) stream.controller.abort();
    }
    await expect.poll(() => served.aborted(), { timeout: 5000 }).toBe(1);
  });

  it('waits as long as it is told after 429 and asks again on its own', async () => {
    await served.close();
    // One each two seconds, thirty at once.
    served = await serve(30);
    client = new OpenAI({ baseURL: served.url, apiKey: served.key });
    const create = (from: OpenAI) =>
      from.chat.completions.create({ model: 'chat', messages: say('hello') }).withResponse();
    const proud = new OpenAI({ baseURL: served.url, apiKey: served.key, maxRetries: 0 });
    let refused: unknown;
    for (let request = 0; request < 40 && refused === undefined; request += 1) {
      await create(proud).catch((error: unknown) => {
        refused = error;
      });
    }
    expect(refused).toBeInstanceOf(OpenAI.RateLimitError);
    const { headers } = refused as InstanceType<typeof OpenAI.RateLimitError>;
    expect(headers.get('x-ratelimit-limit-requests')).toBe('30');
    expect(headers.get('x-ratelimit-remaining-requests')).toBe('0');
    const waitMs = Number(headers.get('retry-after-ms'));
    expect(waitMs).toBeGreaterThan(0);
    expect(waitMs).toBeLessThanOrEqual(2500);
    const before = served.asked.length;
    const { data } = await create(client);
    expect(data.choices[0]?.message.content).toBe('one two three');
    expect(served.asked.length).toBe(before + 1);
  });
});

describe("LangChain's OpenAI client", () => {
  const options = () => ({
    model: 'chat',
    apiKey: served.key,
    configuration: { baseURL: served.url },
  });

  it('answers, streams and calls tools', async () => {
    const model = new ChatOpenAI(options());
    expect((await model.invoke([new HumanMessage('hello')])).content).toBe('one two three');
    let text = '';
    for await (const chunk of await model.stream('hello')) text += String(chunk.content);
    expect(text).toBe('one two three');
    const answer = await model.bindTools([weather]).invoke('weather?');
    expect(answer.tool_calls?.[0]).toMatchObject({ name: 'weather', args: { city: 'Oslo' } });
  });

  it('embeds', async () => {
    const embeddings = new OpenAIEmbeddings({ ...options(), model: 'text-embedding-3-small' });
    expect(await embeddings.embedQuery('a')).toEqual([0.25, -0.5, 1]);
  });
});

describe('curl', () => {
  it('a raw stream, byte for byte what the engine sent', async () => {
    const { stdout } = await promisify(execFile)('curl', [
      ...['-sN', `${served.url}/chat/completions`],
      ...['-H', `authorization: Bearer ${served.key}`, '-H', 'content-type: application/json'],
      ...['-d', JSON.stringify({ model: 'chat', messages: say('hello'), stream: true })],
    ]);
    expect(stdout.split('\n\n').filter((event) => event.startsWith('data: {'))).toHaveLength(5);
    expect(stdout).toMatch(/data: \[DONE\]\n\n$/);
    expect(stdout).not.toContain('usage');
  });
});

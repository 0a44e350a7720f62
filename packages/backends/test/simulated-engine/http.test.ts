import { createServer } from 'node:net';
import { createVllmEngine } from '@aim-gpu/backends';
import { AimError, createLease, type SharedDevice, systemClock, systemIds } from '@aim-gpu/core';
import { request } from 'undici';
import { afterEach, describe, expect, it } from 'vitest';
import { createEventStreamReader } from '../../src/load/event-stream.js';
import type { SimulatedEngineConfig } from '../../src/simulated-engine/config.js';
import {
  type SimulatedEngineHandle,
  startSimulatedEngine,
} from '../../src/simulated-engine/start.js';
import { eventually } from '../launcher/poll.js';
import { aSimulatedConfig } from '../support/a-simulated-config.js';

const vllm = createVllmEngine();
const open: SimulatedEngineHandle[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((handle) => handle.release()));
});

async function start(
  overrides: Partial<SimulatedEngineConfig> = {},
  device: SharedDevice | null = null,
) {
  const handle = await startSimulatedEngine({
    config: aSimulatedConfig(overrides),
    device,
    clock: systemClock,
    ids: systemIds,
    pid: process.pid,
    print: () => undefined,
  });
  open.push(handle);
  await eventually('ready', async () => ((await vllm.isReady(handle.address)) ? true : null));
  return {
    ...handle,
    sample: () => vllm.sample(handle.address),
    get: (path: string) => request(`http://127.0.0.1:${handle.address.port}${path}`),
    post: (
      path: string,
      body: unknown,
      options: { signal?: AbortSignal; headers?: Record<string, string> } = {},
    ) =>
      request(`http://127.0.0.1:${handle.address.port}${path}`, {
        method: 'POST',
        body: typeof body === 'string' ? body : JSON.stringify(body),
        headers: { 'content-type': 'application/json', ...options.headers },
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      }),
  };
}

const messages = [{ role: 'user', content: 'Hello there' }];

async function eventsOf(response: Awaited<ReturnType<typeof request>>): Promise<unknown[]> {
  const payloads = createEventStreamReader().push(await response.body.text());
  return payloads.map((payload) => (payload === '[DONE]' ? payload : JSON.parse(payload)));
}

describe('answers', () => {
  let engine: Awaited<ReturnType<typeof start>>;

  it('a chat completion as JSON', async () => {
    engine = await start();
    const response = await engine.post(
      '/v1/chat/completions',
      { model: 'chat', messages, max_tokens: 5 },
      { headers: { 'x-request-id': 'abc' } },
    );
    expect(response.statusCode).toBe(200);
    expect(response.headers['content-type']).toBe('application/json');
    const body = (await response.body.json()) as { choices: { message: { content: string } }[] };
    expect(body).toMatchObject({
      id: 'chatcmpl-abc',
      object: 'chat.completion',
      created: expect.any(Number),
      model: 'chat',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: expect.any(String), tool_calls: [] },
          finish_reason: 'length',
          stop_reason: null,
          logprobs: null,
        },
      ],
      // 3 + 4 + 3 tokens of "Hello there"
      usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
    });
    expect(body.choices[0]?.message.content.split(' ')).toHaveLength(5);
  });

  it('several choices, and the same ones again', async () => {
    engine = await start();
    const ask = async () =>
      (await (
        await engine.post('/v1/chat/completions', {
          model: 'gpt-4o-mini',
          messages,
          n: 2,
          max_tokens: 4,
        })
      ).body.json()) as {
        choices: unknown[];
        usage: unknown;
      };
    const body = await ask();
    expect(body).toMatchObject({
      model: 'gpt-4o-mini',
      choices: [{ index: 0 }, { index: 1 }],
      usage: { prompt_tokens: 10, completion_tokens: 8 },
    });
    expect((await ask()).choices).toEqual(body.choices);
  });

  it('a chat completion as a stream: role, texts, end, usage, [DONE]', async () => {
    engine = await start();
    const body = {
      model: 'chat',
      messages,
      max_tokens: 3,
      stream: true,
      stream_options: { include_usage: true },
    };
    const response = await engine.post('/v1/chat/completions', body);
    expect(response.headers['content-type']).toBe('text/event-stream; charset=utf-8');
    const events = await eventsOf(response);
    const whole = (await (
      await engine.post('/v1/chat/completions', {
        ...body,
        stream: false,
        stream_options: undefined,
      })
    ).body.json()) as {
      choices: { message: { content: string } }[];
    };
    expect(events).toMatchObject(
      [
        {
          object: 'chat.completion.chunk',
          choices: [{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }],
        },
        { choices: [{ delta: { content: /^[a-z]+$/ }, finish_reason: null }] },
        { choices: [{ delta: { content: /^ [a-z]+$/ }, finish_reason: null }] },
        { choices: [{ delta: { content: /^ [a-z]+$/ }, finish_reason: 'length' }] },
        { choices: [], usage: { prompt_tokens: 10, completion_tokens: 3, total_tokens: 13 } },
        '[DONE]',
      ].map((event) => toMatcher(event)),
    );
    const texts = (events as { choices?: { delta?: { content?: string } }[] }[]).map(
      (event) => event.choices?.[0]?.delta?.content ?? '',
    );
    expect(texts.join('')).toBe(whole.choices[0]?.message.content);
    expect(new Set(events.slice(0, -1).map((event) => (event as { id: string }).id)).size).toBe(1);
  });

  it('no usage chunk unless asked for', async () => {
    engine = await start();
    const events = await eventsOf(
      await engine.post('/v1/chat/completions', {
        model: 'chat',
        messages,
        max_tokens: 2,
        stream: true,
      }),
    );
    expect(events).toHaveLength(4);
    expect(
      events.some((event) => typeof event === 'object' && event !== null && 'usage' in event),
    ).toBe(false);
  });

  it('text completions, plain, streamed, of several prompts', async () => {
    engine = await start();
    const plain = await engine.post('/v1/completions', {
      model: 'chat',
      prompt: ['abcd', 'efghijkl'],
      max_tokens: 2,
    });
    expect(await plain.body.json()).toMatchObject({
      id: expect.stringMatching(/^cmpl-/),
      object: 'text_completion',
      choices: [
        { index: 0, text: expect.any(String), finish_reason: 'length' },
        { index: 1, text: expect.any(String), finish_reason: 'length' },
      ],
      usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 },
    });
    const streamed = await eventsOf(
      await engine.post('/v1/completions', {
        model: 'chat',
        prompt: 'abcd',
        max_tokens: 2,
        stream: true,
      }),
    );
    expect(streamed).toMatchObject([
      {
        object: 'text_completion',
        choices: [{ index: 0, text: expect.any(String), finish_reason: null }],
      },
      { choices: [{ finish_reason: 'length' }] },
      '[DONE]',
    ]);
  });

  it('a stop string ends a stream before itself', async () => {
    engine = await start();
    const ask = async (body: object) =>
      (await (
        await engine.post('/v1/completions', {
          model: 'chat',
          prompt: 'abcd',
          max_tokens: 20,
          ...body,
        })
      ).body.json()) as {
        choices: { text: string; finish_reason: string; stop_reason: string | null }[];
      };
    const text = (await ask({})).choices[0]?.text ?? '';
    const stop = text.split(' ')[8] ?? '';
    const [choice] = (await ask({ stop })).choices;
    expect(choice).toMatchObject({
      finish_reason: 'stop',
      stop_reason: stop,
      text: text.slice(0, text.indexOf(stop)),
    });
    const events = await eventsOf(
      await engine.post('/v1/completions', {
        model: 'chat',
        prompt: 'abcd',
        max_tokens: 20,
        stop,
        stream: true,
      }),
    );
    expect(
      (events as { choices?: { text: string }[] }[])
        .map((event) => event.choices?.[0]?.text ?? '')
        .join(''),
    ).toBe(choice?.text);
  });

  it('embeddings of length 1, as numbers and as base64', async () => {
    engine = await start();
    const body = (await (
      await engine.post('/v1/embeddings', { model: 'chat', input: ['abcd', 'efgh'] })
    ).body.json()) as {
      data: { embedding: number[] }[];
    };
    expect(body).toMatchObject({
      object: 'list',
      data: [{ index: 0, object: 'embedding' }, { index: 1 }],
      usage: { prompt_tokens: 2, total_tokens: 2 },
    });
    const [first, second] = body.data.map(({ embedding }) => embedding);
    expect(first).toHaveLength(4096);
    expect(Math.hypot(...(first ?? []))).toBeCloseTo(1, 4);
    expect(first).not.toEqual(second);
    const packed = (await (
      await engine.post('/v1/embeddings', {
        model: 'chat',
        input: 'abcd',
        encoding_format: 'base64',
      })
    ).body.json()) as {
      data: { embedding: string }[];
    };
    const buffer = Buffer.from(packed.data[0]?.embedding ?? '', 'base64');
    expect([...new Float32Array(buffer.buffer, buffer.byteOffset, 4096)]).toEqual(first);
  });

  it('models, version, health and ping', async () => {
    engine = await start();
    expect(await (await engine.get('/v1/models')).body.json()).toMatchObject({
      object: 'list',
      data: [
        { id: 'chat', object: 'model', owned_by: 'vllm', max_model_len: 8192, parent: null },
        { id: 'gpt-4o-mini' },
        { id: 'chat-legal', parent: 'chat' },
      ],
    });
    for (const path of ['/health', '/ping', '/version']) {
      const response = await engine.get(path);
      await response.body.dump();
      expect(response.statusCode).toBe(200);
    }
  });
});

/** Turns regular expressions inside a pattern into matchers. */
function toMatcher(value: unknown): unknown {
  if (value instanceof RegExp) return expect.stringMatching(value);
  if (Array.isArray(value)) return value.map(toMatcher);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toMatcher(item)]));
}

describe('refusals', () => {
  it.each([
    [
      '/v1/chat/completions',
      { model: 'x', messages },
      404,
      {
        error: {
          message: 'The model `x` does not exist.',
          type: 'NotFoundError',
          param: 'model',
          code: 404,
        },
      },
    ],
    [
      '/v1/chat/completions',
      '{"model": ',
      400,
      { error: { type: 'BadRequestError', param: null, code: 400, message: /^JSON decode error/ } },
    ],
    [
      '/v1/chat/completions',
      { model: 'chat', messages: [{ role: 'user', content: 'x'.repeat(40_000) }] },
      400,
      {
        error: {
          type: 'BadRequestError',
          param: 'input_tokens',
          message: /maximum context length is 8192 tokens/,
        },
      },
    ],
    ['/v1/completions', { model: 'chat' }, 400, { error: { param: 'prompt' } }],
    ['/v1/embeddings', { model: 'x', input: 'a' }, 404, { error: { type: 'NotFoundError' } }],
    [
      '/v1/embeddings',
      { model: 'chat', input: 'a', encoding_format: 'hex' },
      400,
      { error: { param: 'encoding_format' } },
    ],
    ['/v1/nothing', {}, 404, { detail: 'Not Found' }],
    ['/constructor', {}, 404, { detail: 'Not Found' }],
    ['/v1/models', {}, 405, { detail: 'Method Not Allowed' }],
  ])('%s %j', async (path, body, status, expected) => {
    const engine = await start();
    const response = await engine.post(path, body);
    expect(response.statusCode).toBe(status);
    expect(await response.body.json()).toMatchObject(toMatcher(expected) as object);
  });

  it('503 until it is loaded', async () => {
    const handle = await startSimulatedEngine({
      config: aSimulatedConfig({ startupMs: 400 }),
      device: null,
      clock: systemClock,
      ids: systemIds,
      pid: process.pid,
      print: () => undefined,
    });
    open.push(handle);
    for (const path of ['/health', '/v1/models']) {
      const response = await request(`http://127.0.0.1:${handle.address.port}${path}`);
      await response.body.dump();
      expect(response.statusCode).toBe(503);
    }
    await eventually('ready', async () => ((await vllm.isReady(handle.address)) ? true : null));
  });
});

describe('a client that hangs up', () => {
  it.each([true, false])('frees its seat and its blocks (stream: %s)', async (stream) => {
    const engine = await start();
    const controller = new AbortController();
    const pending = engine
      .post(
        '/v1/chat/completions',
        { model: 'chat', messages, max_tokens: 5000, n: 2, stream },
        { signal: controller.signal },
      )
      .then((response) => response.body.text())
      .catch(() => null);
    await eventually('running', async () => ((await engine.sample()).running === 2 ? true : null));
    controller.abort();
    await pending;
    await eventually(
      'freed',
      async () => {
        const { running, waiting, kvUsage } = await engine.sample();
        return running === 0 && waiting === 0 && kvUsage === 0 ? true : null;
      },
      1000,
    );
    const text = await (await engine.get('/metrics')).body.text();
    expect(text).toContain('finished_reason="abort"} 2');
  });
});

describe('metrics', () => {
  it('count what was done, under vLLM’s names', async () => {
    const engine = await start();
    await (
      await engine.post('/v1/chat/completions', { model: 'chat', messages, max_tokens: 20 })
    ).body.dump();
    const sample = await engine.sample();
    expect(sample).toMatchObject({
      running: 0,
      waiting: 0,
      kvUsage: 0,
      preemptionsTotal: 0,
      promptTokensTotal: 10,
      generationTokensTotal: 20,
    });
    // (40 GiB − 17 979 MB of weights, activations and the rest) ÷ 128 KiB a token, in blocks of 16
    expect(sample.kvCapacityTokens).toBe(
      Math.floor((40 * 2 ** 30 - 16_060_522_496 - 1920 * 2 ** 20) / (131_072 * 16)) * 16,
    );
    const text = await (await engine.get('/metrics')).body.text();
    for (const name of [
      'vllm:cache_config_info{block_size="16"',
      'vllm:time_to_first_token_seconds_count{model_name="chat",engine="0"} 1',
      'vllm:inter_token_latency_seconds_count{model_name="chat",engine="0"} 19',
      'vllm:e2e_request_latency_seconds_count{model_name="chat",engine="0"} 1',
      'vllm:request_queue_time_seconds_count{model_name="chat",engine="0"} 1',
      'vllm:request_success_total{model_name="chat",engine="0",finished_reason="length"} 1',
      'vllm:iteration_tokens_total_count{model_name="chat",engine="0"} 20',
      'vllm:num_preemptions_total{model_name="chat",engine="0"} 0',
      'vllm:prefix_cache_queries_total',
    ]) {
      expect(text).toContain(name);
    }
  });

  it('requests beyond the seats wait', async () => {
    const engine = await start({ maxNumSeqs: 1 });
    const controller = new AbortController();
    const all = [1, 2, 3].map(() =>
      engine
        .post(
          '/v1/completions',
          { model: 'chat', prompt: 'abcd', max_tokens: 2000 },
          { signal: controller.signal },
        )
        .catch(() => null),
    );
    await eventually('one runs, two wait', async () => {
      const { running, waiting } = await engine.sample();
      return running === 1 && waiting === 2 ? true : null;
    });
    controller.abort();
    await Promise.all(all);
  });

  it('a prompt seen before is found in the prefix cache', async () => {
    const engine = await start();
    const body = { model: 'chat', prompt: 'x'.repeat(4000), max_tokens: 2 };
    for (let round = 0; round < 2; round += 1)
      await (await engine.post('/v1/completions', body)).body.dump();
    const text = await (await engine.get('/metrics')).body.text();
    expect(text).toMatch(/vllm:prefix_cache_hits_total\{.*\} 992/);
  });
});

describe('the device', () => {
  const refusing = (error: AimError): SharedDevice => ({
    attach: async () => Promise.reject(error),
  });
  it.each([
    [
      'too little is free',
      new AimError({
        code: 'ERR_DEVICE_MEMORY',
        kind: 'exhausted',
        message: 'x',
        details: { totalBytes: 2 ** 36, freeBytes: 2 ** 33 },
      }),
      'ValueError: Free memory on device cuda:0 (8.00/64.00 GiB) on startup is less than desired GPU memory utilization (0.63, 40.00 GiB).',
    ],
    [
      'there is no such partition',
      new AimError({ code: 'ERR_DEVICE_UNKNOWN', kind: 'missing', message: 'x' }),
      'No HIP GPUs are available',
    ],
  ])('%s: does not start, in the words of a real engine', async (_, error, words) => {
    await expect(start({}, refusing(error))).rejects.toMatchObject({
      code: 'ERR_ENGINE_START',
      message: expect.stringContaining(words),
    });
  });

  it('gives back what it took when a later step fails', async () => {
    const log: string[] = [];
    const device: SharedDevice = {
      attach: async (tenant) => {
        log.push(`take ${tenant.partition}`);
        return {
          ...createLease(() => void log.push(`give ${tenant.partition}`)),
          memory: { totalBytes: tenant.memoryBytes, freeBytes: tenant.memoryBytes },
          report: () => undefined,
          coTenants: () => ({ samePartition: [], otherPartitions: [] }),
        };
      },
    };
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve));
    const { port } = blocker.address() as { port: number };
    const card = '0000:0c:00.0';
    const memoryBytes = 40 * 2 ** 30;
    const shares = [
      { card, partition: 0, memoryBytes },
      { card, partition: 1, memoryBytes },
    ];
    await expect(start({ port, shares }, device)).rejects.toMatchObject({
      message: expect.stringContaining('address already in use'),
    });
    blocker.close();
    expect(log).toEqual(['take 0', 'take 1', 'give 0', 'give 1']);
    await expect(
      start(
        { partition: { product: 'MI999', xcds: 1, layout: { compute: 'SPX', memory: 'NPS1' } } },
        device,
      ),
    ).rejects.toMatchObject({ code: 'ERR_ENGINE_START' });
  });
});

/**
 * The main job over the built command: the quickstart's five models answer through the gateway with the unchanged
 * `openai` client, and what a client does wrong is answered as OpenAI does.
 */
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPlace, type Place, QUICKSTART, run } from './support/command.js';
import { processesOf, type Running, startUp, until } from './support/running.js';

const MODELS = ['assistant', 'coder', 'writer', 'guard', 'drafts'];

let place: Place;
let up: Running;
let client: OpenAI;

beforeAll(async () => {
  place = createPlace();
  up = await startUp(QUICKSTART, place.stateDirectory);
  client = new OpenAI({ baseURL: `${up.ready.gateway}/v1`, apiKey: 'anonymous', maxRetries: 0 });
}, 90_000);

afterAll(async () => {
  await up.stop();
  expect(processesOf(place.stateDirectory)).toEqual([]);
  place.remove();
}, 60_000);

/** Sum of a metric's samples whose labels contain the given text. */
async function metric(url: string, name: string, labels: string = ''): Promise<number> {
  const text = await (await fetch(url)).text();
  return text
    .split('\n')
    .filter((line) => line.startsWith(name) && line.includes(labels))
    .map((line) => Number(line.slice(line.lastIndexOf(' ') + 1)))
    .reduce((sum, value) => sum + value, 0);
}

interface StatusView {
  readonly state: string;
  readonly cards: readonly {
    readonly layout: { readonly compute: string };
    readonly partitions: readonly { readonly shares: readonly { readonly instance: string }[] }[];
  }[];
  readonly instances: readonly {
    readonly instance: string;
    readonly endpoint: { readonly host: string; readonly port: number };
  }[];
}

async function status(): Promise<StatusView> {
  return JSON.parse(
    (await run(['status', '--json', '--state-dir', place.stateDirectory])).stdout,
  ) as StatusView;
}

async function engineMetrics(instance: string): Promise<string> {
  const found = (await status()).instances.find((entry) => entry.instance === instance);
  return `http://${found?.endpoint.host}:${found?.endpoint.port}/metrics`;
}

describe('the card', () => {
  it('was split in four, three models alone and two together', async () => {
    const { state, cards } = await status();
    expect(state).toBe('ready');
    expect(cards[0]?.layout.compute).toBe('QPX');
    const shares = cards[0]?.partitions.map((partition) =>
      partition.shares.map((share) => share.instance).toSorted(),
    );
    expect(shares?.toSorted((a, b) => a.length - b.length)).toEqual([
      expect.toSatisfy((names: string[]) => names.length === 1),
      expect.toSatisfy((names: string[]) => names.length === 1),
      expect.toSatisfy((names: string[]) => names.length === 1),
      ['drafts-0', 'guard-0'],
    ]);
  });

  it('is what `gpus` reads back from another process', async () => {
    const ended = await run([
      'gpus',
      '--driver',
      'simulated',
      '--json',
      '--state-dir',
      place.stateDirectory,
    ]);
    const { cards } = JSON.parse(ended.stdout) as {
      cards: { layout: { compute: string }; partitions: { memoryBytes: number }[] }[];
    };
    expect(cards[0]?.layout.compute).toBe('QPX');
    // 196592 MiB (shown by the driver on an MI300X) ÷ 4.
    expect(cards[0]?.partitions.map((partition) => partition.memoryBytes / 2 ** 20)).toEqual([
      49148, 49148, 49148, 49148,
    ]);
  });
});

describe.each(MODELS)('%s', (model) => {
  const messages = [{ role: 'user' as const, content: 'Say something short.' }];

  it('answers JSON with usage', async () => {
    const answer = await client.chat.completions.create({ model, messages, max_tokens: 8 });
    expect(answer.object).toBe('chat.completion');
    expect(answer.choices[0]?.message.content).not.toBe('');
    expect(answer.usage?.completion_tokens).toBe(8);
  });

  it('streams', async () => {
    const stream = await client.chat.completions.create({
      model,
      messages,
      max_tokens: 8,
      stream: true,
    });
    let text = '';
    let finish: string | null = null;
    let usageSeen = false;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      finish = chunk.choices[0]?.finish_reason ?? finish;
      usageSeen ||= chunk.usage !== undefined && chunk.usage !== null;
    }
    expect(text).not.toBe('');
    expect(finish).toBe('length');
    // The client did not ask for usage: what the gateway asks of the engine must not reach it.
    expect(usageSeen).toBe(false);
  });
});

describe('clients', () => {
  it('are told the models, aliases included', async () => {
    const ids = (await client.models.list()).data.map(({ id }) => id);
    expect(ids).toEqual(expect.arrayContaining([...MODELS, 'gpt-4o-mini']));
  });

  it('may use an alias', async () => {
    const { response } = await client.chat.completions
      .create({
        model: 'gpt-4o-mini',
        messages: [{ role: 'user', content: 'hello' }],
        max_tokens: 2,
      })
      .withResponse();
    expect(response.headers.get('x-aim-instance')).toBe('assistant-0');
    expect(response.headers.get('x-request-id')).toMatch(/\S/);
    expect(Number(response.headers.get('x-aim-queue-ms'))).toBeGreaterThanOrEqual(0);
  });

  it('get 404 in OpenAI’s shape for an unknown model', async () => {
    const request = client.chat.completions.create({
      model: 'gpt-9',
      messages: [{ role: 'user', content: 'hello' }],
    });
    await expect(request).rejects.toMatchObject({
      status: 404,
      code: 'model_not_found',
      type: 'invalid_request_error',
    });
  });

  it('free their slot when they hang up in the middle of a stream', async () => {
    const url = await engineMetrics('writer-0');
    const stream = await client.chat.completions.create({
      model: 'writer',
      messages: [{ role: 'user', content: 'Tell a long story.' }],
      max_tokens: 4000,
      stream: true,
    });
    let chunks = 0;
    for await (const _ of stream) {
      chunks += 1;
      if (chunks === 3) {
        expect(await metric(url, 'vllm:num_requests_running')).toBe(1);
        break;
      }
    }
    stream.controller.abort();
    await until(
      'the slot is free',
      async () => (await metric(url, 'vllm:num_requests_running')) === 0,
      3000,
    );
    expect(await metric(url, 'vllm:kv_cache_usage_perc')).toBe(0);
  });

  it('are lowered to the highest band they may use, and told', async () => {
    const { response } = await client.chat.completions
      .create(
        { model: 'drafts', messages: [{ role: 'user', content: 'hello' }], max_tokens: 2 },
        { headers: { 'x-aim-band': 'critical' } },
      )
      .withResponse();
    expect(response.headers.get('x-aim-band')).toBe('standard');
  });
});

describe('metrics', () => {
  it('count requests, tokens and capacity under the contract’s names', async () => {
    const url = `${up.ready.admin}/metrics`;
    expect(await metric(url, 'aim_gpu_requests_total', 'model="assistant"')).toBeGreaterThan(1);
    expect(await metric(url, 'aim_gpu_tokens_total', 'model="assistant"')).toBeGreaterThan(8);
    expect(await metric(url, 'aim_gpu_instance_up')).toBe(5);
    expect(await metric(url, 'aim_gpu_partition_memory_bytes')).toBe(4 * 49148 * 2 ** 20);
    expect(await metric(url, 'aim_gpu_repartitions_total')).toBe(1);
    expect(
      await metric(url, 'aim_gpu_request_ttft_seconds_count', 'model="guard"'),
    ).toBeGreaterThan(0);
  });
});

/**
 * What of an engine's answer reaches a client: its bytes, the headers that say how to read them, its errors in OpenAI's
 * shape; and that long answers are counted like short ones.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ChaosEngine, startChaosEngine } from './support/chaos-proxy.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import { until } from './support/until.js';

let engine: ChaosEngine;
let bench: Bench;
beforeEach(async () => {
  engine = await startChaosEngine();
  bench = await startBench([aServedModel('chat')], { limits: { suspendMs: 1 } });
  bench.directory.set('chat', [engine]);
});
afterEach(async () => {
  await bench.close();
  await engine.close();
});

function ask(path = '/v1/chat/completions'): Promise<Response> {
  return fetch(`${bench.url}${path}`, {
    method: 'POST',
    body: JSON.stringify({ model: 'chat', prompt: 'hello' }),
    redirect: 'manual',
  });
}

function play(head: string, body: string | Buffer = ''): void {
  const bytes = Buffer.from(body);
  const length = `content-length: ${bytes.length}\r\n`;
  engine.play({
    bytes: Buffer.concat([Buffer.from(`HTTP/1.1 ${head}${length}\r\n`), bytes]),
    after: 'keep',
  });
}

function tokens(): Promise<Record<string, number | null>> {
  const counted = (): [string, number | null][] =>
    bench.metrics.records
      .filter(({ name }) => name === 'aim_gpu_tokens_total')
      .map(({ labels, value }) => [labels['kind'] ?? '', value]);
  return until(() =>
    bench.metrics.records.some(({ name }) => name === 'aim_gpu_requests_total'),
  ).then(() => Object.fromEntries(counted()));
}

describe('the usage of an answer in one piece', () => {
  const USAGE = '"usage":{"prompt_tokens":300,"completion_tokens":7}';
  const pad = (bytes: number): string => `"data":"${'x'.repeat(bytes)}"`;
  const KIB = 1024;

  it.each([
    ['short', `{${pad(10)},${USAGE}}`],
    ['long, told at the end', `{${pad(700 * KIB)},${USAGE}}`],
    ['long, told before the data', `{${USAGE},${pad(700 * KIB)}}`],
    ['long, with more behind it', `{${pad(400 * KIB)},${USAGE},"more":"${'y'.repeat(30 * KIB)}"}`],
    ['told where the first part that is passed on ends', `{${pad(256 * KIB - 40)},${USAGE}}`],
    ['twice: the last one counts', `{"usage":{"prompt_tokens":1},${pad(600 * KIB)},${USAGE}}`],
  ])('%s', async (_, body) => {
    play('200 OK\r\ncontent-type: application/json\r\n', body);
    expect(await (await ask('/v1/embeddings')).text()).toBe(body);
    expect(await tokens()).toEqual({ input: 300, output: 7 });
  });
});

describe('headers of engines', () => {
  it('reach the client only where they say how to read the answer', async () => {
    const engineHeaders = [
      'content-type: application/json',
      'content-language: en',
      'openai-processing-ms: 12',
      'connection: x-hop',
      'x-hop: 1',
      'set-cookie: a=b',
      'location: http://10.0.0.7:9000/',
      'access-control-allow-origin: *',
      'access-control-allow-credentials: true',
      'x-ratelimit-limit-requests: 9',
      'x-should-retry: true',
      'retry-after: 900',
      'x-aim-instance: fake',
      'x-accel-redirect: /etc/passwd',
      'server: uvicorn',
      'via: 1.1 inner',
    ];
    play(`200 OK\r\n${engineHeaders.join('\r\n')}\r\n`, '{"choices":[]}');
    const { headers } = await ask();
    const { date, ...kept } = Object.fromEntries(headers);
    expect(date).toBeDefined();
    expect(kept).toEqual({
      'content-type': 'application/json',
      'content-length': '14',
      'content-language': 'en',
      'openai-processing-ms': '12',
      'x-request-id': expect.any(String),
      'x-aim-band': 'standard',
      'x-aim-queue-ms': expect.any(String),
      'x-aim-instance': 'chat-0',
      connection: 'keep-alive',
      'keep-alive': expect.any(String),
    });
  });
});

describe('statuses without an answer in them', () => {
  it.each(['301 Moved Permanently', '302 Found', '304 Not Modified', '307 Temporary Redirect'])(
    '%s: 502, and nobody is sent anywhere',
    async (status) => {
      const head = `HTTP/1.1 ${status}\r\nlocation: http://10.0.0.7:9000/\r\n`;
      const hasBody = !status.startsWith('304');
      engine.play({
        bytes: Buffer.from(`${head}${hasBody ? 'content-length: 0\r\n' : ''}\r\n`),
        after: 'keep',
      });
      const response = await ask();
      expect(response.status).toBe(502);
      expect(response.headers.get('location')).toBeNull();
      expect(await response.json()).toMatchObject({ error: { code: 'upstream_error' } });
      expect(engine.requests()).toBe(1);
    },
  );

  it('204: as it is, without a length', async () => {
    engine.play({ bytes: Buffer.from('HTTP/1.1 204 No Content\r\n\r\n'), after: 'keep' });
    const response = await ask();
    expect(response.status).toBe(204);
    expect(response.headers.get('content-length')).toBeNull();
    expect(await response.text()).toBe('');
  });
});

describe('errors of engines', () => {
  const JSON_TYPE = 'content-type: application/json\r\n';
  const OPENAI =
    '{"error":{"message":"no such tool","type":"BadRequestError","param":null,"code":400}}';

  it.each(['400 Bad Request', '422 Unprocessable', '500 Internal Server Error'])(
    'in OpenAI’s shape pass as they are: %s',
    async (status) => {
      play(`${status}\r\n${JSON_TYPE}`, OPENAI);
      const response = await ask();
      expect(response.status).toBe(Number(status.slice(0, 3)));
      expect(await response.text()).toBe(OPENAI);
    },
  );

  it.each([
    [
      'vLLM’s older one',
      400,
      '{"object":"error","message":"too long","type":"BadRequestError","param":"prompt","code":400}',
      { message: 'too long', param: 'prompt' },
    ],
    ['a sentence of FastAPI', 404, '{"detail":"Not Found"}', { message: 'Not Found', param: null }],
    [
      'fields of FastAPI, without what was sent',
      422,
      '{"detail":[{"loc":["body","n"],"msg":"not an integer","input":"secret"}]}',
      { message: 'n: not an integer' },
    ],
    ['a text', 400, '{"error":"bad grammar"}', { message: 'bad grammar' }],
    ['a message that is none', 400, `{"detail":"${'x'.repeat(3000)}"}`, {}],
    ['a page', 413, '<html><h1>Too large</h1></html>', {}],
    ['nothing', 401, '', {}],
  ])('in other shapes are put into it: %s', async (_, status, body, error) => {
    play(`${status} X\r\ncontent-type: text/html\r\n`, body);
    const response = await ask();
    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toBe('application/json');
    expect(response.headers.get('x-should-retry')).toBe('false');
    expect(await response.json()).toEqual({
      error: {
        message: `The engine answered with status ${status}.`,
        type: 'invalid_request_error',
        param: null,
        code: null,
        ...error,
      },
    });
  });

  it.each([
    [500, '<h1>Internal Server Error</h1>', 'The engine answered with status 500.'],
    [501, '{"detail":"not built"}', 'not built'],
  ])('of the engine’s own (%i) are 502', async (status, body, message) => {
    play(`${status} X\r\n`, body);
    const response = await ask();
    expect(response.status).toBe(502);
    expect(response.headers.get('retry-after-ms')).toBe('1000');
    expect(await response.json()).toMatchObject({
      error: { message, type: 'server_error', code: 'upstream_error' },
    });
  });

  it.each(['application/json', 'text/event-stream'])(
    'without measure are not passed on: %s',
    async (type) => {
      play(
        `400 X\r\ncontent-type: ${type}\r\n`,
        `{"error":{"message":"${'x'.repeat(1_000_000)}"}}`,
      );
      const text = await (await ask()).text();
      expect(JSON.parse(text)).toMatchObject({
        error: { message: 'The engine answered with status 400.' },
      });
    },
  );
});

it('a stream is one however its type is written', async () => {
  const event = 'data: {"choices":[{"delta":{"content":"a"}}]}\n\n';
  const usage = 'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n';
  play('200 OK\r\ncontent-type: Text/Event-Stream; charset=utf-8\r\n', event + usage);
  expect(await (await ask()).text()).toContain(event);
  expect(await tokens()).toEqual({ input: 3, output: 2 });
});

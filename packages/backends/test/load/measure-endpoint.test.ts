import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { measureEndpoint, readServedModels } from '@aim-gpu/backends';
import { AimError, createSequentialIds, systemClock } from '@aim-gpu/core';
import { afterEach, describe, expect, it } from 'vitest';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

interface Asked {
  readonly max_tokens: number;
  readonly messages: readonly { readonly content: string }[];
}

/** A server that answers as many tokens as it is asked for, or what `answer` makes of it. */
function serveChat(
  answer: (response: ServerResponse, asked: Asked, count: number) => void,
): Promise<string> {
  let count = 0;
  return serve((request, response) => {
    let body = '';
    request.on('data', (data) => {
      body += String(data);
    });
    request.on('end', () => {
      count += 1;
      answer(response, JSON.parse(body) as Asked, count);
    });
  });
}

const event = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`;
const text = (content: string): string => event({ choices: [{ delta: { content } }] });
const usage = (prompt: number, completion: number): string =>
  event({ choices: [], usage: { prompt_tokens: prompt, completion_tokens: completion } });

function answerWell(response: ServerResponse, asked: Asked): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.write(text('a'));
  setTimeout(() => {
    for (let token = 1; token < asked.max_tokens; token += 1) response.write(text(' b'));
    const prompt = Math.ceil((asked.messages[0]?.content.length ?? 0) / 2);
    response.end(`${usage(prompt, asked.max_tokens)}data: [DONE]\n\n`);
  }, 10);
}

const sweep = {
  model: 'm',
  settings: [
    { promptTokens: 20, outputTokens: 4, concurrency: 1 },
    { promptTokens: 40, outputTokens: 4, concurrency: 2 },
  ],
  requestsPerClient: 3,
  requestTimeoutMs: 1500,
  clock: systemClock,
  ids: createSequentialIds('sweep-'),
};

async function failure(promise: Promise<unknown>): Promise<AimError> {
  const caught: unknown = await promise.then(
    () => null,
    (error: unknown) => error,
  );
  if (!AimError.is(caught)) throw new Error(`not a coded error: ${String(caught)}`);
  return caught;
}

const BROKEN: readonly (readonly [string, string, string, (response: ServerResponse) => void])[] = [
  [
    'answers errors',
    'ERR_ENDPOINT_REFUSED',
    'unavailable',
    (response: ServerResponse) => {
      response.writeHead(404);
      response.end('{"error":{"message":"no model m"}}');
    },
  ],
  ['hangs', 'ERR_ENDPOINT_TIMEOUT', 'timeout', () => undefined],
  [
    'hangs in the middle of an answer',
    'ERR_ENDPOINT_TIMEOUT',
    'timeout',
    (response: ServerResponse) => void response.write(text('a')),
  ],
  [
    'drips for ever',
    'ERR_ENDPOINT_TIMEOUT',
    'timeout',
    (response: ServerResponse) => {
      const drip = setInterval(() => response.write(': still here\n\n'), 20);
      response.on('close', () => clearInterval(drip));
    },
  ],
  [
    'hangs up',
    'ERR_ENDPOINT_UNREACHABLE',
    'unavailable',
    (response: ServerResponse) => void response.destroy(),
  ],
  [
    'streams something else',
    'ERR_ENDPOINT_UNREACHABLE',
    'unavailable',
    (response: ServerResponse) => void response.end('data: hello\n\n'),
  ],
  [
    'streams an event without an end',
    'ERR_ENDPOINT_UNREACHABLE',
    'unavailable',
    (response: ServerResponse) => void response.end('x'.repeat(2_000_000)),
  ],
  [
    'streams an error',
    'ERR_ENDPOINT_UNREACHABLE',
    'unavailable',
    (response: ServerResponse) =>
      void response.end(text('a') + event({ error: { message: 'out of memory' } })),
  ],
  [
    'streams without usage',
    'ERR_ENDPOINT_NO_USAGE',
    'refused',
    (response: ServerResponse) => void response.end(text('a') + text('b')),
  ],
  [
    'ends after a token',
    'ERR_ENDPOINT_SHORT_ANSWERS',
    'refused',
    (response: ServerResponse) => void response.end(text('a') + usage(20, 1)),
  ],
];

describe('a sweep', () => {
  it('warms up, measures every setting and reports what the server counted', async () => {
    const asked: Asked[] = [];
    const url = await serveChat((response, request) => {
      asked.push(request);
      answerWell(response, request);
    });
    const settings: number[] = [];
    const measured = await measureEndpoint({
      ...sweep,
      url: `${url}/`,
      rounds: 2,
      onSetting: (_, index, of) => settings.push(index / of),
    });
    expect(settings).toEqual([0, 0.25, 0.5, 0.75]);
    expect(asked).toHaveLength(2 * 2 + 2 * (3 + 6));
    expect(new Set(asked.map(({ messages }) => messages[0]?.content)).size).toBe(asked.length);
    expect(measured.map(({ concurrency }) => concurrency)).toEqual([1, 2]);
    for (const [index, setting] of measured.entries()) {
      // Between half of the nominal length and all of it, at two characters a token as this server counts.
      const longest = index === 0 ? 26 : 66;
      expect(setting.promptTokens).toBeLessThan(longest);
      expect(setting.promptTokens).toBeGreaterThan(longest / 3);
      expect(setting.outputTokens).toBeGreaterThan(2);
      expect(setting.outputTokens).toBeLessThan(4);
      expect(setting.summary.completed).toBe(index === 0 ? 6 : 12);
      expect(setting.summary.ttftMs?.p99).toBeGreaterThan(0);
      expect(setting.tpotMs).toBeGreaterThan(10 / 3 - 1);
      expect(setting.outputTokensPerSecond).toBeGreaterThan(0);
    }
  });

  it('lives with a rare failure', async () => {
    const url = await serveChat((response, asked, count) => {
      if (count === 8) response.destroy();
      else answerWell(response, asked);
    });
    const measured = await measureEndpoint({ ...sweep, url, requestsPerClient: 10 });
    expect(measured.map(({ summary }) => summary.failed)).toEqual([1, 0]);
  });

  it.each(BROKEN)('an endpoint that %s: %s', async (_, code, kind, answer) => {
    const url = await serveChat(answer);
    const startMs = performance.now();
    const error = await failure(measureEndpoint({ ...sweep, url }));
    expect(error).toMatchObject({ code, kind });
    expect(error.message).toContain(url);
    expect(error.hint).toMatch(/\S/);
    // One limit of a request, not one for each of the sweep's.
    expect(performance.now() - startMs).toBeLessThan(4 * sweep.requestTimeoutMs);
  });

  it('an endpoint that nobody serves: ERR_ENDPOINT_UNREACHABLE', async () => {
    const error = await failure(measureEndpoint({ ...sweep, url: 'http://127.0.0.1:9' }));
    expect(error.code).toBe('ERR_ENDPOINT_UNREACHABLE');
  });

  it('ends with its budget, even between slow answers', async () => {
    const url = await serveChat((response, asked) => setTimeout(answerWell, 60, response, asked));
    const error = await failure(measureEndpoint({ ...sweep, url, budgetMs: 500 }));
    expect(error).toMatchObject({ code: 'ERR_ENDPOINT_TIMEOUT', kind: 'timeout' });
  });

  it('stops when told to', async () => {
    const url = await serveChat(() => undefined);
    const controller = new AbortController();
    const running = measureEndpoint({ ...sweep, url, signal: controller.signal });
    setTimeout(() => controller.abort(), 30);
    await expect(running).rejects.toMatchObject({ name: 'AbortError' });
  });

  it.each([
    ['no settings', { settings: [] }],
    ['no clients', { settings: [{ promptTokens: 1, outputTokens: 2, concurrency: 0 }] }],
    ['half a token', { settings: [{ promptTokens: 0.5, outputTokens: 2, concurrency: 1 }] }],
    ['an absurd length', { settings: [{ promptTokens: 1e12, outputTokens: 2, concurrency: 1 }] }],
    ['no rounds', { rounds: 0 }],
    ['negative requests', { requestsPerClient: -1 }],
  ])('refuses %s', async (_, options) => {
    const error = await failure(measureEndpoint({ ...sweep, url: 'http://x', ...options }));
    expect(error).toMatchObject({ code: 'ERR_LOAD_INVALID', kind: 'invalid' });
  });
});

describe('the models of an endpoint', () => {
  const clock = systemClock;
  it('are read in order', async () => {
    const url = await serve((request, response) => {
      expect(request.url).toBe('/v1/models');
      expect(request.headers.authorization).toBe('Bearer k');
      response.end(JSON.stringify({ object: 'list', data: [{ id: 'a' }, { id: 'b' }] }));
    });
    const headers = { authorization: 'Bearer k' };
    expect(await readServedModels(url, { clock, headers })).toEqual(['a', 'b']);
  });

  it.each([
    ['another status', 401, 'no'],
    ['no JSON', 200, '<html>'],
    ['no list', 200, '{"data":{}}'],
    ['an empty list', 200, '{"data":[]}'],
    ['null', 200, 'null'],
  ])('%s: ERR_ENDPOINT_REFUSED', async (_, status, body) => {
    const url = await serve((_request, response) => {
      response.writeHead(status);
      response.end(body);
    });
    expect(await failure(readServedModels(url, { clock }))).toMatchObject({
      code: 'ERR_ENDPOINT_REFUSED',
    });
  });

  it('a list that never comes is given up', async () => {
    const url = await serve(() => undefined);
    const impatient = { ...clock, timer: (_ms: number, call: () => void) => clock.timer(20, call) };
    expect(await failure(readServedModels(url, { clock: impatient }))).toMatchObject({
      code: 'ERR_ENDPOINT_TIMEOUT',
    });
  });
});

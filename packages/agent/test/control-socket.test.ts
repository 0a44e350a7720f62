import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Plan, systemClock } from '@aim-gpu/core';
import { aPlan, createRecordingLogger } from '@aim-gpu/core/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type ControlTarget,
  createControlClient,
  isListening,
  serveControl,
} from '../src/index.js';
import { aTarget, STATUS } from './support/a-target.js';

let directory: string;
let socketPath: string;
const cleanups: (() => Promise<void>)[] = [];

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-control-'));
  socketPath = path.join(directory, 'control.sock');
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  rmSync(directory, { recursive: true, force: true });
});

async function serve(overrides: Partial<ControlTarget> = {}) {
  const target = aTarget(overrides);
  const logger = createRecordingLogger();
  const lease = await serveControl({ target, socketPath, logger });
  cleanups.push(() => lease.release());
  return { target, lease, logger, client: createControlClient({ socketPath }) };
}

/** A server that is no agent. */
async function impostor(answer: string): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    if (answer !== '') socket.once('data', () => socket.end(answer));
    cleanups.push(async () => void socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  cleanups.unshift(() => new Promise((resolve) => server.close(() => resolve())));
  return server;
}

const httpAnswer = (status: string, body: string): string =>
  `HTTP/1.1 ${status}\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`;

describe('the control socket', () => {
  test('carries status, plan, logs and down', async () => {
    const { client, target } = await serve();
    expect(await client.status()).toEqual(STATUS);
    expect(await client.plan()).toEqual(aPlan());
    expect(await client.logs('chat-0')).toEqual(['loading weights', 'ready']);
    await client.down();
    await client.down({ restoreLayout: true, signal: new AbortController().signal });
    expect(target.asked).toEqual([{ restoreLayout: false }, { restoreLayout: true }]);
  });

  test('may be opened by its owner alone', async () => {
    await serve();
    expect(statSync(socketPath).mode & 0o777).toBe(0o600);
  });

  test('carries errors with their code, kind and hint', async () => {
    const { client, logger } = await serve({
      plan: (): Plan | null => null,
      status: () => Promise.reject(new Error('a mistake')),
    });
    await expect(client.plan()).rejects.toMatchObject({
      code: 'ERR_PLAN_UNKNOWN',
      kind: 'missing',
    });
    await expect(client.logs('a/b?c')).rejects.toMatchObject({
      code: 'ERR_INSTANCE_UNKNOWN',
      message: 'there is no instance a/b?c',
      hint: 'instances are: chat-0',
    });
    await expect(client.status()).rejects.toMatchObject({ kind: 'internal' });
    expect(logger.records.map(({ event }) => event)).toEqual(['control-error']);
  });

  test.each([
    ['GET', '/v1/nothing'],
    ['GET', '/v1/down'],
    ['DELETE', '/v1/plan'],
  ])('%s %s is no route', async (method, route) => {
    const { target } = await serve();
    const answer = await new Promise<{ status: number | undefined; body: string }>((resolve) => {
      request({ socketPath, method, path: route }, (response) => {
        let body = '';
        response.on('data', (chunk) => {
          body += String(chunk);
        });
        response.on('end', () => resolve({ status: response.statusCode, body }));
      }).end();
    });
    expect(answer.status).toBe(404);
    expect(JSON.parse(answer.body)).toMatchObject({
      error: { code: 'ERR_ROUTE_UNKNOWN', message: `there is no ${method} ${route}` },
    });
    expect(target.asked).toEqual([]);
  });

  test('is refused while another agent answers on it, which goes on answering', async () => {
    const { client } = await serve();
    await expect(serveControl({ target: aTarget(), socketPath })).rejects.toMatchObject({
      code: 'ERR_STATE_LOCKED',
      kind: 'conflict',
    });
    expect(await client.status()).toEqual(STATUS);
  });

  test('replaces what a dead agent left behind', async () => {
    writeFileSync(socketPath, '');
    const { client } = await serve();
    expect(await client.status()).toEqual(STATUS);
  });

  test('disappears with its lease, also while somebody waits for an answer', async () => {
    const { client, lease } = await serve({ status: () => new Promise(() => undefined) });
    expect(await isListening(socketPath)).toBe(true);
    const waiting = client.status();
    waiting.catch(() => undefined);
    await client.plan();
    await Promise.all([lease.release(), lease.release()]);
    await expect(waiting).rejects.toMatchObject({ code: 'ERR_AGENT_NOT_RUNNING' });
    expect(existsSync(socketPath)).toBe(false);
    expect(await isListening(socketPath)).toBe(false);
  });

  test('cannot be served where there is no directory', async () => {
    const lost = path.join(directory, 'missing', 'control.sock');
    await expect(serveControl({ target: aTarget(), socketPath: lost })).rejects.toMatchObject({
      code: 'ERR_SOCKET_FAILED',
      kind: 'unavailable',
    });
  });
});

describe('the client', () => {
  test('says that no agent runs', async () => {
    await expect(createControlClient({ socketPath }).status()).rejects.toMatchObject({
      code: 'ERR_AGENT_NOT_RUNNING',
      kind: 'missing',
      hint: expect.stringContaining('aim-gpu up'),
    });
  });

  test.each([
    ['no JSON', httpAnswer('200 OK', 'hello')],
    ['errors of another kind', httpAnswer('404 Not Found', '{"detail":"Not Found"}')],
  ])('says that who answers is no agent: %s', async (_, answer) => {
    await impostor(answer);
    await expect(createControlClient({ socketPath }).status()).rejects.toMatchObject({
      code: 'ERR_AGENT_ANSWER',
      kind: 'unavailable',
    });
  });

  test('does not wait for ever for an agent that hangs', async () => {
    await impostor('');
    const client = createControlClient({ socketPath, answerLimitMs: 30 });
    await expect(client.status()).rejects.toMatchObject({
      code: 'ERR_AGENT_ANSWER',
      message: `the agent on ${socketPath} did not answer for 30 ms`,
    });
  });

  test('stops waiting when told, with the reason', async () => {
    await impostor('');
    const stop = new AbortController();
    const waiting = createControlClient({ socketPath }).status({ signal: stop.signal });
    stop.abort(new Error('Ctrl-C'));
    await expect(waiting).rejects.toThrow('Ctrl-C');
  });
});

test('apply waits as long as the work takes, longer than an answer may be silent', {
  timeout: 20_000,
}, async () => {
  const diff = { plan: aPlan().id, instances: [], layouts: [], settings: [] };
  const { client } = await serve({
    applyFleet: async () => {
      // Longer than the limit of node's own agent, 5 s.
      await systemClock.sleep(6000);
      return { dryRun: false, plan: aPlan(), diff };
    },
  });
  expect((await client.apply({ fleet: 'a fleet' })).dryRun).toBe(false);
});

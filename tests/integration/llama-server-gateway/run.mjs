#!/usr/bin/env node
// The gateway in front of real engines: two llama-servers with a model each, asked through one address by the official
// client: JSON, streams, usage, aborts, and connections that llama-server closes without saying so. Ends with 75 when
// llama-server cannot be had here.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { getLlamaServer, UNAVAILABLE } from '../../../tools/get-llama-server.mjs';
import { startLlamaServer } from '../../../tools/llama-server.mjs';
import { writeMicroGguf } from '../../../tools/micro-gguf.mjs';
import { buildQuietly } from '../../../tools/run-command.mjs';

const REQUESTS = 160;
const root = path.resolve(import.meta.dirname, '../../..');

const got = await getLlamaServer();
if (!got.ok) {
  console.log(got.reason);
  process.exit(UNAVAILABLE);
}
if (!existsSync(path.join(root, 'packages/gateway/dist/index.js'))) assert.ok(await buildQuietly());
const { systemClock, systemIds, workloadName, nodeName, cardId } = await import('@aim-gpu/core');
const { createGateway, resolveTenants } = await import('@aim-gpu/gateway');
const { createLlamaCppEngine } = await import('@aim-gpu/backends');
const { createMetrics } = await import('@aim-gpu/metrics');
const { default: OpenAI } = await import('openai');

const directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-gateway-'));
const servers = [];
for (const name of ['alpha', 'beta']) {
  const modelFile = path.join(directory, `${name}.gguf`);
  writeMicroGguf(modelFile, { kind: 'random' });
  servers.push(await startLlamaServer({ tree: got.tree, modelFile, name, slots: 4 }));
}

const models = ['alpha', 'beta'].map((name) => ({
  workload: workloadName(name),
  aliases: [],
  adapters: [],
  band: /** @type {const} */ ('interactive'),
  fallback: null,
  maxModelLen: 2048,
}));
const endpoints = servers.map(({ url }, index) => ({
  instance: `${models[index].workload}-0`,
  workload: models[index].workload,
  address: { host: '127.0.0.1', port: Number(new URL(url).port) },
  node: nodeName('here'),
  card: cardId('0000:0c:00.0'),
  partition: index,
  state: /** @type {const} */ ('ready'),
  maxNumSeqs: 4,
  kvCapacityTokens: 8192,
}));
const warnings = [];
const silent = () => undefined;
const metrics = createMetrics();
const engine = createLlamaCppEngine();
const gateway = createGateway({
  directory: {
    models: () => models,
    endpoints: (workload) => endpoints.filter((endpoint) => endpoint.workload === workload),
    request: () => Promise.resolve(),
    subscribe: () => silent,
  },
  tenants: await resolveTenants([]),
  clock: systemClock,
  ids: systemIds,
  logger: {
    debug: silent,
    info: silent,
    warn: (event, fields) => warnings.push({ event, ...fields }),
    error: (event, fields) => warnings.push({ event, ...fields }),
  },
  metrics,
  exposition: () => metrics.exposition(),
  listen: { host: '127.0.0.1', port: 0 },
  adminListen: { host: '127.0.0.1', port: 0 },
  sample: ({ address }, options) => engine.sample(address, options),
});
await gateway.start();
const base = `http://127.0.0.1:${gateway.address.port}`;
const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: 'none', maxRetries: 0 });
const messages = [{ role: /** @type {const} */ ('user'), content: 'say something' }];

try {
  assert.deepEqual(
    (await client.models.list()).data.map(({ id }) => id),
    ['alpha', 'beta'],
  );
  for (const model of ['alpha', 'beta']) {
    const answer = await client.chat.completions.create({ model, messages, max_tokens: 16 });
    assert.ok((answer.usage?.completion_tokens ?? 0) > 0);
    let chunks = 0;
    const stream = await client.chat.completions.create({
      ...{ model, messages, max_tokens: 16, stream: true },
    });
    for await (const chunk of stream) {
      chunks += 1;
      assert.equal(chunk.usage ?? null, null, 'usage that nobody asked for stays here');
    }
    assert.ok(chunks > 1);
    const withUsage = await client.chat.completions.create({
      ...{ model, messages, max_tokens: 16, stream: true },
      stream_options: { include_usage: true },
    });
    let usage = null;
    for await (const chunk of withUsage) usage = chunk.usage ?? usage;
    assert.ok(usage !== null && usage.completion_tokens > 0);
  }
  console.log('JSON, streams and usage of two models: as expected');

  // A client that hangs up frees its slot.
  const abort = new AbortController();
  const long = await client.chat.completions.create(
    { model: 'alpha', messages, max_tokens: 1500, stream: true },
    { signal: abort.signal },
  );
  for await (const _ of long) break;
  abort.abort();
  const deadline = performance.now() + 10_000;
  for (;;) {
    const sample = await engine.sample(endpoints[0].address);
    if (sample.running === 0) break;
    assert.ok(performance.now() < deadline, 'the slot of a client that hung up is free');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  console.log('a client that hangs up: its slot is free');

  // Streams and whole answers in turn, four at a time: connections are kept, and closed by the engine as it likes.
  let failed = 0;
  let next = 0;
  const worker = async () => {
    while (next < REQUESTS) {
      next += 1;
      const body = { model: next % 2 === 0 ? 'alpha' : 'beta', messages, max_tokens: 4 };
      const response = await fetch(`${base}/v1/chat/completions`, {
        method: 'POST',
        body: JSON.stringify({ ...body, stream: next % 3 !== 0 }),
      });
      const text = await response.text();
      if (response.status !== 200 || text.includes('"error"')) failed += 1;
    }
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
  console.log(`${REQUESTS} requests over kept connections: ${failed} failed`);
  assert.equal(failed, 0);
  const unreachable = warnings.filter(({ event }) => event === 'engine-unreachable');
  assert.deepEqual(unreachable, []);

  // An engine that dies: its model says so, the other one goes on.
  await servers[1].stop();
  const gone = await fetch(`${base}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: 'beta', messages, max_tokens: 4 }),
  });
  assert.equal(gone.status, 502);
  const still = await client.chat.completions.create({ model: 'alpha', messages, max_tokens: 4 });
  assert.ok(still.choices.length > 0);
  console.log('an engine that was killed: 502 for its model, the other one answers');
} finally {
  await gateway.close();
  for (const server of servers) await server.stop();
  rmSync(directory, { recursive: true, force: true });
}
console.log('ok');

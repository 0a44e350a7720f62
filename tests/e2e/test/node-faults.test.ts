/**
 * Faults around a node under `aim-gpu agent`, with real processes, files and mounts: what a client of the gateway hears
 * meanwhile, how long it takes until the node is whole again, and that nothing is left behind. With FAULT_TABLE set the
 * table is printed at the end. Faults of engines that gateway-faults.test.ts has are not repeated here.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nextStart, startsOf } from './support/agent-journal.js';
import { createPlace, type Place, run } from './support/command.js';
import { freePort, pidsOf, viewNode } from './support/node-view.js';
import { ask, type Heard, startProbe } from './support/probe.js';
import { processesOf, type Running, startAgent, until } from './support/running.js';

const SOURCE = 'meta-llama/Llama-3.2-1B-Instruct';
const model = (name: string, more: string = '', source: string = SOURCE): string =>
  `  - { name: ${name}, source: ${source}, concurrency: 4, maxModelLen: 2048, placement: { exclusive: true }${more} }\n`;
const FLEET = `apiVersion: aim-gpu/v1alpha1
kind: Fleet
metadata: { name: faults }
nodes:
  - { name: node-a, driver: simulated, cards: { product: MI300X, count: 1 } }
models:
${model('one')}${model('two')}${model('three')}${model('local', '', './model/config.json')}${model('slow', ', engine: { name: auto, args: { startup-ms: 14000 } }')}`;
const FAST = ['one', 'two', 'three', 'local'];
const INSTANCES = 5;
const CONFIGS = path.resolve(import.meta.dirname, '../../../packages/sizing/data/configs');
/** Mounts and process namespaces are for root. */
const MAY_MOUNT = mayMount();

let place: Place;
let fleet: string;
let agent: Running;
let ports: readonly string[];
/** Goes on beside the other faults: most of it is waiting. */
let slowDeath: ReturnType<typeof killSlow>;
const table: string[] = [];

beforeAll(async () => {
  place = createPlace();
  mkdirSync(path.join(place.directory, 'model'));
  cpSync(
    path.join(CONFIGS, 'meta-llama__Llama-2-7b-hf.json'),
    path.join(place.directory, 'model/config.json'),
  );
  fleet = place.write('fleet.yaml', FLEET);
  ports = ['--listen', `127.0.0.1:${await freePort()}`];
  agent = await startAgent(fleet, place.stateDirectory, ports);
  await untilReady(FAST);
  slowDeath = killSlow();
  slowDeath.catch(() => undefined);
}, 90_000);

afterAll(async () => {
  await run(['down', '--state-dir', place.stateDirectory]);
  await agent.exited;
  expect(processesOf(place.stateDirectory)).toEqual([]);
  place.remove();
  if (process.env['FAULT_TABLE'] !== undefined) process.stderr.write(`${table.join('\n')}\n`);
}, 60_000);

const view = () => viewNode(place.stateDirectory);
const pidOf = async (instance: string): Promise<number> => pidsOf(await view())[instance] ?? 0;
const command = (...args: readonly string[]) => run([...args, '--state-dir', place.stateDirectory]);

async function untilReady(models: readonly string[], limitMs: number = 30_000): Promise<void> {
  await until(
    `${models.join()} are ready`,
    async () => {
      const found = await view().catch(() => null);
      const ready = found?.instances.filter(({ state }) => state === 'ready') ?? [];
      return models.every((name) => ready.some(({ workload }) => workload === name));
    },
    limitMs,
  );
}

/**
 * Brings a fault while a client asks, waits until the node is whole, and notes what the client heard. Fails when the
 * other models noticed, an answer was not the model's, a refusal did not say when to come back, it took 30 s, or
 * processes were left.
 */
async function during(
  fault: string,
  hurt: readonly string[],
  bring: () => Promise<void>,
  options: { readonly more?: string } = {},
): Promise<Readonly<Record<string, Heard>>> {
  const others = FAST.filter((name) => !hurt.includes(name));
  const before = pidsOf(await view());
  const probe = startProbe(agent.ready.gateway, [...hurt, ...others]);
  const began = performance.now();
  await bring();
  await untilReady(FAST);
  for (const name of FAST) {
    await until(
      `${name} answers`,
      async () => (await ask(agent.ready.gateway, name).catch(() => null))?.status === 200,
      30_000,
    );
  }
  const tookMs = performance.now() - began;
  const heard = await probe.stop();
  const after = pidsOf(await view());
  for (const name of others) {
    expect([name, Object.keys(heard[name]?.statuses ?? {})]).toEqual([name, ['200']]);
    expect(after[`${name}-0`]).toBe(before[`${name}-0`]);
  }
  for (const each of Object.values(heard)) {
    expect(each.strange).toEqual([]);
    expect(each.withoutRetryAfter).toBe(0);
  }
  expect(tookMs).toBeLessThan(30_000);
  await nothingIsLeft();
  const said = hurt.map((name) => {
    const { statuses, slowestMs } = heard[name] ?? { statuses: {}, slowestMs: 0 };
    return `${name} ${JSON.stringify(statuses)}, slowest ${slowestMs} ms`;
  });
  const rest = others.map((name) => JSON.stringify(heard[name]?.statuses)).join(' ');
  table.push(
    `${fault} | ${said.join('; ') || 'nothing'}; others ${rest} | ${(tookMs / 1000).toFixed(1)} s | nothing${options.more ?? ''}`,
  );
  return heard;
}

/** An engine dies in the middle of a stream, and takes longer to start than a request is held. */
async function killSlow() {
  const { gateway } = agent.ready;
  await untilReady(['slow'], 60_000);
  const streamed = await fetch(`${gateway}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'slow',
      messages: [{ role: 'user', content: 'x' }],
      max_tokens: 1500,
      stream: true,
      ignore_eos: true,
    }),
  });
  const reader = streamed.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = (await reader?.read())?.value ?? '';
  const pid = await pidOf('slow-0');
  const began = performance.now();
  process.kill(pid, 'SIGKILL');
  for (let part = await reader?.read(); part?.done === false; part = await reader?.read()) {
    text += part.value;
  }
  await until(
    'its death is noticed',
    async () => {
      const found = (await view()).instances.find(({ instance }) => instance === 'slow-0');
      return found?.state !== 'ready';
    },
    5000,
  );
  const held = performance.now();
  const refused = await ask(gateway, 'slow');
  const heldMs = performance.now() - held;
  await untilReady(['slow'], 45_000);
  return { text, refused, heldMs, tookMs: performance.now() - began };
}

/** The agent and one process an instance; what reaps others is gone soon. */
async function nothingIsLeft(): Promise<void> {
  await until(
    'only the agent and its engines run',
    () => processesOf(place.stateDirectory).length === 1 + INSTANCES,
    10_000,
  );
}

describe('an engine', () => {
  it('whose port a stranger took, who answers 200 to everything, gets no request there', {
    timeout: 60_000,
  }, async () => {
    const asked: string[] = [];
    const stranger = createServer((request, response) => {
      if (request.url !== '/health') asked.push(`${request.method} ${request.url}`);
      response.end('stranger');
    });
    await during('port taken by a stranger that answers 200', ['one'], async () => {
      const known = startsOf(place.stateDirectory, 'one-0').length;
      process.kill(await pidOf('one-0'), 'SIGKILL');
      const { port } = await nextStart(place.stateDirectory, 'one-0', known);
      await new Promise<void>((resolve, reject) => {
        stranger.once('error', reject);
        stranger.listen(port, '127.0.0.1', resolve);
      });
      await until(
        'it was started on another port',
        () => startsOf(place.stateDirectory, 'one-0').length > known + 1,
        20_000,
      );
    });
    stranger.close();
    stranger.closeAllConnections();
    expect(asked).toEqual([]);
  });

  it('that is stopped right after its start is started again', { timeout: 60_000 }, async () => {
    await during('hung at start (SIGSTOP right after the spawn)', ['two'], async () => {
      const known = startsOf(place.stateDirectory, 'two-0').length;
      process.kill(await pidOf('two-0'), 'SIGKILL');
      const { pid } = await nextStart(place.stateDirectory, 'two-0', known);
      process.kill(pid, 'SIGSTOP');
      await until('it is given up', () => !processesOf(place.stateDirectory).includes(pid), 30_000);
    });
  });

  it('that exits with code 0 is started again like others', { timeout: 60_000 }, async () => {
    const heard = await during('exits with code 0', ['three'], async () => {
      const pid = await pidOf('three-0');
      process.kill(pid, 'SIGTERM');
      await until('it is gone', () => !processesOf(place.stateDirectory).includes(pid), 10_000);
    });
    expect(heard['three']?.statuses['200']).toBeGreaterThan(0);
  });
});

describe('files around the node', () => {
  it('a model directory that vanishes: what runs goes on, also after a restart of its engine', {
    timeout: 60_000,
  }, async () => {
    const config = path.join(place.directory, 'model');
    const content = readFileSync(path.join(config, 'config.json'));
    try {
      await during('model directory vanishes, then its engine dies', ['local'], async () => {
        rmSync(config, { recursive: true });
        const other = place.write('other.yaml', FLEET.replace('./model/', './gone/'));
        const refused = await command('apply', other, '--json');
        expect(refused.code).toBe(4);
        expect(JSON.parse(refused.stdout)).toMatchObject({ error: { code: 'ERR_FILE_MISSING' } });
        // What was sized before needs no file to be applied again.
        expect((await command('apply', fleet, '--json')).code).toBe(0);
        expect((await ask(agent.ready.gateway, 'local')).status).toBe(200);
        process.kill(await pidOf('local-0'), 'SIGKILL');
      });
    } finally {
      mkdirSync(config, { recursive: true });
      writeFileSync(path.join(config, 'config.json'), content);
    }
  });

  it('a machine that cannot be read: engines are not touched', { timeout: 60_000 }, async () => {
    const file = path.join(place.stateDirectory, 'simulated-machines.json');
    await during('driver lost (its machine cannot be read for 3 s)', [], async () => {
      const content = readFileSync(file);
      writeFileSync(file, 'nothing that a driver could read');
      try {
        await new Promise((resolve) => setTimeout(resolve, 3000));
        const found = (await view()).instances.filter(({ workload }) => FAST.includes(workload));
        expect(found.map(({ state }) => state)).toEqual(FAST.map(() => 'ready'));
      } finally {
        writeFileSync(file, content);
      }
    });
  });

  it('a fleet file that becomes invalid changes nothing', { timeout: 30_000 }, async () => {
    const { plan } = await view();
    await during('fleet file becomes invalid', [], async () => {
      writeFileSync(fleet, FLEET.replaceAll('concurrency', 'concurency'));
      const refused = await command('apply', fleet, '--json');
      expect(refused.code).toBe(2);
      writeFileSync(fleet, FLEET);
    });
    expect((await view()).plan).toBe(plan);
  });

  it.skipIf(!MAY_MOUNT)(
    'a state directory that becomes read-only: what runs goes on',
    {
      timeout: 60_000,
    },
    async () => {
      await during(
        'state directory read-only (bind mount, ro) for an engine’s death',
        ['one'],
        async () => {
          mount('--bind', place.stateDirectory, place.stateDirectory);
          try {
            mount('-o', 'remount,ro,bind', place.stateDirectory);
            const six = place.write('six.yaml', `${FLEET}${model('six')}`);
            const refused = await command('apply', six, '--json');
            expect(JSON.parse(refused.stdout)).toMatchObject({ error: { code: 'ERR_STATE_IO' } });
            expect((await ask(agent.ready.gateway, 'one')).status).toBe(200);
            const pid = await pidOf('one-0');
            process.kill(pid, 'SIGKILL');
            // It is not started where it could not be written down.
            await new Promise((resolve) => setTimeout(resolve, 2000));
            expect(processesOf(place.stateDirectory).length).toBeLessThan(1 + INSTANCES);
            expect((await ask(agent.ready.gateway, 'two')).status).toBe(200);
          } finally {
            tool('umount', place.stateDirectory);
          }
        },
      );
    },
  );

  it.skipIf(!MAY_MOUNT)(
    'a log disk that is full: engines run and start without a log',
    {
      timeout: 60_000,
    },
    async () => {
      const logs = path.join(place.stateDirectory, 'logs');
      await during('log disk full (tmpfs of 16 KiB)', ['two'], async () => {
        mount('-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', logs);
        try {
          expect(() => writeFileSync(path.join(logs, 'fill'), Buffer.alloc(64 * 1024))).toThrow(
            'ENOSPC',
          );
          const pid = await pidOf('two-0');
          process.kill(pid, 'SIGKILL');
          await until(
            'two-0 serves again',
            async () => {
              const found = (await view()).instances.find(({ instance }) => instance === 'two-0');
              return found?.state === 'ready' && found.pid !== pid;
            },
            20_000,
          );
        } finally {
          tool('umount', '-l', logs);
        }
      });
    },
  );
});

describe('an engine that was killed', () => {
  it('that takes longer to come back than requests are held: 503 with Retry-After', {
    timeout: 60_000,
  }, async () => {
    const { text, refused, heldMs, tookMs } = await slowDeath;
    expect(text).toContain('"error"');
    expect(text).not.toContain('[DONE]');
    expect(refused.status).toBe(503);
    expect(Number(refused.retryAfter)).toBeGreaterThan(0);
    expect(heldMs).toBeGreaterThan(9000);
    expect(heldMs).toBeLessThan(12_000);
    expect((await ask(agent.ready.gateway, 'slow')).status).toBe(200);
    await nothingIsLeft();
    table.push(
      `killed, its restart takes longer than the hold | slow: stream ends with an error event; a request held ${(heldMs / 1000).toFixed(1)} s, then 503, Retry-After ${refused.retryAfter} | ${(tookMs / 1000).toFixed(1)} s | nothing`,
    );
  });
});

describe('the agent', () => {
  it('told to end twice ends at once; its engines serve on and are taken over', {
    timeout: 60_000,
  }, async () => {
    await slowDeath;
    const before = pidsOf(await view());
    const engines = (await view()).instances.map(({ workload, endpoint }) => ({
      workload,
      base: `http://${endpoint?.host}:${endpoint?.port}`,
    }));
    const long = fetch(`${agent.ready.gateway}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'one', prompt: 'x', max_tokens: 1900, ignore_eos: true }),
    }).then(
      (answer) => answer.text().then(() => answer.status),
      () => 0,
    );
    await until(
      'it is under way',
      async () => (await ask(agent.ready.gateway, 'one')).status === 200,
      5000,
    );
    const began = performance.now();
    agent.signal('SIGTERM');
    await until('it drains', () => agent.events.some(({ event }) => event === 'stopping'), 5000);
    agent.signal('SIGTERM');
    expect([0, 143]).toContain(await agent.exited);
    const endedMs = performance.now() - began;
    expect(endedMs).toBeLessThan(5000);
    const heard = await long;
    for (const { base, workload } of engines) expect((await ask(base, workload)).status).toBe(200);
    agent = await startAgent(null, place.stateDirectory, ports);
    await untilReady([...FAST, 'slow']);
    expect(pidsOf(await view())).toEqual(before);
    await nothingIsLeft();
    table.push(
      `SIGTERM twice | the request under way: ${heard === 0 ? 'connection closed' : heard}; engines answer on | ended after ${(endedMs / 1000).toFixed(1)} s, taken over ${((performance.now() - began) / 1000).toFixed(1)} s after the first signal | nothing; no engine restarted`,
    );
  });
});

/** A tool of the host, in front of which nothing is installed here. */
function tool(name: string, ...args: readonly string[]): void {
  execFileSync(name, args, { stdio: 'ignore' });
}

function mount(...args: readonly string[]): void {
  tool('mount', ...args);
}

function mayMount(): boolean {
  const at = createPlace();
  try {
    mount('-t', 'tmpfs', 'tmpfs', at.directory);
    tool('umount', at.directory);
    return true;
  } catch {
    return false;
  } finally {
    at.remove();
  }
}

/**
 * The agent as a service: killed in the middle of traffic, its eight engines go on and are taken over by the next one;
 * what is hung is replaced; what two signals, two agents and bad files do.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPlace, type Place, run } from './support/command.js';
import { freePort, pidsOf, viewNode } from './support/node-view.js';
import { processesOf, type Running, startAgent, startUp, until } from './support/running.js';

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
const FLEET = `apiVersion: aim-gpu/v1alpha1
kind: Fleet
metadata: { name: eight }
nodes:
  - name: node-a
    driver: simulated
    cards: { product: MI300X, count: 1 }
models:
${NAMES.map(
  (name) =>
    `  - { name: ${name}, source: meta-llama/Llama-3.2-1B-Instruct, concurrency: 4, maxModelLen: 2048, placement: { exclusive: true } }`,
).join('\n')}
`;

let place: Place;
let fleet: string;
let agent: Running;
let ports: readonly string[];

beforeAll(async () => {
  place = createPlace();
  fleet = place.write('fleet.yaml', FLEET);
  ports = ['--listen', `127.0.0.1:${await freePort()}`];
  agent = await startAgent(fleet, place.stateDirectory, ports);
  await untilReady();
}, 90_000);

afterAll(async () => {
  await run(['down', '--state-dir', place.stateDirectory]);
  await agent.exited;
  expect(processesOf(place.stateDirectory)).toEqual([]);
  place.remove();
}, 60_000);

const command = (...args: readonly string[]) => run([...args, '--state-dir', place.stateDirectory]);

async function untilReady(): Promise<void> {
  await until(
    'the node is ready with its eight instances',
    async () => {
      const view = await viewNode(place.stateDirectory).catch(() => null);
      return view?.state === 'ready' && view.instances.length === NAMES.length;
    },
    60_000,
  );
}

/** Asks an engine or the gateway for a few tokens; the status. */
async function ask(base: string, model: string): Promise<number> {
  const answer = await fetch(`${base}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, prompt: 'hello', max_tokens: 4 }),
    signal: AbortSignal.timeout(15_000),
  });
  await answer.arrayBuffer();
  return answer.status;
}

describe('kill -9 of the agent', () => {
  it('loses no request of an engine, and the next agent takes all eight over', {
    timeout: 120_000,
  }, async () => {
    const before = await viewNode(place.stateDirectory);
    let going = true;
    const failures: string[] = [];
    let answered = 0;
    const load = before.instances.map(async ({ workload, endpoint }) => {
      while (going) {
        const status = await ask(`http://${endpoint?.host}:${endpoint?.port}`, workload).catch(
          String,
        );
        if (status === 200) answered += 1;
        else failures.push(`${workload}: ${status}`);
      }
    });
    agent.signal('SIGKILL');
    await agent.exited;
    agent = await startAgent(null, place.stateDirectory, ports);
    await until(
      'the gateway answers for each model',
      async () => {
        const all = NAMES.map((name) => ask(agent.ready.gateway, name).catch(() => 0));
        return (await Promise.all(all)).every((status) => status === 200);
      },
      20_000,
    );
    going = false;
    await Promise.all(load);
    expect(failures).toEqual([]);
    expect(answered).toBeGreaterThan(NAMES.length);
    const after = await viewNode(place.stateDirectory);
    expect(pidsOf(after)).toEqual(pidsOf(before));
    expect(after.instances.every(({ restarts }) => restarts === 0)).toBe(true);
    const events = JSON.parse((await command('events', '--json')).stdout) as {
      events: { event: string }[];
    };
    expect(events.events.filter(({ event }) => event === 'instance-adopted')).toHaveLength(8);
  });

  it('and an engine killed meanwhile: that one alone is started anew', {
    timeout: 60_000,
  }, async () => {
    const before = pidsOf(await viewNode(place.stateDirectory));
    agent.signal('SIGKILL');
    await agent.exited;
    process.kill(before['c-0'] ?? 0, 'SIGKILL');
    agent = await startAgent(null, place.stateDirectory, ports);
    await untilReady();
    const { 'c-0': old, ...others } = before;
    const { 'c-0': fresh, ...rest } = pidsOf(await viewNode(place.stateDirectory));
    expect(rest).toEqual(others);
    expect(fresh).not.toBe(old);
  });

  it('SIGTERM leaves them too, and what was drained stays so', { timeout: 60_000 }, async () => {
    const before = pidsOf(await viewNode(place.stateDirectory));
    await command('drain', 'e-0');
    agent.signal('SIGTERM');
    expect(await agent.exited).toBe(0);
    agent = await startAgent(fleet, place.stateDirectory, ports);
    await untilReady();
    expect(pidsOf(await viewNode(place.stateDirectory))).toEqual(before);
    expect((await command('status')).stdout).toContain('draining');
    await command('drain', 'e-0', '--undo');
    expect((await command('status')).stdout).not.toContain('draining');
    expect(await ask(agent.ready.gateway, 'e')).toBe(200);
  });
});

describe('a running agent', () => {
  it('replaces an engine that hangs (SIGSTOP)', { timeout: 60_000 }, async () => {
    const before = pidsOf(await viewNode(place.stateDirectory));
    process.kill(before['d-0'] ?? 0, 'SIGSTOP');
    await until(
      'd-0 has a new process that answers',
      async () => {
        const view = await viewNode(place.stateDirectory);
        const found = view.instances.find(({ instance }) => instance === 'd-0');
        return found?.state === 'ready' && found.pid !== before['d-0'];
      },
      30_000,
    );
    expect(await ask(agent.ready.gateway, 'd')).toBe(200);
  });

  it('holds its state directory against another one', { timeout: 30_000 }, async () => {
    const ended = await command('up', fleet, '--json', '--listen', '127.0.0.1:0');
    expect(ended.code).toBe(5);
    expect(JSON.parse(ended.stdout)).toMatchObject({ error: { code: 'ERR_STATE_LOCKED' } });
  });

  it('goes on as it is when a file is invalid', async () => {
    const before = await viewNode(place.stateDirectory);
    const bad = place.write('bad.yaml', FLEET.replace('concurrency: 4', 'concurency: 4'));
    const ended = await command('apply', bad, '--json');
    expect(ended.code).toBe(2);
    expect(JSON.parse(ended.stdout)).toMatchObject({ error: { code: 'ERR_CONFIG_INVALID' } });
    expect((await viewNode(place.stateDirectory)).plan).toBe(before.plan);
  });

  it('drains, takes back, and restarts an instance', { timeout: 30_000 }, async () => {
    expect((await command('drain', 'e-0')).code).toBe(0);
    expect(await ask(agent.ready.gateway, 'f')).toBe(200);
    expect((await command('status')).stdout).toContain('draining');
    expect((await command('drain', 'e-0', '--undo')).code).toBe(0);
    const before = pidsOf(await viewNode(place.stateDirectory));
    expect((await command('restart', 'e-0')).code).toBe(0);
    await untilReady();
    expect(pidsOf(await viewNode(place.stateDirectory))['e-0']).not.toBe(before['e-0']);
    expect((await command('restart', 'nobody-0')).code).toBe(4);
  });

  it.each([['status'], ['top', '--once']])(
    'is shown by `%s` within 80 columns',
    async (...args) => {
      const ended = await command(...args);
      expect(ended.code).toBe(0);
      const widths = ended.stdout.split('\n').map((line) => line.length);
      expect(Math.max(...widths)).toBeLessThanOrEqual(80);
      for (const name of NAMES) expect(ended.stdout).toContain(`${name}-0`);
    },
  );

  it('prints one JSON document for `top` and `logs`', async () => {
    const top = JSON.parse((await command('top', '--json')).stdout) as { instances: unknown[] };
    expect(top.instances).toHaveLength(8);
    const logs = JSON.parse((await command('logs', 'a-0', '--json')).stdout) as { lines: string[] };
    expect(logs.lines.join('\n')).toContain('Application startup complete');
  });

  it('gives a support bundle without keys', async () => {
    const out = `${place.directory}/bundle.json.gz`;
    expect((await command('support-bundle', '--with-logs', '--out', out)).code).toBe(0);
    const bundle = JSON.parse(gunzipSync(readFileSync(out)).toString()) as Record<string, unknown>;
    expect(Object.keys(bundle)).toEqual(
      expect.arrayContaining(['host', 'status', 'fleet', 'plan', 'events', 'logs']),
    );
    expect(bundle['status']).toMatchObject({ kind: 'Status', state: 'ready' });
  });

  it('prints a unit that starts it again', async () => {
    const { stdout, code } = await command('agent', fleet, '--print-unit');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^ExecStart=\S*node (--\S+ )*\S*aim-gpu\.mjs agent \S*fleet\.yaml /m);
    expect(stdout).toContain('KillMode=process');
  });
});

describe('up', () => {
  it('ends at once on a second signal, and leaves nothing', { timeout: 60_000 }, async () => {
    const other = createPlace();
    const up = await startUp(other.write('fleet.yaml', FLEET), other.stateDirectory);
    const view = await viewNode(other.stateDirectory);
    const slow = ask(up.ready.gateway, 'a').catch(() => 0);
    void fetch(`http://127.0.0.1:${view.instances[1]?.endpoint?.port}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'b', prompt: 'x', max_tokens: 1900, ignore_eos: true }),
    }).catch(() => undefined);
    await slow;
    up.signal('SIGTERM');
    await until('it drains', () => up.events.some(({ event }) => event === 'stopping'), 5000);
    up.signal('SIGTERM');
    expect([0, 143]).toContain(await up.exited);
    await until('nothing is left', () => processesOf(other.stateDirectory).length === 0, 5000);
    other.remove();
  });
});

/**
 * kill -9 of the agent in the middle of a repartition, by the records it has written; an engine that nobody reaps; a
 * partition that vanishes under a running engine.
 */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createPlace, type Place, run, start } from './support/command.js';
import { isZombie, sweepKills } from './support/kill-sweep.js';
import { pidsOf, viewNode } from './support/node-view.js';
import { ask } from './support/probe.js';
import { processesOf, startUp, until } from './support/running.js';

let place: Place;
beforeEach(() => {
  place = createPlace();
});
afterEach(() => place.remove());

/** For the table of faults, printed with FAULT_TABLE set. */
function note(line: string): void {
  if (process.env['FAULT_TABLE'] !== undefined) process.stderr.write(`${line}\n`);
}

const view = () => viewNode(place.stateDirectory);
const model = (name: string): string =>
  `  - { name: ${name}, source: meta-llama/Llama-3.2-1B-Instruct, concurrency: 4, maxModelLen: 2048, engine: simulated, placement: { exclusive: true } }\n`;

it('kill -9 of the agent at some records of a repartition: the next one makes it whole', {
  timeout: 120_000,
}, async () => {
  const kills = await sweepKills([3, 9]);
  expect(kills).toHaveLength(2);
  for (const kill of kills) note(`kill -9 of the agent: ${JSON.stringify(kill)}`);
  for (const { recoveredMs } of kills) expect(recoveredMs).toBeLessThan(30_000);
});

it.skipIf(!mayUnshare())(
  'an engine that ends and that nobody reaps counts as ended',
  {
    timeout: 60_000,
  },
  async () => {
    const file = place.write('one.yaml', fleetOf('simulated', ['one']));
    // The first process of the namespace adopts orphans and never reaps one.
    const unshare = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc', 'sh', '-c'];
    const args = [
      '--json',
      '--state-dir',
      place.stateDirectory,
      '--listen',
      '127.0.0.1:0',
      '--admin-listen',
      '127.0.0.1:0',
    ];
    const namespace = start(['agent', file, ...args], {
      program: [...unshare, '"$@" >/dev/null 2>&1 & exec sleep 300', 'sh'],
    });
    const closed = new Promise((resolve) => namespace.once('close', resolve));
    try {
      await until('it serves', async () => isReady(), 30_000);
      const agentPid = pidOfCommand(' agent ');
      process.kill(agentPid, 'SIGKILL');
      const [inner] = childrenOf(namespace.pid ?? 0);
      const enter = ['nsenter', '-t', String(inner), '--pid', '--mount'];
      start(['agent', ...args], { program: enter });
      await until(
        'the next agent serves',
        async () => (await isReady()) && pidOfCommand(' agent ') !== agentPid,
        30_000,
      );
      const before = pidsOf(await view())['one-0'] ?? 0;
      const engine = pidOfCommand('simulated-engine');
      const began = performance.now();
      process.kill(engine, 'SIGKILL');
      await until('it is a zombie', () => isZombie(engine), 5000);
      await until(
        'another one serves',
        async () => (await isReady()) && pidsOf(await view())['one-0'] !== before,
        30_000,
      );
      expect(performance.now() - began).toBeLessThan(30_000);
      note(`zombie engine, adopted | - | ${((performance.now() - began) / 1000).toFixed(1)} s`);
      expect(isZombie(engine)).toBe(true);
    } finally {
      await run(['down', '--state-dir', place.stateDirectory]);
      namespace.kill('SIGKILL');
      await closed;
    }
    await until('nothing is left', () => processesOf(place.stateDirectory).length === 0, 10_000);
  },
);

it('a partition that vanishes under an engine: its model goes elsewhere, the others serve on', {
  timeout: 90_000,
}, async () => {
  const root = path.join(place.directory, 'machine');
  const machine = await startMachine(root);
  const names = ['a', 'b', 'c'];
  const up = await startUp(
    place.write('three.yaml', fleetOf('rocm', names)),
    place.stateDirectory,
    ['--root', root],
  );
  try {
    const { instances, cards } = await partitionsOf(root);
    expect(cards).toBe(1);
    const [victim] = instances.filter(({ instance }) => instance === 'a-0');
    if (victim === undefined) throw new Error('a has no share');
    const before = pidsOf(await view());
    const began = performance.now();
    for (const gone of victim.places) rmSync(gone, { recursive: true });
    await until(
      'the loss is said',
      async () =>
        (await degradations()).length > 0 || pidsOf(await view())['a-0'] !== before['a-0'],
      30_000,
    );
    await until(
      'the others answer, and a as its degradation says',
      async () => {
        for (const name of ['b', 'c'])
          if ((await ask(up.ready.gateway, name)).status !== 200) return false;
        return true;
      },
      30_000,
    );
    const tookMs = Math.round(performance.now() - began);
    expect(tookMs).toBeLessThan(30_000);
    const after = pidsOf(await view());
    for (const name of ['b-0', 'c-0']) expect([name, after[name]]).toEqual([name, before[name]]);
    const heard = await ask(up.ready.gateway, 'a');
    expect([200, 503]).toContain(heard.status);
    note(
      `partition vanishes | a then answers ${heard.status}, ${JSON.stringify(await degradations())} | ${tookMs} ms`,
    );
    if (heard.status === 503) expect(Number(heard.retryAfter)).toBeGreaterThan(0);
  } finally {
    await up.stop();
    const ended = new Promise((resolve) => machine.once('close', resolve));
    machine.kill('SIGINT');
    await ended;
  }
  expect(processesOf(place.stateDirectory)).toEqual([]);
});

const fleetOf = (driver: 'simulated' | 'rocm', names: readonly string[]): string =>
  `apiVersion: aim-gpu/v1alpha1
kind: Fleet
metadata: { name: crashes }
nodes:
  - { name: node-a, driver: ${driver}${driver === 'simulated' ? ', cards: { product: MI300X, count: 1 }' : ''} }
models:
${names.map(model).join('')}`;

async function isReady(): Promise<boolean> {
  const found = await view().catch(() => null);
  return found?.state === 'ready' && found.instances.length > 0;
}

async function degradations(): Promise<
  readonly { readonly workload: string; readonly step: string }[]
> {
  const ended = await run(['status', '--json', '--state-dir', place.stateDirectory]);
  const { degradations: said } = JSON.parse(ended.stdout) as {
    readonly degradations: readonly { readonly workload: string; readonly step: string }[];
  };
  return said;
}

/** The process of the state directory whose command line holds a word, as this namespace numbers it. */
function pidOfCommand(word: string): number {
  const found = processesOf(place.stateDirectory).find((pid) => {
    const argv = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
    return argv.includes(word) && argv.includes('node');
  });
  return found ?? 0;
}

function childrenOf(pid: number): readonly number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return text.split(' ').map(Number);
}

async function startMachine(root: string): Promise<ChildProcess> {
  const child = start(['simulate', root, '--json']);
  await new Promise<void>((resolve, reject) => {
    child.once('close', (code) => reject(new Error(`simulate ended with ${code}`)));
    if (child.stdout !== null) createInterface(child.stdout).once('line', () => resolve());
  });
  return child;
}

/** Where in the tree the partition of each instance is. */
async function partitionsOf(root: string) {
  const [status, seen] = await Promise.all([
    run(['status', '--json', '--state-dir', place.stateDirectory]),
    run(['gpus', '--driver', 'rocm', '--root', root, '--json']),
  ]);
  const { instances } = JSON.parse(status.stdout) as {
    readonly instances: readonly {
      readonly instance: string;
      readonly shares: readonly { readonly partition: number }[];
    }[];
  };
  const { cards } = JSON.parse(seen.stdout) as {
    readonly cards: readonly {
      readonly partitions: readonly { readonly index: number; readonly kfdNode: number | null }[];
    }[];
  };
  const nodes = path.join(root, 'sys/class/kfd/kfd/topology/nodes');
  return {
    cards: cards.length,
    instances: instances.map(({ instance, shares }) => {
      const index = shares[0]?.partition;
      const found = cards[0]?.partitions.find((each) => each.index === index);
      const node = path.join(nodes, String(found?.kfdNode));
      if (!existsSync(node)) throw new Error(`${node} is none of ${readdirSync(nodes).join()}`);
      return { instance, places: [node] };
    }),
  };
}

function mayUnshare(): boolean {
  try {
    const tools = [
      ['unshare', '--pid', '--fork', '--mount-proc', 'true'],
      ['nsenter', '--version'],
    ];
    for (const [name = '', ...args] of tools) execFileSync(name, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

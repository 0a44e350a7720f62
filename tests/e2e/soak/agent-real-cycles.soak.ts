// A model applied and removed again and again on the built agent, with a real engine process each time: what the agent
// and its state directory hold more of at the end than once they had settled.
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import path from 'node:path';
import type { Soak } from '../../../tools/soak.js';
import { createPlace, run } from '../test/support/command.js';
import { viewNode } from '../test/support/node-view.js';
import { processesOf, startAgent, until } from '../test/support/running.js';

const model = (name: string): string =>
  `  - { name: ${name}, source: meta-llama/Llama-3.2-1B-Instruct, concurrency: 4, maxModelLen: 2048 }\n`;
const fleet = (names: readonly string[]): string =>
  `apiVersion: aim-gpu/v1alpha1
kind: Fleet
metadata: { name: cycles }
nodes:
  - { name: node-a, driver: simulated, cards: { product: MI300X, count: 1 } }
models:
${names.map(model).join('')}`;
const SETTLED_AFTER = 20;
const COUNTED = ['fds', 'sockets', 'listening', 'files', 'processes', 'threads'];

/** The soak. */
export const soak: Soak = {
  name: 'agent-real-cycles',
  summary: 'applies and removes a model on the built agent (--cycles N), looking for what stays',
  run: async ({ values, signal, log }) => {
    const cycles = Number(values['cycles'] ?? 200);
    const place = createPlace();
    const { stateDirectory } = place;
    const files = [
      place.write('two.yaml', fleet(['a', 'b'])),
      place.write('one.yaml', fleet(['a'])),
    ];
    const agent = await startAgent(files[1] ?? null, stateDirectory);
    const failures: string[] = [];
    const apply = async (file: string, instances: number): Promise<void> => {
      const ended = await run(['apply', file, '--state-dir', stateDirectory]);
      if (ended.code !== 0) failures.push(`apply ended with ${ended.code}: ${ended.stderr}`);
      await until(
        `${instances} instances are ready`,
        async () => {
          const view = await viewNode(stateDirectory).catch(() => null);
          return view?.state === 'ready' && view.instances.length === instances;
        },
        30_000,
      );
    };
    let before: Readonly<Record<string, number>> = {};
    let done = 0;
    try {
      for (; done < cycles && !signal.aborted && failures.length === 0; done += 1) {
        await apply(files[0] ?? '', 2);
        await apply(files[1] ?? '', 1);
        if (done === SETTLED_AFTER) before = count(agent.pid, stateDirectory);
        if (done % 20 === 0)
          log(`cycle ${done} ${JSON.stringify(count(agent.pid, stateDirectory))}`);
      }
      // A connection that was just used stays open for some seconds.
      let after = count(agent.pid, stateDirectory);
      for (let tries = 0; tries < 20 && isMore(after, before); tries += 1) {
        await new Promise((resolve) => setTimeout(resolve, 500));
        after = count(agent.pid, stateDirectory);
      }
      for (const what of COUNTED) {
        const grown = (after[what] ?? 0) - (before[what] ?? 0);
        if (grown > 0) failures.push(`${done} cycles left ${grown} ${what} behind`);
      }
      return {
        results: [
          { cycles: done, when: 'settled', ...before },
          { cycles: done, when: 'end', ...after },
        ],
        failures,
      };
    } finally {
      await run(['down', '--state-dir', stateDirectory]);
      await agent.exited;
      place.remove();
    }
  },
};

function isMore(
  now: Readonly<Record<string, number>>,
  before: Readonly<Record<string, number>>,
): boolean {
  return COUNTED.some((what) => (now[what] ?? 0) > (before[what] ?? 0));
}

function count(pid: number, stateDirectory: string): Readonly<Record<string, number>> {
  const targets = readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      return [];
    }
  });
  const sockets = targets.filter((target) => target.startsWith('socket:['));
  const inodes = new Set(sockets.map((target) => target.slice(8, -1)));
  const listening = ['tcp', 'tcp6']
    .flatMap((name) => readFileSync(`/proc/${pid}/net/${name}`, 'latin1').split('\n'))
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === '0A' && inodes.has(fields[9] ?? '')).length;
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const number = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
  return {
    fds: targets.length,
    sockets: sockets.length,
    listening,
    files: readdirSync(stateDirectory, { recursive: true }).length,
    processes: processesOf(stateDirectory).length,
    threads: number('Threads'),
    rssMiB: Math.round(number('VmRSS') / 1024),
    journalKiB: Math.round(statSync(path.join(stateDirectory, 'assigned.jsonl')).size / 1024),
  };
}

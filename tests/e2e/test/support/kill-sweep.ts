/**
 * kill -9 of the built agent when its journals have grown by so many records, between two fleets that need another
 * layout of the card each; what the next agent makes of it is compared with the processes of the host. Used by the test
 * for a few numbers, by the soak for all.
 */
import { readFileSync } from 'node:fs';
import { recordsOf } from './agent-journal.js';
import { createPlace, run, start } from './command.js';
import { freePort, type NodeView, viewNode } from './node-view.js';
import { ask } from './probe.js';
import { processesOf, startAgent, until } from './running.js';

/** One kill. */
export interface SweptKill {
  /** Records after which it was killed; fewer when the change had ended before, null when the journal was rewritten. */
  readonly records: number | null;
  readonly last: string;
  readonly wentOnWith: string;
  /** From the start of the next agent until its node was whole. */
  readonly recoveredMs: number;
  /** Engines that were taken over, and those that were started anew. */
  readonly adopted: number;
  readonly anew: number;
}

const SMALL = 'meta-llama/Llama-3.2-1B-Instruct';
/** More than a quarter of the card. */
const LARGE = 'Qwen/Qwen3-32B';
const FLEETS = { wide: ['large'], four: ['a', 'b', 'c', 'd'] } as const;

const fleet = (name: keyof typeof FLEETS): string =>
  `apiVersion: aim-gpu/v1alpha1
kind: Fleet
metadata: { name: ${name} }
nodes:
  - { name: node-a, driver: simulated, cards: { product: MI300X, count: 1 } }
models:
${FLEETS[name].map((model) => `  - { name: ${model}, source: ${model === 'large' ? LARGE : SMALL}, concurrency: 4, maxModelLen: 2048, placement: { exclusive: true } }\n`).join('')}`;

/** Kills it once for each number. Throws at the first thing that is not as it should be. */
export async function sweepKills(
  numbers: readonly number[],
  options: { readonly signal?: AbortSignal; readonly log?: (line: string) => void } = {},
): Promise<readonly SweptKill[]> {
  const place = createPlace();
  const { stateDirectory } = place;
  const files = {
    wide: place.write('wide.yaml', fleet('wide')),
    four: place.write('four.yaml', fleet('four')),
  };
  const ports = ['--listen', `127.0.0.1:${await freePort()}`];
  const grown = (): number =>
    recordsOf(stateDirectory, 'assigned').length + recordsOf(stateDirectory, 'repartition').length;
  let agent = await startAgent(files.wide, stateDirectory, ports);
  const done: SweptKill[] = [];
  try {
    let now = await untilWhole(stateDirectory);
    for (const records of numbers) {
      if (options.signal?.aborted === true) break;
      const target = now.fleet === 'wide' ? 'four' : 'wide';
      const before = grown();
      const applying = start(['apply', files[target], '--state-dir', stateDirectory]);
      const applied = new Promise((resolve) => applying.once('close', resolve));
      let over = false;
      void applied.then(() => {
        over = true;
      });
      while (grown() - before < records && !over) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      agent.signal('SIGKILL');
      const last = lastType(stateDirectory);
      const count = grown() - before;
      await Promise.all([agent.exited, applied]);
      const alive = processesOf(stateDirectory);
      const began = performance.now();
      agent = await startAgent(null, stateDirectory, ports);
      now = await untilWhole(stateDirectory);
      const recoveredMs = Math.round(performance.now() - began);
      const { gateway } = agent.ready;
      for (const { workload } of now.instances) {
        const { status } = await ask(gateway, workload);
        if (status !== 200)
          throw new Error(`after ${records} records ${workload} answers ${status}`);
      }
      const pids = now.instances.map(({ pid }) => pid);
      const mine = [agent.pid, ...pids].toSorted();
      await until(
        `after ${records} records (${last}) only ${mine.join()} run`,
        () => JSON.stringify(processesOf(stateDirectory).toSorted()) === JSON.stringify(mine),
        10_000,
      );
      const adopted = pids.filter((pid) => alive.includes(pid)).length;
      const kill = {
        ...{ records: count < 0 ? null : count, last, wentOnWith: now.fleet, recoveredMs },
        ...{ adopted, anew: pids.length - adopted },
      };
      options.log?.(JSON.stringify(kill));
      done.push(kill);
    }
  } finally {
    await run(['down', '--state-dir', stateDirectory]);
    await agent.exited;
  }
  const left = processesOf(stateDirectory);
  if (left.length > 0) throw new Error(`${left.length} processes are left`);
  place.remove();
  return done;
}

/** Until every instance of one of the fleets is ready, and nothing else is. */
async function untilWhole(stateDirectory: string): Promise<NodeView> {
  let found: NodeView | null = null;
  await until(
    'the node is whole',
    async () => {
      found = await viewNode(stateDirectory).catch(() => null);
      if (found?.state !== 'ready') return false;
      const wanted = FLEETS[found.fleet as keyof typeof FLEETS].map((name) => `${name}-0`);
      const said = found.instances.map(({ instance }) => instance).toSorted();
      return JSON.stringify(said) === JSON.stringify(wanted);
    },
    30_000,
  );
  if (found === null) throw new Error('the node says nothing');
  return found;
}

/** What was written last, by the newer of the two journals. */
function lastType(stateDirectory: string): string {
  const types = ['assigned', 'repartition'].map((name) => {
    const line = recordsOf(stateDirectory, name).at(-1) ?? '';
    return `${name}: ${/"type":"([a-z-]+)"/.exec(line)?.[1] ?? 'nothing'}`;
  });
  return types.join(', ');
}

/** Whether a process is a zombie now. */
export function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  } catch {
    return false;
  }
}

// How long the agent takes over what it must: killed with eight engines adopted by the next one, an engine killed, and
// what an idle agent costs. Over the built command.
import { readFileSync } from 'node:fs';
import type { Bench } from '../../../tools/bench.js';
import { createPlace, run } from '../test/support/command.js';
import { freePort, viewNode } from '../test/support/node-view.js';
import { startAgent } from '../test/support/running.js';

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
const FLEET = `apiVersion: aim-gpu/v1alpha1
kind: Fleet
metadata: { name: eight }
nodes:
  - { name: node-a, driver: simulated, cards: { product: MI300X, count: 1 } }
models:
${NAMES.map((name) => `  - { name: ${name}, source: meta-llama/Llama-3.2-1B-Instruct, concurrency: 4, maxModelLen: 2048, placement: { exclusive: true } }`).join('\n')}
`;
const TICKS_A_SECOND = 100;

/** The bench. */
export const bench: Bench = {
  name: 'agent-recovery',
  summary: 'kill -9 of the agent with eight engines, kill -9 of an engine, cost of an idle agent',
  run: async ({ full, log }) => {
    const place = createPlace();
    const ports = ['--listen', `127.0.0.1:${await freePort()}`];
    let agent = await startAgent(place.write('f.yaml', FLEET), place.stateDirectory, ports);
    const results: Record<string, unknown>[] = [];
    try {
      await poll(async () => (await viewNode(place.stateDirectory)).state === 'ready');
      const idle = full ? 60 : 20;
      const before = cpuSeconds(agent.pid);
      await pause(idle * 1000);
      results.push({
        what: 'idle agent with eight engines',
        cpuPercentOfACore: ((cpuSeconds(agent.pid) - before) / idle) * 100,
        rssMiB: rssMib(agent.pid),
      });
      for (let round = 0; round < (full ? 5 : 2); round += 1) {
        log(`kill -9 of the agent, round ${round + 1}`);
        const view = await viewNode(place.stateDirectory);
        let going = true;
        let failed = 0;
        let answered = 0;
        const direct = view.instances.map(async ({ workload, endpoint }) => {
          while (going) {
            const ok = await ask(`http://${endpoint?.host}:${endpoint?.port}`, workload);
            if (ok) answered += 1;
            else failed += 1;
            await pause(20);
          }
        });
        agent.signal('SIGKILL');
        await agent.exited;
        const began = performance.now();
        agent = await startAgent(null, place.stateDirectory, ports);
        const gatewayMs = performance.now() - began;
        await poll(async () =>
          (await Promise.all(NAMES.map((name) => ask(agent.ready.gateway, name)))).every(Boolean),
        );
        const allMs = performance.now() - began;
        going = false;
        await Promise.all(direct);
        results.push({
          what: 'agent killed, restart to gateway / to all eight adopted and answering',
          gatewayMs: Math.round(gatewayMs),
          adoptedMs: Math.round(allMs),
          engineRequests: answered,
          failedEngineRequests: failed,
        });
      }
      const victim = (await viewNode(place.stateDirectory)).instances[2];
      const after = (await events(place.stateDirectory)).at(-1)?.id ?? 0;
      const killedAt = Date.now();
      process.kill(victim?.pid ?? 0, 'SIGKILL');
      await poll(async () =>
        (await viewNode(place.stateDirectory)).instances.every(
          ({ state, pid }) => state === 'ready' && pid !== victim?.pid,
        ),
      );
      const seen = (await events(place.stateDirectory)).filter(
        (event) => event.id > after && event.subject === victim?.instance,
      );
      results.push({
        what: 'engine killed: noticed / ready again (adopted engine, simulated start 0.3 s)',
        noticedMs: (seen.find(({ event }) => event !== 'instance-ready')?.at ?? 0) - killedAt,
        readyMs: (seen.find(({ event }) => event === 'instance-ready')?.at ?? 0) - killedAt,
      });
    } finally {
      await run(['down', '--state-dir', place.stateDirectory]);
      await agent.exited;
      place.remove();
    }
    return { results };
  },
};

interface Event {
  readonly id: number;
  readonly at: number;
  readonly event: string;
  readonly subject: string;
}

async function events(stateDirectory: string): Promise<readonly Event[]> {
  const ended = await run(['events', '--json', '--state-dir', stateDirectory]);
  return (JSON.parse(ended.stdout) as { events: readonly Event[] }).events;
}

async function ask(base: string, model: string): Promise<boolean> {
  try {
    const answer = await fetch(`${base}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, prompt: 'hello', max_tokens: 2 }),
      signal: AbortSignal.timeout(10_000),
    });
    await answer.arrayBuffer();
    return answer.status === 200;
  } catch {
    return false;
  }
}

function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND;
}

function rssMib(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Math.round(Number(line?.[1] ?? 0) / 1024);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function poll(holds: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000;
  while (!(await holds().catch(() => false))) {
    if (performance.now() > end) throw new Error('not within 60 s');
    await pause(20);
  }
}

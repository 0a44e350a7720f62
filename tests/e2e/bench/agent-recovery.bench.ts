// How long the agent takes over what it must: killed with eight engines adopted by the next one, an engine killed and
// what that does to the other models, and what an idle agent costs. Over the built command.
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import path from 'node:path';
import type { Bench } from '../../../tools/bench.js';
import { createPlace, run } from '../test/support/command.js';
import { freePort, type NodeView, viewNode } from '../test/support/node-view.js';
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
/** After a start, until code is compiled and what the start left behind is collected. */
const SETTLE_MS = 10_000;
/** Of steady traffic, with or without a kill. */
const WINDOW_MS = 7000;
/** Between two requests of a model. */
const REQUEST_EVERY_MS = 200;
const TRAFFIC_TOKENS = 16;

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
      const idle = full ? 60 : 15;
      results.push(await idleCost('idle agent with eight engines', agent.pid, idle));
      for (let round = 0; round < (full ? 10 : 3); round += 1) {
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
      results.push(await idleCost('idle agent, engines adopted', agent.pid, idle));
      const rounds = full ? 10 : 4;
      const windows = { calm: [] as number[][], kill: [] as number[][] };
      for (let round = 0; round < rounds; round += 1) {
        log(`kill -9 of an engine beside traffic, round ${round + 1}`);
        // Which window comes first takes turns, so that a machine that gets busier favours neither.
        const order = round % 2 === 0 ? (['calm', 'kill'] as const) : (['kill', 'calm'] as const);
        // Another one each time: one that dies again and again is started later each time.
        const victim = NAMES[round % NAMES.length] ?? '';
        const others = NAMES.filter((name) => name !== victim);
        for (const which of order) {
          const traffic = askSteadily(agent.ready.gateway, others);
          await pause(WINDOW_MS / 4);
          if (which === 'kill') results.push(await killEngine(place.stateDirectory, victim));
          await pause(WINDOW_MS - traffic.passedMs());
          windows[which].push(await traffic.end());
        }
      }
      results.push(compareWindows(windows.calm, windows.kill));
    } finally {
      await run(['down', '--state-dir', place.stateDirectory]);
      await agent.exited;
      place.remove();
    }
    return { results };
  },
};

/** What an agent costs that has nothing to do. */
async function idleCost(what: string, pid: number, seconds: number): Promise<Row> {
  await pause(SETTLE_MS);
  const before = cpuSeconds(pid);
  await pause(seconds * 1000);
  return {
    what,
    cpuPercentOfACore: Math.round(((cpuSeconds(pid) - before) / seconds) * 10_000) / 100,
    rssMiB: rssMib(pid),
  };
}

/** Kills an engine and waits until another one serves in its place. */
async function killEngine(stateDirectory: string, workload: string): Promise<Row> {
  const view = await askAgent<NodeView>(stateDirectory, '/v1/status');
  const victim = view.instances.find((each) => each.workload === workload);
  const after = (await events(stateDirectory)).at(-1)?.id ?? 0;
  const killedAt = Date.now();
  process.kill(victim?.pid ?? 0, 'SIGKILL');
  let seen: readonly Event[] = [];
  await poll(async () => {
    seen = (await events(stateDirectory)).filter(
      (event) => event.id > after && event.subject === victim?.instance,
    );
    return seen.some(({ event }) => event === 'instance-ready');
  }, 250);
  return {
    what: 'engine killed: noticed / ready again (simulated start 0.3 s)',
    noticedMs: (seen.find(({ event }) => event !== 'instance-ready')?.at ?? 0) - killedAt,
    readyMs: (seen.find(({ event }) => event === 'instance-ready')?.at ?? 0) - killedAt,
  };
}

/** Traffic at a steady pace to each of some models, whatever the answers take; latencies in milliseconds. */
function askSteadily(base: string, models: readonly string[]) {
  const began = performance.now();
  const latencies: number[] = [];
  let open: Promise<void>[] = [];
  const timers = models.map((model, index) => {
    const send = async (): Promise<void> => {
      const at = performance.now();
      const ok = await ask(base, model, TRAFFIC_TOKENS);
      latencies.push(ok ? performance.now() - at : Number.POSITIVE_INFINITY);
    };
    let timer: NodeJS.Timeout | undefined;
    const start = setTimeout(
      () => {
        timer = setInterval(() => open.push(send()), REQUEST_EVERY_MS);
      },
      (index * REQUEST_EVERY_MS) / models.length,
    );
    return () => {
      clearTimeout(start);
      clearInterval(timer);
    };
  });
  return {
    passedMs: () => performance.now() - began,
    end: async (): Promise<number[]> => {
      for (const stop of timers) stop();
      await Promise.all(open);
      open = [];
      return latencies;
    },
  };
}

/** The other models' latencies with a kill against those without, all windows together and each pair by itself. */
function compareWindows(calm: readonly number[][], kill: readonly number[][]): Row {
  const ratios = calm.map(
    (window, index) => quantile(kill[index] ?? [], 0.99) / quantile(window, 0.99),
  );
  const [all, killed] = [calm.flat(), kill.flat()];
  return {
    what: 'other models while an engine is killed: latency against windows without a kill, same run',
    requests: `${all.length} + ${killed.length}`,
    failed: [...all, ...killed].filter((ms) => !Number.isFinite(ms)).length,
    p50Ratio: round3(quantile(killed, 0.5) / quantile(all, 0.5)),
    p99Ms: `${quantile(all, 0.99).toFixed(1)} / ${quantile(killed, 0.99).toFixed(1)}`,
    p99Ratio: round3(quantile(killed, 0.99) / quantile(all, 0.99)),
    p99RatioOfPairs: ratios.map((ratio) => ratio.toFixed(2)).join(' '),
  };
}

function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}

function round3(value: number): number {
  return Math.round(value * 1000) / 1000;
}

type Row = Record<string, unknown>;

interface Event {
  readonly id: number;
  readonly at: number;
  readonly event: string;
  readonly subject: string;
}

/** Asked on the control socket: a command of its own would take a core for the time of its start. */
async function events(stateDirectory: string): Promise<readonly Event[]> {
  return (await askAgent<{ events: readonly Event[] }>(stateDirectory, '/v1/events')).events;
}

function askAgent<T>(stateDirectory: string, route: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const socketPath = path.join(stateDirectory, 'aim-gpu.sock');
    const outgoing = request({ socketPath, path: route }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.once('end', () => resolve(JSON.parse(text) as T));
    });
    outgoing.once('error', reject);
    outgoing.end();
  });
}

async function ask(base: string, model: string, tokens = 2): Promise<boolean> {
  try {
    const answer = await fetch(`${base}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, prompt: 'hello', max_tokens: tokens }),
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

async function poll(holds: () => Promise<boolean>, everyMs = 20): Promise<void> {
  const end = performance.now() + 60_000;
  while (!(await holds().catch(() => false))) {
    if (performance.now() > end) throw new Error('not within 60 s');
    await pause(everyMs);
  }
}

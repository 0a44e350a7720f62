// The openb placement benchmark (Alibaba GPU trace 2023, FGD): our score, which is the planner's own, against FGD,
// BestFit and Random on the same arrivals. `--nodes N.csv --pods P.csv --tune 1.3 --seeds 10 --policy ours --json`.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import type { Bench, BenchResult } from '../../../tools/bench.js';
import { createBound } from './openb/bound.js';
import { createCluster } from './openb/cluster.js';
import { createPolicy, POLICIES, type PolicyName, toDistribution } from './openb/policies.js';
import { publishedAllocation } from './openb/published.js';
import { simulate } from './openb/simulation.js';
import { interval95, mean, standardDeviation } from './openb/statistics.js';
import { milliOf, type PodKind, readNodes, readPods, toArrivals } from './openb/trace.js';

const DATA = path.resolve(import.meta.dirname, 'data/openb');
const LISTS = ['default', 'gpushare40', 'gpushare100'];
const FIRST_SEED = 42;
const MARKS = [100, 120];

interface Settings {
  readonly nodes: string;
  readonly lists: readonly string[];
  readonly tune: number;
  readonly seeds: number;
  readonly policies: readonly PolicyName[];
}

/** The openb bench. */
export const bench: Bench = {
  name: 'openb',
  summary: 'allocation of the Alibaba 2023 GPU trace by our score, FGD, BestFit and Random',
  run: async ({ values, log, signal }) => {
    const settings = toSettings(values);
    const results: BenchResult[] = [];
    for (const list of settings.lists) {
      signal.throwIfAborted();
      results.push(...(await runList(list, settings, log)));
    }
    return { results };
  },
};

function toSettings(values: Readonly<Record<string, string>>): Settings {
  const { nodes, pods, tune, seeds, policy, ...unknown } = values;
  const strange = Object.keys(unknown);
  if (strange.length > 0) throw new Error(`unknown option --${strange.join(', --')}`);
  const isPolicy = (name: string): name is PolicyName =>
    (POLICIES as readonly string[]).includes(name);
  const policies = policy === undefined ? POLICIES : policy.split(',').filter(isPolicy);
  if (policies.length === 0) throw new Error(`--policy is one of ${POLICIES.join(', ')}`);
  return {
    nodes: nodes ?? path.join(DATA, 'node_list_gpu_node.csv'),
    lists:
      pods === undefined ? LISTS.map((list) => path.join(DATA, `pod_list_${list}.csv`)) : [pods],
    tune: positive('tune', tune ?? '1.3'),
    seeds: positive('seeds', seeds ?? '10'),
    policies,
  };
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${name} has to be a positive number, not ${text}`);
  return value;
}

async function runList(
  file: string,
  settings: Settings,
  log: (line: string) => void,
): Promise<readonly BenchResult[]> {
  if (!existsSync(file)) throw new Error(`there is no file ${file}`);
  const nodes = readNodes(settings.nodes);
  const list = readPods(file);
  const { capacityMilli, capacityByModel } = createCluster(nodes);
  const distribution = toDistribution(list, capacityByModel);
  const seeds = Array.from({ length: settings.seeds }, (_, index) => FIRST_SEED + index);
  const arrivals = seeds.map((seed) =>
    toArrivals(list, { capacityMilli, tune: settings.tune, seed }),
  );
  const bound = await createBound();
  const bounds = arrivals.map((pods) => {
    const first = untilDemand(pods, (kind) => milliOf(list.kinds[kind] as PodKind), capacityMilli);
    return (100 * bound.allocatedMilli(nodes, list, first)) / capacityMilli;
  });
  const name = path.basename(file, '.csv').replace(/^(openb_)?pod_list_/, '');
  const allocations = new Map<PolicyName, readonly number[]>();
  const rows = settings.policies.map((policy) => {
    const started = performance.now();
    const runs = seeds.map((seed, index) =>
      simulate({
        nodes,
        list,
        arrivals: arrivals[index] ?? [],
        policy: createPolicy(policy, { list, nodes, distribution, seed }),
        distribution,
        marks: MARKS,
      }),
    );
    const seconds = (performance.now() - started) / 1000;
    const at = (mark: number, field: 'allocPct' | 'fragRatioPct'): readonly number[] =>
      runs.map((run) => run.readings.get(mark)?.[field] ?? 0);
    allocations.set(policy, at(100, 'allocPct'));
    const published = publishedAllocation(path.join(DATA, 'published.csv'), name, policy);
    log(`${name} ${policy} ${mean(at(100, 'allocPct')).toFixed(2)} %`);
    return {
      list: name,
      policy,
      seeds: seeds.length,
      allocPctAt100: rounded(mean(at(100, 'allocPct'))),
      sd: rounded(standardDeviation(at(100, 'allocPct'))),
      allocPctAt120: rounded(mean(at(120, 'allocPct'))),
      fragRatioPctAt100: rounded(mean(at(100, 'fragRatioPct'))),
      placementsPerSecond: Math.round(runs.reduce((sum, run) => sum + run.placed, 0) / seconds),
      upperBoundPctAt100: rounded(mean(bounds)),
      ...(published === null ? {} : { publishedPctAt100: published }),
    };
  });
  const fgd = allocations.get('fgd');
  return rows.map((row) => {
    const own = allocations.get(row.policy);
    if (fgd === undefined || own === undefined || row.policy === 'fgd') return row;
    const pairs = own.map((value, index) => value - (fgd[index] ?? 0));
    const { low, high } = interval95(pairs);
    return {
      ...row,
      minusFgd: rounded(mean(pairs)),
      minusFgdLow95: rounded(low),
      minusFgdHigh95: rounded(high),
    };
  });
}

/** The pods up to and with the one that brings demand to the limit. */
function untilDemand(
  pods: readonly number[],
  milli: (kind: number) => number,
  limit: number,
): readonly number[] {
  let demand = 0;
  const end = pods.findIndex((kind) => {
    demand += milli(kind);
    return demand >= limit;
  });
  return end < 0 ? pods : pods.slice(0, end + 1);
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}

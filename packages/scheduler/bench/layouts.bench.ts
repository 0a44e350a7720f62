// Layout problems: the search against the best bounds. The committed 200 come with theirs (layouts/bounds.json, which says
// how they were made); `--exact` bounds each anew with HiGHS (`--limit` seconds an instance, 60). `--instances F.json` for
// problems of one's own (schema/), `--count N --seed S` for other seeds.
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import type { Bench, BenchResult } from '../../../tools/bench.js';
import {
  compareWithBest,
  type LayoutProblem,
  parseLayoutProblems,
  solveLayouts,
  solveLayoutsExactly,
  type Worth,
} from '../src/index.js';
import { generateLayoutProblem } from './layouts/generator.js';

const COMMITTED = 200;
/** Five bands, violations, change, score. */
const LEVELS = 8;

interface KnownBound {
  readonly seed: number;
  readonly provedLevels: number;
  readonly bound: Worth;
}

/** Bounds of the committed problems by name. */
function knownBounds(): ReadonlyMap<string, KnownBound> {
  const file = new URL('./layouts/bounds.json', import.meta.url);
  const { bounds } = JSON.parse(readFileSync(file, 'utf8')) as { bounds: readonly KnownBound[] };
  return new Map(bounds.map((known) => [`seed-${known.seed}`, known]));
}

/** The layouts bench. */
export const bench: Bench = {
  name: 'layouts',
  summary: 'layout problems up to 16 cards: objective, bound, gap and time; --exact adds HiGHS',
  run: async ({ values, full, signal, log }) => {
    const { instances, exact, limit, count, seed, ...unknown } = values;
    const strange = Object.keys(unknown);
    if (strange.length > 0) throw new Error(`unknown option --${strange.join(', --')}`);
    const problems =
      instances === undefined
        ? generated(Number(seed ?? '1'), Number(count ?? COMMITTED))
        : parseLayoutProblems(readFileSync(instances, 'utf8'), { file: instances });
    const limitS = exact !== undefined || full ? Number(limit ?? '60') : null;
    // The first solutions of a process pay for compiling the solver.
    for (const problem of problems.slice(0, 3)) solveLayouts(problem, { rounds: 200 });
    const known = instances === undefined ? knownBounds() : new Map<string, KnownBound>();
    const results: BenchResult[] = [];
    for (const problem of problems) {
      signal.throwIfAborted();
      results.push(await solve(problem, limitS, known.get(problem.name) ?? null));
      if (results.length % 20 === 0) log(`${results.length} of ${problems.length}`);
    }
    return { results: [...results, summary(results)] };
  },
};

function generated(first: number, count: number): readonly LayoutProblem[] {
  return Array.from({ length: count }, (_, index) => generateLayoutProblem(first + index));
}

async function solve(
  problem: LayoutProblem,
  limitS: number | null,
  known: KnownBound | null,
): Promise<BenchResult> {
  const started = performance.now();
  const cpu = process.cpuUsage();
  const { solution, worth } = solveLayouts(problem);
  const used = process.cpuUsage(cpu);
  const row = {
    name: problem.name,
    cards: problem.cards.length,
    instances: problem.instances.length,
    placed: solution.places.length,
    objective: worth,
    wallMs: rounded(performance.now() - started),
    cpuMs: rounded((used.user + used.system) / 1000),
  };
  if (limitS === null && known === null) return row;
  const exact =
    limitS === null
      ? known
      : await solveLayoutsExactly(problem, { timeLimitS: limitS, start: { solution, worth } });
  if (exact === null) return row;
  const { level, percent } = compareWithBest(worth, exact.bound);
  return {
    ...row,
    bound: exact.bound,
    proved: exact.provedLevels === LEVELS,
    provedLevels: exact.provedLevels,
    firstLevelThatDiffers: level,
    percentOfBound: rounded(percent),
    gapPercent: rounded(100 - percent),
  };
}

function summary(rows: readonly BenchResult[]): BenchResult {
  const numbers = (name: string): readonly number[] =>
    rows
      .map((row) => row[name])
      .filter((value): value is number => typeof value === 'number')
      .sort((a, b) => a - b);
  const middle = (list: readonly number[]): number => list[Math.floor(list.length / 2)] ?? 0;
  const cpu = numbers('cpuMs');
  const percents = numbers('percentOfBound');
  return {
    name: 'all',
    cards: Math.max(...numbers('cards')),
    cpuMsMedian: middle(cpu),
    cpuMsMost: cpu.at(-1) ?? 0,
    under100Ms: cpu.filter((ms) => ms < 100).length,
    ...(percents.length === 0
      ? {}
      : {
          percentLeast: percents[0] ?? 0,
          percentP5: percents[Math.floor(percents.length / 20)] ?? 0,
          percentMedian: middle(percents),
          atLeast98: percents.filter((percent) => percent >= 98).length,
          provedShare: rows.filter((row) => row['proved'] === true).length / rows.length,
        }),
  };
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}

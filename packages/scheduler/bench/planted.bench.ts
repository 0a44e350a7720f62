// Whole-fleet plans against a planted perfect solution, 100 and 1,000 cards. `--cards N --seed S` for another one.
import { performance } from 'node:perf_hooks';
import { BANDS } from '@aim-gpu/core';
import type { Bench, BenchResult } from '../../../tools/bench.js';
import { solveLayouts } from '../src/index.js';
import { generatePlanted } from './layouts/planted.js';

/** The planted bench. */
export const bench: Bench = {
  name: 'planted',
  summary: 'plans of 100 and 1,000 cards: share of a planted perfect solution, and time',
  run: ({ values, full }) => {
    const { cards, seed, ...unknown } = values;
    const strange = Object.keys(unknown);
    if (strange.length > 0) throw new Error(`unknown option --${strange.join(', --')}`);
    const sizes = cards === undefined ? [100, 1000] : [Number(cards)];
    const seeds = seed === undefined ? (full ? [1, 2, 3, 4, 5] : [1, 2]) : [Number(seed)];
    const results = sizes.flatMap((size) => seeds.map((one) => run(size, one)));
    return Promise.resolve({ results });
  },
};

function run(cards: number, seed: number): BenchResult {
  const { problem, planted } = generatePlanted(cards, seed);
  const cpu = process.cpuUsage();
  const started = performance.now();
  const { solution, worth } = solveLayouts(problem);
  const used = process.cpuUsage(cpu);
  const rank = BANDS.findIndex(
    (band, at) => count(problem.instances, band) !== worth.placedByBand[at],
  );
  const band = BANDS[rank];
  return {
    cards,
    seed,
    planted,
    placed: solution.places.length,
    valuePct: Math.round((10_000 * solution.places.length) / planted) / 100,
    firstBandThatDiffers: band ?? null,
    valuePctOfThatBand:
      band === undefined
        ? 100
        : Math.round((10_000 * (worth.placedByBand[rank] ?? 0)) / count(problem.instances, band)) /
          100,
    wallSeconds: Math.round(performance.now() - started) / 1000,
    cpuSeconds: Math.round((used.user + used.system) / 1000) / 1000,
  };
}

function count(instances: readonly { readonly band: string }[], band: string): number {
  return instances.filter((instance) => instance.band === band).length;
}

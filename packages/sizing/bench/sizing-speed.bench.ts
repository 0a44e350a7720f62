// How long parsing a config takes, and how many size-and-fit calls a second one core makes from parsed configs.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import type { Bench } from '../../../tools/bench.js';
import { fitModel, parseModelConfig, sizeModel } from '../src/index.js';

const CONFIGS = path.resolve(import.meta.dirname, '../data/configs');
const GIB = 2 ** 30;

/** Times `rounds` runs after a tenth of them as warm-up; milliseconds per run. */
function millisecondsPerRun(rounds: number, run: (round: number) => void): number {
  for (let round = 0; round < rounds / 10; round += 1) run(round);
  const start = performance.now();
  for (let round = 0; round < rounds; round += 1) run(round);
  return (performance.now() - start) / rounds;
}

/** The speed bench. */
export const bench: Bench = {
  name: 'sizing-speed',
  summary: 'parsing a config, and size-and-fit calls a second from parsed configs',
  run: ({ full }) => {
    const texts = readdirSync(CONFIGS)
      .filter((file) => file.endsWith('.json') && !file.includes('hf_quant'))
      .map((file) => ({ file, text: readFileSync(path.join(CONFIGS, file), 'utf8') }));
    const at = <T>(list: readonly T[], round: number): T => {
      const found = list[round % list.length];
      if (found === undefined) throw new Error('no configs');
      return found;
    };
    const rounds = full ? 20_000 : 4_000;
    const parse = millisecondsPerRun(rounds, (round) => {
      const { file, text } = at(texts, round);
      parseModelConfig(text, { source: file });
    });
    const largest = texts.reduce((most, one) => (one.text.length > most.text.length ? one : most));
    const parseLargest = millisecondsPerRun(rounds / 10, () =>
      parseModelConfig(largest.text, { source: largest.file }),
    );
    const configs = texts.map(({ file, text }) => parseModelConfig(text, { source: file }));
    const size = millisecondsPerRun(rounds * 5, (round) => {
      sizeModel(at(configs, round), {
        totalMemoryBytes: (24 + (round % 8) * 24) * GIB,
        maxModelLen: 4096,
      });
    });
    const both = millisecondsPerRun(rounds * 5, (round) => {
      const config = at(configs, round);
      const options = { totalMemoryBytes: (24 + (round % 8) * 24) * GIB, maxModelLen: 4096 };
      sizeModel(config, options);
      fitModel(config, { ...options, concurrency: 8 });
    });
    const results = [
      { name: 'parse a config, mean over all', milliseconds: parse, perSecond: 1000 / parse },
      {
        name: `parse the largest (${largest.text.length} characters)`,
        milliseconds: parseLargest,
        perSecond: 1000 / parseLargest,
      },
      { name: 'size a parsed config', milliseconds: size, perSecond: 1000 / size },
      { name: 'size and fit a parsed config', milliseconds: both, perSecond: 1000 / both },
    ];
    const failures = [
      ...(parse < 1 ? [] : [`parsing takes ${parse.toFixed(2)} ms, goal below 1 ms`]),
      ...(both < 0.1
        ? []
        : [`${Math.round(1000 / both)} size-and-fit calls a second, goal 10,000`]),
    ];
    return Promise.resolve({ results, failures });
  },
};

/**
 * Bench: interactive requests beside a flood of lower ones on one simulated GPU, with qos and without, against what the
 * issue asks for. Deterministic from its seeds; `--seeds 1,2,3`, `--seconds N` of simulated time.
 */
import type { Bench, BenchResult } from '../../../tools/bench.js';
import {
  measureCapacity,
  play,
  type RunOptions,
  type RunResult,
  type Shares,
} from '../src/simulation.js';

const URGENT: Shares = { critical: 0.1, interactive: 0.4 };
const TWICE: Shares = { ...URGENT, batch: 1.5 };
const TENFOLD: Shares = { ...URGENT, standard: 4.5, batch: 4, best_effort: 1 };
const WARM_UP_S = 300;

function rowOf(load: string, seed: number, result: RunResult, extra: BenchResult): BenchResult {
  const { bands } = result;
  return {
    load,
    seed,
    interactiveTtftP99Ms: bands.interactive?.ttftP99Ms,
    interactiveTtftP50Ms: bands.interactive?.ttftP50Ms,
    criticalWithinSlo: bands.critical?.withinSlo,
    interactiveWithinSlo: bands.interactive?.withinSlo,
    batchPerSecond: bands.batch?.perSecond ?? 0,
    requestsPerSecond: result.requestsPerSecond,
    idleWhileWaiting: result.idleWhileWaiting,
    waitErrorP50: result.waitErrorP50,
    waitErrorP90: result.waitErrorP90,
    waited: result.waited,
    mostWaiting: result.mostWaiting,
    mostQueuedTokens: result.mostQueuedTokens,
    preempted: result.preempted,
    ...extra,
  };
}

export const bench: Bench = {
  name: 'overload',
  summary:
    '2 × and 10 × overload of a simulated GPU: TTFT of the urgent, throughput of the rest, waits foretold',
  run: async ({ full, values, signal, log }) => {
    const { seeds = full ? '1,2,3,4,5' : '1,2,3', seconds: text = '900', ...unknown } = values;
    const [surplus] = Object.keys(unknown);
    if (surplus !== undefined) throw new Error(`there is no option --${surplus}`);
    const seconds = Number(text);
    const results: BenchResult[] = [];
    const failures: string[] = [];
    const expect = (holds: boolean, what: string): void => {
      if (!holds) failures.push(what);
    };
    for (const seed of seeds.split(',').map(Number)) {
      if (signal.aborted) break;
      const capacity = measureCapacity(seed);
      const run = (shares: Shares, overrides: Partial<RunOptions> = {}): Promise<RunResult> =>
        play({
          seed,
          seconds,
          warmUpSeconds: WARM_UP_S,
          capacity,
          shares,
          qos: true,
          ...overrides,
        });
      log(`seed ${seed}: capacity ${capacity.toFixed(2)} requests a second`);
      const alone = await run(URGENT);
      results.push(rowOf('alone', seed, alone, { capacityPerSecond: capacity }));
      const aloneP99 = alone.bands.interactive?.ttftP99Ms ?? Number.NaN;

      const plain = await run(TWICE, { qos: false, warmUpSeconds: 0, seconds: 60 });
      const plainP99 = plain.bands.interactive?.ttftP99Ms ?? Number.NaN;
      results.push(
        rowOf('2 ×, without qos, first minute', seed, plain, {
          ttftTimesAlone: plainP99 / aloneP99,
        }),
      );

      const twice = await run(TWICE);
      const urgent =
        (twice.bands.critical?.perSecond ?? 0) + (twice.bands.interactive?.perSecond ?? 0);
      const ttftTimesAlone = (twice.bands.interactive?.ttftP99Ms ?? Number.NaN) / aloneP99;
      const batchOfRest = (twice.bands.batch?.perSecond ?? 0) / (capacity - urgent);
      results.push(rowOf('2 ×', seed, twice, { ttftTimesAlone, batchOfRest }));
      expect(ttftTimesAlone <= 2, `seed ${seed}, 2 ×: TTFT p99 is ${ttftTimesAlone} × alone`);
      expect(batchOfRest >= 0.9, `seed ${seed}, 2 ×: batch gets ${batchOfRest} of the rest`);
      expect(twice.idleWhileWaiting < 0.02, `seed ${seed}, 2 ×: idle ${twice.idleWhileWaiting}`);
      expect(
        (twice.waitErrorP50 ?? 1) <= 0.3,
        `seed ${seed}, 2 ×: waits wrong by ${twice.waitErrorP50}`,
      );

      const tenfold = await run(TENFOLD, { seconds: Math.min(seconds, 300) });
      const tenfoldP99 = tenfold.bands.interactive?.ttftP99Ms ?? Number.NaN;
      results.push(rowOf('10 ×', seed, tenfold, { ttftTimesAlone: tenfoldP99 / aloneP99 }));
      const critical = tenfold.bands.critical?.withinSlo ?? 0;
      expect(critical >= 0.99, `seed ${seed}, 10 ×: critical within SLO ${critical}`);
      expect(tenfold.mostWaiting <= 5_000, `seed ${seed}, 10 ×: ${tenfold.mostWaiting} waited`);
      expect(
        (tenfold.waitErrorP50 ?? 1) <= 0.3,
        `seed ${seed}, 10 ×: waits wrong by ${tenfold.waitErrorP50}`,
      );
    }
    return { results, failures };
  },
};

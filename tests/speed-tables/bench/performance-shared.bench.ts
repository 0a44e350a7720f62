/** Bench: what sharing costs each model of the quickstart; deterministic, no options. */
import type { Bench, BenchResult } from '../../../tools/bench.js';
import { createSharedSpeed, type MemberSpeed } from '../src/shared-speed.js';

const PARTITIONS = { SPX: 1, DPX: 2, TPX: 3, QPX: 4, CPX: 8 } as const;

export const bench: Bench = {
  name: 'performance-shared',
  summary:
    'TPOT shared ÷ alone and ÷ whole card, pairs and triples of the quickstart, every layout',
  run: async () => {
    const { companies, layouts, speedOf, fleet } = await createSharedSpeed();
    const results: BenchResult[] = [];
    const failures: string[] = [];
    for (const layout of layouts) {
      for (const members of companies) {
        for (const where of ['one partition', 'own partitions'] as const) {
          if (where === 'own partitions' && PARTITIONS[layout.compute] < members.length) continue;
          const speed = speedOf(members, layout, where);
          const models = members.map(({ name }) => name).join(' + ');
          if ('noRoom' in speed) {
            results.push({
              layout: speed.layout,
              where,
              models,
              verdict: 'no room',
            });
            continue;
          }
          const over = speed.urgentRatio > 1 + fleet.policy.slowdown;
          if (over && speed.verdict === 'placed' && where === 'one partition')
            failures.push(`${models} in ${speed.layout}: ${speed.urgentRatio} is not refused`);
          const list = (value: (member: MemberSpeed) => number): string =>
            speed.members.map((member) => value(member).toFixed(2)).join(' ');
          results.push({
            layout: speed.layout,
            where,
            models,
            tpotMs: speed.members.map(({ tpotMs }) => tpotMs.toFixed(1)).join(' '),
            toAlone: list(({ tpotMs, aloneTpotMs }) => tpotMs / aloneTpotMs),
            toWholeIdleCard: list(({ tpotMs, wholeCardTpotMs }) => tpotMs / wholeCardTpotMs),
            verdict: speed.verdict,
          });
        }
      }
    }
    return { results, failures };
  },
};

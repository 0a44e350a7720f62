/**
 * Program: fits every engine family's constants to the published measurements and prints them, to be copied into
 * src/engine-constants.ts; writes bench/data/leave-one-out.json with the constants fitted without each (model, GPU).
 * Run from the repository root: npx tsx --conditions=@aim-gpu/source packages/performance/bench/fit-constants.ts
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { EngineConstants } from '../src/index.js';
import { groupOf } from './accuracy.js';
import { fitConstants } from './constant-fit.js';
import { FAMILIES, fitBase, fitParameters } from './fit-parameters.js';
import { readServingRows, type ServingRow } from './serving-rows.js';

function rounded(constants: EngineConstants): EngineConstants {
  return Object.fromEntries(
    Object.entries(constants).map(([key, value]) => [key, Number(Number(value).toPrecision(4))]),
  ) as unknown as EngineConstants;
}

const { rows } = readServingRows();
const out: Record<string, Record<string, EngineConstants>> = {};
for (const family of FAMILIES) {
  const own = rows.filter((row) => row.engine === family);
  const fit = (some: readonly ServingRow[], rounds: number): EngineConstants =>
    rounded(
      fitConstants({
        rows: some,
        parameters: fitParameters(family),
        base: fitBase(family),
        rounds,
      }),
    );
  console.log(family, JSON.stringify(fit(own, 20), null, 2));
  const groups = [...new Set(own.map(groupOf))].sort();
  out[family] = Object.fromEntries(
    groups.map((group) => [
      group,
      fit(
        own.filter((row) => groupOf(row) !== group),
        10,
      ),
    ]),
  );
}
writeFileSync(
  path.join(import.meta.dirname, 'data', 'leave-one-out.json'),
  `${JSON.stringify(out, null, 1)}\n`,
);

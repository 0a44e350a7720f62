/**
 * Program: fits every engine family's constants to the published measurements and prints them, to be copied into
 * src/engine-constants.ts; writes bench/data/leave-one-out.json with the constants fitted without each (model, GPU).
 * Run from the repository root: npx tsx --conditions=@aim-gpu/source packages/performance/scripts/fit-constants.ts
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { groupOf } from '../bench/accuracy.js';
import { fitConstants } from '../bench/constant-fit.js';
import { FAMILIES, fitBase, fitParameters } from '../bench/fit-parameters.js';
import { readServingRows, type ServingRow } from '../bench/serving-rows.js';
import type { EngineConstants } from '../src/index.js';

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
  process.stdout.write(`${family} ${JSON.stringify(fit(own, 20), null, 2)}\n`);
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
  path.join(import.meta.dirname, '..', 'bench', 'data', 'leave-one-out.json'),
  `${JSON.stringify(out, null, 1)}\n`,
);

/**
 * Mutated captures through the parser: it never throws, and whatever it answers keeps the contract's forms. Seeded; a
 * failure names the mutant's number, which with the seed repeats it.
 */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { COMPUTE_MODES, createRng, MEMORY_MODES } from '@aim-gpu/core';
import { expect, test } from 'vitest';
import { type AmdSmiReport, parseAmdSmi } from '../../src/index.js';
import { capture } from '../support/trees.js';

const SEED = 20_261_125;
const MUTANTS = 4000;
const JUNK = [
  '',
  '\n',
  '\r\n',
  '\0',
  '{',
  '}',
  '[',
  ']',
  '"',
  '|',
  'N/A',
  '*',
  ',',
  ' ',
  '-1',
  '9e999',
];

const texts = readdirSync(path.join(import.meta.dirname, '../fixtures'))
  .filter((name) => /^\d\d-/.test(name) && !name.startsWith('09-'))
  .map((name) => capture(name).slice(0, 12_000));

function isWhole(value: number | null): boolean {
  return value === null || (Number.isSafeInteger(value) && value >= 0);
}

function flawOf(report: AmdSmiReport): string | null {
  for (const gpu of report.gpus) {
    if (gpu.index === null && gpu.pci === null) return 'a GPU without a name';
    if (![gpu.index, gpu.partitionId, gpu.memoryTotalBytes].every(isWhole)) return 'a number';
    if (gpu.pci !== null && !/^[0-9a-f]{4,8}(:[0-9a-f]{2}){2}\.[0-9a-f]$/.test(gpu.pci))
      return 'an address';
    if (gpu.compute !== null && !COMPUTE_MODES.includes(gpu.compute)) return 'a compute mode';
    if (gpu.memory !== null && !MEMORY_MODES.includes(gpu.memory)) return 'a memory mode';
    for (const profile of gpu.profiles ?? [])
      if (!COMPUTE_MODES.includes(profile.type) || !isWhole(profile.partitions)) return 'a profile';
    for (const process of gpu.processes ?? []) if (!isWhole(process.pid)) return 'a process';
  }
  const indexes = report.gpus.flatMap((gpu) => (gpu.index === null ? [] : [gpu.index]));
  if (new Set(indexes).size !== indexes.length) return 'an index twice';
  const uuids = report.gpus.flatMap((gpu) => (gpu.uuid === null ? [] : [gpu.uuid]));
  if (new Set(uuids).size !== uuids.length) return 'a shared UUID';
  if (report.problems.some((problem) => problem.code === '' || problem.where === ''))
    return 'a problem without a place';
  return report.errors.some((error) => error.name === '') ? 'an error without a name' : null;
}

test(`${MUTANTS} mutants of the captures, seed ${SEED}`, () => {
  const rng = createRng(SEED);
  const below = (limit: number): number => Math.floor(rng.next() * limit);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  const mutate = (text: string): string => {
    const at = below(text.length + 1);
    const to = Math.min(text.length, at + below(200));
    switch (below(6)) {
      case 0:
        return text.slice(0, at);
      case 1:
        return text.slice(0, at) + text.slice(to);
      case 2:
        return text.slice(0, to) + text.slice(at);
      case 3:
        return text.slice(0, at) + pick(JUNK) + text.slice(at);
      case 4:
        return text.slice(0, at) + String.fromCharCode(below(65_536)) + text.slice(at + 1);
      default:
        return text.slice(0, at) + pick(texts).slice(below(2000));
    }
  };
  for (let number = 0; number < MUTANTS; number += 1) {
    let mutant = pick(texts);
    for (let step = below(4); step >= 0; step -= 1) mutant = mutate(mutant);
    expect(flawOf(parseAmdSmi(mutant)), `mutant ${number}`).toBeNull();
  }
});

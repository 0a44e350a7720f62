/**
 * Mutants of the captures: cut, doubled, spliced, with junk in them. Seeded: number and seed repeat a mutant.
 */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { createRng } from '@aim-gpu/core';
import { capture } from '../support/trees.js';

/** Seed of the gate and of the soak. */
export const SEED = 20_261_125;

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
  .filter((name) => /^\d\d-/.test(name))
  .map((name) => capture(name).slice(0, 12_000));

/** Makes one mutant after another. */
export function createMutants(seed: number): () => string {
  const rng = createRng(seed);
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
  return () => {
    let mutant = pick(texts);
    for (let step = below(4); step >= 0; step -= 1) mutant = mutate(mutant);
    return mutant;
  };
}

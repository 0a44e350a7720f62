/**
 * Every capture: its grade and origin, and the facts it shows. The table of them is fixtures/FACTS.md.
 */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { capture } from '../support/trees.js';
import { toTable } from './fact.js';
import { KERNEL_FACTS } from './kernel-facts.js';
import { TOOL_FACTS } from './tool-facts.js';

const FIXTURES = path.join(import.meta.dirname, '../fixtures');
/** Captures with less than three facts in them. */
const ALL_THERE_IS: readonly string[] = ['43-kubelet-checkpoint-cpx-capacity0-plugin184.json'];

const origins = new Map(
  capture('ORIGIN.md')
    .split('\n')
    .flatMap((line): [string, { grade: string; origin: string }][] => {
      const [, file = '', grade = '', , , origin = ''] = line
        .split(' | ')
        .map((cell) => cell.replace(/^\| | \|$/g, '').trim())
        .flatMap((cell, index) => (index === 0 ? ['', cell] : [cell]));
      return /^\d\d-/.test(file) ? [[file, { grade, origin }]] : [];
    }),
);
const known = [...TOOL_FACTS, ...KERNEL_FACTS]
  .map((entry) => ({ ...entry, grade: '', origin: '', ...origins.get(entry.file) }))
  .toSorted((a, b) => a.file.localeCompare(b.file));

describe.each(known)('$file (grade $grade; $origin)', ({ file, grade, origin, facts }) => {
  it('has a grade and an origin', () => {
    expect(['V', 'X', 'P', 'R', 'C']).toContain(grade);
    expect(origin).not.toBe('');
    expect(capture(file)).not.toBe('');
  });

  it('has at least three facts, or all it has', () => {
    expect(facts.length).toBeGreaterThanOrEqual(ALL_THERE_IS.includes(file) ? 1 : 3);
  });

  it.each(facts)('$says', async ({ read, is }) => {
    expect(await read()).toEqual(is);
  });
});

it('leaves no capture out', () => {
  const files = readdirSync(FIXTURES).filter((name) => /^\d\d-/.test(name));
  expect(known.map((entry) => entry.file)).toEqual(files.toSorted());
});

it('is what the table says', async () => {
  await expect(toTable(known)).toMatchFileSnapshot(path.join(FIXTURES, 'FACTS.md'));
});

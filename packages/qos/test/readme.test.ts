import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { format } from 'node:util';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { extractReadmeExample, runReadmeExample } from '../../../tools/readme-example.mjs';

const ROOT = path.resolve(import.meta.dirname, '..');
const FENCE = '```ts example\n';

test('the example of the README runs and prints what the README says', async () => {
  const run = await runReadmeExample(ROOT);
  expect(run.lines).toEqual(run.expectedLines);
  expect(run.exitCode).toBe(0);
});

describe('the example of each piece', () => {
  const [, , ...pieces] = readFileSync(path.join(ROOT, 'README.md'), 'utf8').split(FENCE);
  const directory = mkdtempSync(path.join(ROOT, '.readme-example-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test('is there for every piece', () => {
    expect(pieces).toHaveLength(12);
  });

  test.each(pieces.map((piece, index) => ({ piece, index })))(
    'runs and prints what the README says ($index)',
    async ({ piece, index }) => {
      const { code, expectedLines } = extractReadmeExample(FENCE + piece);
      // About fifteen lines: more is no example.
      expect(code.split('\n').length).toBeLessThanOrEqual(20);
      const file = path.join(directory, `piece-${index}.ts`);
      writeFileSync(file, code);
      const lines: string[] = [];
      const log = vi.spyOn(console, 'log').mockImplementation((...values: unknown[]) => {
        lines.push(...format(...values).split('\n'));
      });
      try {
        await import(/* @vite-ignore */ file);
      } finally {
        log.mockRestore();
      }
      expect(lines).toEqual(expectedLines);
    },
  );
});

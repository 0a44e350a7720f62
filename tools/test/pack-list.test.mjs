import { expect, test } from 'vitest';
import { judgePackList } from '../pack-list.mjs';

const manifest = {
  bin: { tool: 'bin/tool.mjs' },
  exports: {
    '.': { types: './dist/index.d.ts', default: './dist/index.js' },
    './package.json': './package.json',
  },
};
const good = [
  'LICENSE',
  'README.md',
  'package.json',
  'bin/tool.mjs',
  'dist/index.d.ts',
  'dist/index.js',
  'src/index.ts',
  'src/testing/index.ts',
];

test('accepts what a package needs', () => {
  expect(judgePackList(good, manifest)).toEqual([]);
});

test.each([['LICENSE'], ['bin/tool.mjs'], ['dist/index.d.ts']])('misses %s', (file) => {
  expect(
    judgePackList(
      good.filter((other) => other !== file),
      manifest,
    ),
  ).toEqual([`does not pack ${file}`]);
});

test.each([
  ['dist/.tsbuildinfo'],
  ['test/a.test.ts'],
  ['src/a.test.ts'],
  ['bench/a.bench.ts'],
  ['.env'],
])('refuses %s', (file) => {
  expect(judgePackList([...good, file], manifest)).toEqual([`packs ${file}`]);
});

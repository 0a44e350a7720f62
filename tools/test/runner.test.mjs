import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatTable, parseRunnerArguments } from '../runner.mjs';
import { createTemporaryRepository } from './temporary-repository.mjs';

test('arguments: flags, values and the name in any order', () => {
  const expected = {
    positionals: ['storm'],
    json: true,
    full: true,
    values: { rows: '5', seed: '7', fast: 'true' },
  };
  expect(
    parseRunnerArguments(['storm', '--rows', '5', '--seed=7', '--fast', '--json', '--full']),
  ).toEqual(expected);
  expect(
    parseRunnerArguments(['--json', '--full', 'storm', '--rows', '5', '--seed=7', '--fast']),
  ).toEqual(expected);
});

test('a table has a column for every key of any row', () => {
  expect(
    formatTable([
      { name: 'a', ratio: 1.23456 },
      { name: 'long', extra: [1] },
    ]),
  ).toBe('name  ratio  extra\na     1.235\nlong         [1]');
});

describe('the commands', () => {
  /** @type {ReturnType<typeof createTemporaryRepository>} */
  let repository;
  beforeAll(() => {
    repository = createTemporaryRepository();
    repository.write(
      'packages/qos/bench/storm.bench.ts',
      `import type { Bench } from '../../../tools/bench.js';
export const bench: Bench = {
  name: 'storm',
  summary: 'Admits many requests.',
  run: async (options) => {
    console.log('noise');
    options.log('progress');
    if (options.values['fail']) return { results: [], failures: ['too slow'] };
    return { results: [{ rows: Number(options.values['rows'] ?? 1), full: options.full }] };
  },
};
`,
    );
    repository.write(
      'packages/core/soak/drift.soak.ts',
      `import type { Soak } from '../../../tools/soak.js';
export const soak: Soak = {
  name: 'drift',
  summary: 'Waits.',
  run: async ({ seconds }) => ({ results: [{ seconds }], failures: [] }),
};
`,
    );
    repository.write(
      'packages/core/bench/misnamed.bench.ts',
      "export const bench = { name: 'other' };\n",
    );
  });
  afterAll(() => repository.remove());

  const run = (/** @type {string[]} */ ...args) => {
    const result = spawnSync('npm', ['run', '-s', ...args], {
      cwd: repository.directory,
      encoding: 'utf8',
    });
    return { status: result.status, stdout: result.stdout, stderr: result.stderr };
  };

  test('--json prints exactly one document on stdout', () => {
    const { status, stdout, stderr } = run(
      'bench',
      '--',
      'storm',
      '--rows',
      '5',
      '--full',
      '--json',
    );
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      bench: 'storm',
      machine: { cpu: expect.any(String), cores: expect.any(Number), node: process.version },
      results: [{ rows: 5, full: true }],
    });
    expect(stderr).toMatch(/noise\nprogress/);
  });

  test('a missed goal fails the command', () => {
    expect(run('bench', '--', 'storm', '--fail')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('FAILED: too slow'),
    });
  });

  test('an unknown name is a usage error that lists the known ones', () => {
    const { status, stdout } = run('bench', '--', 'none', '--json');
    expect(status).toBe(2);
    expect(JSON.parse(stdout).error).toMatchObject({
      code: 'ERR_USAGE',
      message: expect.stringContaining('storm'),
    });
  });

  test('a bench whose name is not its file name is refused', () => {
    expect(run('bench', '--', 'misnamed')).toMatchObject({
      status: 70,
      stderr: expect.stringContaining('name misnamed'),
    });
  });

  test('soak runs for the given seconds and lists itself', () => {
    expect(
      JSON.parse(run('soak', '--', 'drift', '--seconds', '2', '--json').stdout).results,
    ).toEqual([{ seconds: 2 }]);
    expect(run('soak', '--', 'list').stdout).toMatch(/^drift +Waits\.\n$/);
    expect(run('soak', '--', 'drift', '--seconds', 'x').status).toBe(2);
  });
});

import { describe, expect, test } from 'vitest';
import { countTests, formatCounts, judgeCoverage } from '../test-report.mjs';

const file = (/** @type {string} */ name, /** @type {string[]} */ statuses, status = 'passed') => ({
  name,
  status,
  assertionResults: statuses.map((outcome) => ({ status: outcome })),
});

describe('countTests', () => {
  test('adds up outcomes over files; todo and pending are skipped', () => {
    const report = {
      testResults: [
        file('a', ['passed', 'failed', 'pending'], 'failed'),
        file('b', ['passed', 'todo']),
      ],
    };
    expect(countTests(report)).toEqual({ passed: 2, failed: 1, skipped: 2, empty: [] });
  });

  test('a file that breaks while loading counts as a failure and as empty', () => {
    expect(countTests({ testResults: [file('a', [], 'failed')] })).toEqual({
      passed: 0,
      failed: 1,
      skipped: 0,
      empty: ['a'],
    });
  });

  test('a file whose tests are all skipped is empty', () => {
    expect(countTests({ testResults: [file('a', ['skipped', 'skipped'])] }).empty).toEqual(['a']);
  });
});

test('the closing line names skipped tests only when there are any', () => {
  expect(formatCounts({ passed: 12, failed: 0, skipped: 0 })).toBe('12 passed, 0 failed');
  expect(formatCounts({ passed: 1, failed: 2, skipped: 3 })).toBe('1 passed, 2 failed, 3 skipped');
});

describe('judgeCoverage', () => {
  const lines = (/** @type {number} */ covered, total = 100) => ({ lines: { total, covered } });
  const good = {
    total: lines(0),
    '/r/packages/core/src/a.ts': lines(95),
    '/r/packages/fleet/src/a.ts': lines(91),
    '/r/packages/scheduler/src/a.ts': lines(91),
    '/r/packages/qos/src/a.ts': lines(100),
    '/r/packages/cli/src/a.ts': lines(70),
    '/r/packages/agent/src/a.ts': lines(290, 300),
  };

  test('passes when every strict package and the rest together have enough', () => {
    const { rows, failures } = judgeCoverage(good, '/r');
    expect(failures).toEqual([]);
    expect(rows.at(-1)).toMatchObject({ name: 'all others together', percent: 90 });
  });

  test.each([
    [
      'exactly 90 % of a strict package',
      { '/r/packages/core/src/a.ts': lines(90) },
      /lines of core: 90.00 %/,
    ],
    [
      'too little of the rest',
      { '/r/packages/agent/src/a.ts': lines(100, 300) },
      /all others together: 42.50 %/,
    ],
    [
      'an unmeasured strict package',
      { '/r/packages/qos/src/a.ts': undefined },
      /no coverage measured for qos/,
    ],
  ])('refuses %s', (_, change, expected) => {
    const summary = Object.fromEntries(
      Object.entries({ ...good, ...change }).flatMap(([name, value]) =>
        value ? [[name, value]] : [],
      ),
    );
    expect(judgeCoverage(summary, '/r').failures.join('\n')).toMatch(expected);
  });
});

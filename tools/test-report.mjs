// Reads vitest's JSON report and v8's coverage summary and decides. Pure: no files, no processes.

/**
 * @typedef {object} TestCounts
 * @property {number} passed
 * @property {number} failed - failed tests, plus one for every file that broke before or between its tests
 * @property {number} skipped - skipped and todo tests
 * @property {string[]} empty - files in which no test ran
 */

/**
 * Counts tests by outcome.
 *
 * @param {{ testResults: readonly { name: string, status: string, assertionResults: readonly { status: string }[] }[] }} report
 * @returns {TestCounts}
 */
export function countTests(report) {
  const counts = { passed: 0, failed: 0, skipped: 0, empty: /** @type {string[]} */ ([]) };
  for (const file of report.testResults) {
    const of = (/** @type {string} */ status) =>
      file.assertionResults.filter((test) => test.status === status).length;
    const passed = of('passed');
    const failed = of('failed');
    counts.passed += passed;
    counts.failed += failed + (file.status === 'failed' && failed === 0 ? 1 : 0);
    counts.skipped += file.assertionResults.length - passed - failed;
    if (passed + failed === 0) counts.empty.push(file.name);
  }
  return counts;
}

/**
 * The one line that ends a test run.
 *
 * @param {Pick<TestCounts, 'passed' | 'failed' | 'skipped'>} counts
 */
export function formatCounts({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

/** Packages that must have more than 90 % of their lines covered each. */
export const STRICT_PACKAGES = ['core', 'fleet', 'scheduler', 'qos'];
const STRICT_PERCENT = 90;
/** All other packages together need this share of lines. */
const REST_PERCENT = 85;

/**
 * Line coverage per package and what falls short.
 *
 * @param {Record<string, { lines: { total: number, covered: number } }>} summary - v8's json-summary, by absolute file
 * @param {string} root - absolute path of the repository
 * @returns {{ rows: { name: string, percent: number, needed: string }[], failures: string[] }}
 */
export function judgeCoverage(summary, root) {
  const lines = new Map();
  for (const [file, { lines: found }] of Object.entries(summary)) {
    const [group, name] = file.startsWith(`${root}/`) ? file.slice(root.length + 1).split('/') : [];
    if (group !== 'packages' || !name) continue;
    const sum = lines.get(name) ?? { total: 0, covered: 0 };
    lines.set(name, { total: sum.total + found.total, covered: sum.covered + found.covered });
  }
  const rest = { total: 0, covered: 0 };
  for (const [name, sum] of lines) {
    if (STRICT_PACKAGES.includes(name)) continue;
    rest.total += sum.total;
    rest.covered += sum.covered;
  }
  const rows = [...lines]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([name, sum]) => ({
      name,
      percent: percentOf(sum),
      needed: STRICT_PACKAGES.includes(name) ? `> ${STRICT_PERCENT}` : '',
    }));
  rows.push({
    name: 'all others together',
    percent: percentOf(rest),
    needed: `>= ${REST_PERCENT}`,
  });
  const failures = [
    ...STRICT_PACKAGES.filter((name) => !lines.has(name)).map(
      (name) => `no coverage measured for ${name}`,
    ),
    ...rows
      .filter((row) => row.needed.startsWith('> ') && row.percent <= STRICT_PERCENT)
      .map(
        (row) => `lines of ${row.name}: ${row.percent.toFixed(2)} %, needed > ${STRICT_PERCENT} %`,
      ),
    ...(percentOf(rest) < REST_PERCENT
      ? [`lines of all others together: ${percentOf(rest).toFixed(2)} %, needed ${REST_PERCENT} %`]
      : []),
  ];
  return { rows, failures };
}

/** @param {{ total: number, covered: number }} lines */
function percentOf({ total, covered }) {
  return total === 0 ? 100 : (covered / total) * 100;
}

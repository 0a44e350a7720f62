#!/usr/bin/env node
// `npm test`: builds the packages (the end-to-end tests run the built command), runs every test and ends with one
// line, `N passed, N failed`. A test file in which no test ran fails the run. Other arguments go to vitest.
//
//   npm test [-- --coverage] [-- --no-build] [-- <vitest arguments>]
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buildQuietly, localBin, runCommand } from './run-command.mjs';
import { countTests, formatCounts, judgeCoverage } from './test-report.mjs';
import { readJson } from './workspaces.mjs';

const root = path.resolve(import.meta.dirname, '..');
const ownFlags = ['--coverage', '--no-build'];
const args = process.argv.slice(2);
const coverage = args.includes('--coverage');
const reports = mkdtempSync(path.join(tmpdir(), 'aim-gpu-test-'));
const reportFile = path.join(reports, 'tests.json');
const coverageFile = path.join(root, 'coverage/coverage-summary.json');

/** @type {string[]} */
const problems = [];
let counts = { passed: 0, failed: 0, skipped: 0, empty: /** @type {string[]} */ ([]) };

if (!args.includes('--no-build') && !(await buildQuietly())) {
  problems.push('the packages do not build');
} else {
  rmSync(path.join(root, 'coverage'), { recursive: true, force: true });
  const { code } = await runCommand(localBin('vitest'), [
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${reportFile}`,
    ...(coverage ? ['--coverage', '--coverage.reportOnFailure'] : []),
    ...args.filter((arg) => !ownFlags.includes(arg)),
  ]);
  if (existsSync(reportFile)) {
    counts = countTests(readJson(reportFile));
  } else {
    problems.push('vitest wrote no report');
  }
  problems.push(...counts.empty.map((file) => `no test ran in ${path.relative(root, file)}`));
  if (counts.passed + counts.failed === 0) problems.push('no test ran at all');
  if (code !== 0 && counts.failed === 0)
    problems.push(`vitest ended with exit code ${code}; see its output above`);
  if (coverage) problems.push(...reportCoverage());
}
rmSync(reports, { recursive: true, force: true });

/** Prints line coverage per package and returns what falls short. */
function reportCoverage() {
  if (!existsSync(coverageFile)) return ['vitest wrote no coverage'];
  const { rows, failures } = judgeCoverage(readJson(coverageFile), root);
  console.log('\nLine coverage, %');
  for (const { name, percent, needed } of rows) {
    console.log(`  ${name.padEnd(22)}${percent.toFixed(2).padStart(7)}  ${needed}`);
  }
  return failures;
}

for (const problem of problems) console.log(`FAILED: ${problem}`);
process.exitCode = problems.length === 0 && counts.failed === 0 ? 0 : 1;
console.log(formatCounts(counts));

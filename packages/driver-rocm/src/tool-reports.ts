/**
 * Asks amd-smi what sysfs does not tell (its version, profiles, processes) and what can be held against it (addresses,
 * modes). Owns where the tool is looked for, the commands, their bounds, and how a run that failed is said; what the
 * output means is the parser's.
 */
import type { CallOptions, Problem } from '@aim-gpu/core';
import { parseAmdSmi } from './amd-smi/parse-amd-smi.js';
import type { AmdSmiError, AmdSmiReport } from './amd-smi/report.js';
import type { CommandOutcome, CommandRunner } from './command-runner.js';
import type { FileTree } from './file-tree.js';
import { problem } from './problems.js';

/** What was run and what came of it. */
export interface ToolRun {
  readonly argv: readonly string[];
  readonly outcome: CommandOutcome;
  /** What it printed, read; null when it did not get to print. */
  readonly report: AmdSmiReport | null;
}

/** Everything the tool was asked. */
export interface ToolReports {
  /** Where the tool is; null when there is none. */
  readonly file: string | null;
  readonly version: string | null;
  readonly runs: readonly ToolRun[];
  readonly problems: readonly Problem[];
}

/** Where AMD's packages and the distributions put the tool, relative to the root. */
const PLACES: readonly string[] = ['usr/bin', 'opt/rocm/bin', 'usr/local/bin', 'bin'];
const SYSTEM_PLACES: readonly string[] = ['usr/sbin', 'sbin', ...PLACES];
/** Only reading commands. `partition` without root answers N/A, `process` opens devices for a moment. */
const QUESTIONS: readonly (readonly string[])[] = [
  ['version'],
  ['list', '--json'],
  ['partition', '--json'],
  ['process', '--json'],
];
// The program takes about a second to start (Python); 64 partitions and a busy host take their time.
const TIMEOUT_MS = 20_000;

/** Finds a program below the root by its name; null when there is none. */
export async function findProgram(
  tree: FileTree,
  root: string,
  name: string,
): Promise<string | null> {
  for (const place of SYSTEM_PLACES) {
    const file = `${place}/${name}`;
    if ((await tree.access(file)) !== null) return `${root === '/' ? '' : root}/${file}`;
  }
  return null;
}

/** Runs the reading commands one after another. Nothing throws but the signal. */
export async function askAmdSmi(
  options: CallOptions & {
    readonly tree: FileTree;
    readonly root: string;
    readonly commands: CommandRunner;
    readonly timeoutMs?: number;
  },
): Promise<ToolReports> {
  const { tree, root, commands, timeoutMs = TIMEOUT_MS, ...call } = options;
  const file = await findProgram(tree, root, 'amd-smi');
  if (file === null) {
    const message =
      'amd-smi is not installed: profiles and processes are known from the kernel only';
    return {
      file,
      version: null,
      runs: [],
      problems: [
        problem('TOOL_MISSING', message, PLACES.map((place) => `${place}/amd-smi`).join(' ')),
      ],
    };
  }
  const runs: ToolRun[] = [];
  const problems: Problem[] = [];
  for (const args of QUESTIONS) {
    const outcome = await commands.run({ file, args, timeoutMs, ...call });
    const report =
      outcome.kind === 'ended' ? parseAmdSmi(`${outcome.stdout}\n${outcome.stderr}`) : null;
    runs.push({ argv: ['amd-smi', ...args], outcome, report });
    problems.push(...problemsOf(['amd-smi', ...args].join(' '), outcome, report, timeoutMs));
    // What does not start or hangs once will do so again.
    if (outcome.kind !== 'ended') break;
  }
  const version = runs.map((run) => run.report?.version).find((entry) => entry != null) ?? null;
  return { file, version, runs, problems };
}

function problemsOf(
  where: string,
  outcome: CommandOutcome,
  report: AmdSmiReport | null,
  timeoutMs: number,
): readonly Problem[] {
  switch (outcome.kind) {
    case 'not-started':
      return [
        problem(
          outcome.reason === 'not-executable' ? 'TOOL_NOT_EXECUTABLE' : 'TOOL_NOT_STARTED',
          `the tool could not be started: ${outcome.message}`,
          where,
        ),
      ];
    case 'timed-out':
      return [
        problem(
          'TOOL_HANGS',
          `no end within ${timeoutMs} ms: it was killed and its output left`,
          where,
        ),
      ];
    case 'too-large':
      return [problem('TOOL_TOO_LARGE', 'it prints without end: killed, its output left', where)];
    case 'ended':
      return endProblems(where, outcome, report?.errors ?? []);
  }
}

/** What it says went wrong, whatever its exit code; else the exit code, when that alone says so. */
function endProblems(
  where: string,
  outcome: Extract<CommandOutcome, { kind: 'ended' }>,
  errors: readonly AmdSmiError[],
): readonly Problem[] {
  if (errors.length > 0) {
    return errors.map(({ status, name, message }) =>
      problem('TOOL_ERROR', `${name}${status === null ? '' : ` (${status})`}: ${message}`, where),
    );
  }
  if (outcome.exitCode === 0) return [];
  const words = outcome.stderr.trim().split('\n').at(-1)?.slice(0, 200) ?? '';
  const message = `it ended with exit code ${outcome.exitCode ?? 'none'}${words === '' ? '' : `: ${words}`}`;
  return [problem('TOOL_ERROR', message, where)];
}

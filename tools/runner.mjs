// What `npm run bench` and `npm run soak` share: finding the files, reading the arguments, printing.
// With `--json` stdout is exactly one JSON document, so console output of a bench goes to stderr.
import { readdirSync } from 'node:fs';
import { cpus } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { listWorkspaces } from './workspaces.mjs';

/** An answer to a wrong call; everything else that is thrown is the bench's own failure. */
export class UsageError extends Error {}

/**
 * Every `<workspace>/<kind>/<name>.<kind>.ts`, by name.
 *
 * @param {string} root
 * @param {'bench' | 'soak'} kind
 * @returns {Map<string, string>} name to absolute file
 */
export function discover(root, kind) {
  const suffix = `.${kind}.ts`;
  const found = new Map();
  for (const { directory, id } of listWorkspaces(root)) {
    if (id.startsWith('examples/')) continue;
    for (const file of listFolder(path.join(directory, kind))) {
      if (!file.endsWith(suffix)) continue;
      const name = file.slice(0, -suffix.length);
      if (found.has(name))
        throw new UsageError(`two files are named ${name}${suffix}; names have to be unique`);
      found.set(name, path.join(directory, kind, file));
    }
  }
  return new Map([...found].sort(([a], [b]) => a.localeCompare(b)));
}

/** @param {string} directory */
function listFolder(directory) {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/**
 * Splits `<name> --key value --flag` into its parts. Keys are not known here: each bench has its own.
 *
 * @param {readonly string[]} argv
 */
export function parseRunnerArguments(argv) {
  const { tokens } = parseArgs({
    args: [...argv],
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  /** @type {Record<string, string>} */
  const values = {};
  /** @type {string[]} */
  const positionals = [];
  let open;
  for (const token of tokens ?? []) {
    if (token.kind === 'option') {
      values[token.name] = token.value ?? 'true';
      open =
        token.value === undefined && !['json', 'full'].includes(token.name)
          ? token.name
          : undefined;
    } else if (token.kind === 'positional') {
      if (open !== undefined && positionals.length > 0) values[open] = token.value;
      else positionals.push(token.value);
      open = undefined;
    }
  }
  const { json, full, ...rest } = values;
  return { positionals, json: json !== undefined, full: full !== undefined, values: rest };
}

/** The machine as it stands in every report. */
export function describeMachine() {
  const list = cpus();
  return { cpu: list[0]?.model.trim() ?? 'unknown', cores: list.length, node: process.version };
}

/**
 * Runs one command line of a kind.
 *
 * @param {object} options
 * @param {string} options.root
 * @param {'bench' | 'soak'} options.kind
 * @param {readonly string[]} options.argv
 * @param {(parsed: ReturnType<typeof parseRunnerArguments>) => Record<string, unknown>} options.toOptions
 *   what a run is given besides `signal` and `log`; throws UsageError
 * @returns {Promise<number>} the exit code
 */
export async function runFromCommandLine({ root, kind, argv, toOptions }) {
  const parsed = parseRunnerArguments(argv);
  const print = console.log;
  console.log = console.error;
  console.info = console.error;
  try {
    const files = discover(root, kind);
    const [name, ...extra] = parsed.positionals;
    if (name === undefined || extra.length > 0) {
      throw new UsageError(`usage: npm run -s ${kind} -- list | <name> [options] [--json]`);
    }
    if (name === 'list') {
      await printList(files, kind, parsed.json, print);
      return 0;
    }
    const file = files.get(name);
    if (file === undefined) {
      throw new UsageError(
        `there is no ${kind} named ${name}; there are: ${[...files.keys()].join(', ') || 'none'}`,
      );
    }
    const controller = new AbortController();
    process.once('SIGINT', () => controller.abort());
    const subject = await load(file, kind);
    const started = process.hrtime.bigint();
    const report = await subject.run({
      ...toOptions(parsed),
      signal: controller.signal,
      log: (/** @type {string} */ line) => console.error(line),
    });
    const seconds = Number(process.hrtime.bigint() - started) / 1e9;
    const failures = report.failures ?? [];
    printReport({ kind, name, report, failures, json: parsed.json, seconds, print });
    return failures.length === 0 ? 0 : 1;
  } catch (error) {
    const isUsage = error instanceof UsageError;
    const message = error instanceof Error ? error.message : String(error);
    if (parsed.json) {
      print(
        JSON.stringify({
          error: {
            code: isUsage ? 'ERR_USAGE' : 'ERR_INVARIANT',
            kind: isUsage ? 'invalid' : 'internal',
            message,
          },
        }),
      );
    }
    console.error(isUsage ? message : error);
    return isUsage ? 2 : 70;
  }
}

/**
 * @param {string} file
 * @param {'bench' | 'soak'} kind
 */
async function load(file, kind) {
  const subject = (await import(pathToFileURL(file).href))[kind];
  const name = path.basename(file, `.${kind}.ts`);
  if (
    typeof subject?.run !== 'function' ||
    subject.name !== name ||
    typeof subject.summary !== 'string'
  ) {
    throw new Error(`${file} has to export ${kind} with the name ${name}, a summary and run()`);
  }
  return subject;
}

/**
 * @param {Map<string, string>} files
 * @param {'bench' | 'soak'} kind
 * @param {boolean} json
 * @param {(text: string) => void} print
 */
async function printList(files, kind, json, print) {
  const rows = [];
  for (const [name, file] of files) rows.push({ name, summary: (await load(file, kind)).summary });
  if (json) print(JSON.stringify({ [kind]: 'list', machine: describeMachine(), results: rows }));
  else for (const { name, summary } of rows) print(`${name.padEnd(28)} ${summary}`);
}

/**
 * @param {object} options
 * @param {'bench' | 'soak'} options.kind
 * @param {string} options.name
 * @param {{ results: readonly Record<string, unknown>[], text?: string }} options.report
 * @param {readonly string[]} options.failures
 * @param {boolean} options.json
 * @param {number} options.seconds
 * @param {(text: string) => void} options.print
 */
function printReport({ kind, name, report, failures, json, seconds, print }) {
  const machine = describeMachine();
  if (json) {
    print(JSON.stringify({ [kind]: name, machine, results: report.results }));
  } else {
    print(
      `${name} on ${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, ${seconds.toFixed(1)} s`,
    );
    print(report.text ?? formatTable(report.results));
  }
  for (const failure of failures) console.error(`FAILED: ${failure}`);
}

/**
 * Rows as aligned columns.
 *
 * @param {readonly Record<string, unknown>[]} rows
 */
export function formatTable(rows) {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = [columns, ...rows.map((row) => columns.map((column) => formatCell(row[column])))];
  const widths = columns.map((_, index) =>
    Math.max(...cells.map((row) => row[index]?.length ?? 0)),
  );
  return cells
    .map((row) =>
      row
        .map((cell, index) => cell.padEnd(widths[index] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** @param {unknown} value */
function formatCell(value) {
  if (value === undefined) return '';
  if (typeof value === 'number')
    return Number.isInteger(value) ? String(value) : value.toPrecision(4);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

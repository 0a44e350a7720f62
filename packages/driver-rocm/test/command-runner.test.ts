/**
 * Real programs within bounds, and what amd-smi can do to its caller: every end is a value, and nothing is left behind.
 */
import { chmodSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { nodeName, systemClock } from '@aim-gpu/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type CommandCall,
  createHostCommands,
  createHostFiles,
  examineHost,
} from '../src/index.js';
import { askAmdSmi } from '../src/tool-reports.js';
import { createTree, type TestTree, writeAmdSmi, writeProgram } from './support/trees.js';

let tree: TestTree;
beforeEach(() => {
  tree = createTree();
});
afterEach(() => tree.remove());

const commands = createHostCommands({ clock: systemClock });
const run = (script: string, call: Partial<CommandCall> = {}) => {
  writeProgram(tree, 'bin/tool', script);
  const file = path.join(tree.root, 'bin/tool');
  return commands.run({ file, args: [], timeoutMs: 20_000, ...call });
};
const ask = (timeoutMs = 20_000) =>
  askAmdSmi({ tree: createHostFiles(tree.root), root: tree.root, commands, timeoutMs });

describe('a program', () => {
  it('gets its arguments as they are, and gives output and exit code', async () => {
    const args = ['a b', '$(id)', '"; rm -rf /'];
    expect(await run('printf "%s|" "$@"; echo oops >&2; exit 3', { args })).toEqual({
      kind: 'ended',
      exitCode: 3,
      stdout: 'a b|$(id)|"; rm -rf /|',
      stderr: 'oops\n',
    });
  });

  it('reads the input it is given, and none else', async () => {
    expect(await run('cat', { input: 'y\n' })).toMatchObject({ stdout: 'y\n' });
    expect(await run('cat')).toMatchObject({ stdout: '' });
  });

  it('may end without reading its input', async () => {
    expect(await run('exit 0', { input: 'y'.repeat(1_000_000) })).toMatchObject({ exitCode: 0 });
  });

  it('that is missing, or may not be executed, is no exception', async () => {
    const file = path.join(tree.root, 'bin/none');
    expect(await commands.run({ file, args: [], timeoutMs: 1000 })).toMatchObject({
      kind: 'not-started',
      reason: 'missing',
    });
    tree.write('bin/none', '#!/bin/sh\n');
    chmodSync(file, 0o644);
    expect(await commands.run({ file, args: [], timeoutMs: 1000 })).toMatchObject({
      kind: 'not-started',
      reason: 'not-executable',
    });
  });

  it('that hangs is killed with all it started; what it printed is kept', async () => {
    const outcome = await run('sleep 600 & echo $!; sleep 600', { timeoutMs: 3000 });
    if (outcome.kind !== 'timed-out') throw new Error(`it ${outcome.kind}`);
    const pid = Number(outcome.stdout);
    expect(pid).toBeGreaterThan(1);
    const state = (): string | null => {
      try {
        return /\) (\w) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1] ?? null;
      } catch {
        return null;
      }
    };
    // Killed is gone, or a zombie that nobody has waited for yet.
    await expect.poll(state, { timeout: 10_000 }).toBeOneOf([null, 'Z']);
  });

  it('that prints 100 MB is killed at the bound', async () => {
    const outcome = await run('head -c 100000000 /dev/zero; sleep 600');
    expect(outcome.kind).toBe('too-large');
    expect('stdout' in outcome && outcome.stdout.length).toBe(16 * 2 ** 20);
  });

  it('is killed when the caller no longer wants it', async () => {
    const controller = new AbortController();
    const running = run('sleep 600', { signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(running).rejects.toThrowError('enough');
    await expect(run('exit 0', { signal: controller.signal })).rejects.toThrowError('enough');
  });
});

describe('amd-smi', () => {
  const BAD: readonly (readonly [string, () => void, string])[] = [
    ['missing', () => undefined, 'TOOL_MISSING'],
    ['hanging', () => writeProgram(tree, 'usr/bin/amd-smi', 'sleep 600'), 'TOOL_HANGS'],
    [
      'printing 100 MB',
      () => writeProgram(tree, 'usr/bin/amd-smi', 'head -c 100000000 /dev/zero'),
      'TOOL_TOO_LARGE',
    ],
    [
      'not executable',
      () => writeProgram(tree, 'usr/bin/amd-smi', 'exit 0', 0o644),
      'TOOL_NOT_EXECUTABLE',
    ],
    ['failing without a word', () => writeProgram(tree, 'usr/bin/amd-smi', 'exit 3'), 'TOOL_ERROR'],
    ['a directory', () => tree.write('usr/bin/amd-smi/x', ''), 'TOOL_NOT_EXECUTABLE'],
    [
      'failing with exit code 0',
      () =>
        writeProgram(
          tree,
          'usr/bin/amd-smi',
          'echo "AmdSmiPermissionDeniedException: needs elevation Error code: -11"',
        ),
      'TOOL_ERROR',
    ],
  ];

  it.each(BAD)('%s: a problem, asked once', async (name, make, code) => {
    make();
    const { problems, runs, version } = await ask(name === 'hanging' ? 300 : 20_000);
    expect(new Set(problems.map((problem) => problem.code))).toEqual(new Set([code]));
    expect(version).toBeNull();
    if (code !== 'TOOL_ERROR') expect(runs.length).toBeLessThanOrEqual(1);
    expect(problems.every((problem) => problem.where.includes('amd-smi'))).toBe(true);
  });

  it('of another root is not asked', async () => {
    expect((await ask()).file).toBeNull();
    writeAmdSmi(tree);
    expect(await ask()).toMatchObject({
      file: path.join(tree.root, 'usr/bin/amd-smi'),
      version: '26.0.2',
      problems: [],
    });
  });

  it('that hangs costs an examination its bound and no more', async () => {
    writeProgram(tree, 'usr/bin/amd-smi', 'sleep 600');
    const { findings } = await examineHost({
      node: nodeName('n'),
      files: createHostFiles(tree.root),
      root: tree.root,
      commands,
      toolTimeoutMs: 200,
    });
    expect(findings.map((finding) => finding.code)).toContain('TOOL_HANGS');
  });
});

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { createProcessLauncher } from '@aim-gpu/backends';
import { AimError, type Logger, systemClock, systemIds } from '@aim-gpu/core';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually, isAlive, pidsWith } from './poll.js';

const family = path.resolve(import.meta.dirname, '../fixtures/family.mjs');
const launchingProcess = path.resolve(import.meta.dirname, '../fixtures/launching-process.ts');
const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;

let words = 0;
const newWord = (): string => `aim-gpu-launcher-test-${process.pid}-${++words}`;

function makeLauncher(
  options: { logger?: Logger; passEnvironment?: string[]; maxOutputLines?: number } = {},
) {
  return createProcessLauncher({ clock: systemClock, ids: systemIds, ...options });
}

const quiet = { name: 'test-0', logFile: null };

async function pidsOf(output: () => readonly string[]): Promise<number[]> {
  const line = await eventually(
    'the fixture prints its process ids',
    () => output().find((text) => text.startsWith('pids ')) ?? null,
  );
  return line.split(' ').slice(1).map(Number);
}

const used: string[] = [];
afterEach(() => {
  for (const pid of used.splice(0).flatMap(pidsWith)) process.kill(pid, 'SIGKILL');
});

describe('what a launched process is', () => {
  it('leads a process group of its own and reports how it ended', async () => {
    const running = await makeLauncher().launch(
      { argv: ['sh', '-c', 'echo group $(cut -d" " -f5 /proc/self/stat); exit 7'], env: {} },
      quiet,
    );
    const exit = await running.exited;
    expect(exit).toMatchObject({ code: 7, signal: null });
    expect(running.lastOutput()).toEqual([`group ${running.pid}`]);
  });

  it('gets its arguments untouched, whatever a shell would make of them', async () => {
    const odd = ['$(id)', '; rm -rf /', 'a\'b"c', '', '*', 'a b', '-n', '\\'];
    const running = await makeLauncher().launch(
      {
        argv: [process.execPath, '-p', 'JSON.stringify(process.argv.slice(1))', '--', ...odd],
        env: {},
      },
      quiet,
    );
    await running.exited;
    expect(JSON.parse(running.lastOutput().join(''))).toEqual(odd);
  });

  it('inherits no open file but its three streams', async () => {
    const running = await makeLauncher().launch(
      { argv: ['sh', '-c', 'exec ls /proc/self/fd'], env: {} },
      quiet,
    );
    await running.exited;
    // What a plain child gets here (0, 1, 2, the directory ls opens, and whatever this process was itself given).
    const plain = execFileSync('ls', ['/proc/self/fd'], { encoding: 'utf8' }).trim().split('\n');
    expect(running.lastOutput()).toEqual(plain);
  });

  it('sees the variables of its command and of runtimes, and no others of the launching process', async () => {
    process.env['AIM_TEST_TENANT_KEY'] = 'sk-secret';
    process.env['HF_HOME'] = '/models';
    process.env['AIM_TEST_PASSED'] = 'yes';
    try {
      const running = await makeLauncher({ passEnvironment: ['AIM_TEST_PASSED'] }).launch(
        { argv: ['env'], env: { ROCR_VISIBLE_DEVICES: '3' } },
        quiet,
      );
      await running.exited;
      const seen = running.lastOutput();
      expect(seen).toContain('ROCR_VISIBLE_DEVICES=3');
      expect(seen).toContain('HF_HOME=/models');
      expect(seen).toContain('AIM_TEST_PASSED=yes');
      expect(seen.join('\n')).not.toContain('sk-secret');
    } finally {
      for (const name of ['AIM_TEST_TENANT_KEY', 'HF_HOME', 'AIM_TEST_PASSED'])
        delete process.env[name];
    }
  });
});

describe('output', () => {
  it('keeps the last lines only, with both streams and an unfinished line', async () => {
    const running = await makeLauncher({ maxOutputLines: 3 }).launch(
      {
        argv: ['sh', '-c', 'for i in 1 2 3 4; do echo line $i; done; sleep 0.2; printf half >&2'],
        env: {},
      },
      quiet,
    );
    await running.exited;
    expect(running.lastOutput()).toEqual(['line 3', 'line 4', 'half']);
  });

  it('appends everything to a log file that only its owner reads', async () => {
    const logFile = path.join(
      mkdtempSync(path.join(tmpdir(), 'aim-gpu-log-')),
      'deep',
      'engine.log',
    );
    for (const word of ['one', 'two']) {
      const running = await makeLauncher().launch(
        { argv: ['echo', word], env: {} },
        { name: 'x', logFile },
      );
      await running.exited;
    }
    expect(
      await eventually('the log', () => {
        const text = readFileSync(logFile, 'utf8');
        return text.includes('two') ? text : null;
      }),
    ).toBe('one\ntwo\n');
    expect(statSync(logFile).mode & 0o777).toBe(0o600);
  });

  it('tells the logger what was started, without secrets', async () => {
    const events: unknown[] = [];
    const take = (event: string, fields: unknown): void => void events.push({ event, fields });
    const logger = { debug: take, info: take, warn: take, error: take } as Logger;
    const running = await makeLauncher({ logger }).launch(
      {
        argv: ['echo', '--api-key', 'sk-1', '--hf-token=hf-2', '--max-tokens', '5'],
        env: { API_KEY: 'sk-3' },
      },
      quiet,
    );
    await running.exited;
    const text = JSON.stringify(events);
    expect(text).toContain('engine-started');
    expect(text).toContain('engine-exited');
    expect(text).toContain('"--max-tokens","5"');
    expect(text).not.toMatch(/sk-1|hf-2|sk-3/);
  });
});

describe('refusals', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-launch-'));
  const plain = path.join(directory, 'plain.txt');
  writeFileSync(plain, 'x', { mode: 0o644 });
  it.each([
    ['a program that is nowhere', ['no-such-engine-program'], null],
    ['a path that does not exist', ['/nowhere/vllm'], null],
    ['a directory', ['/tmp'], null],
    ['an empty command', [], null],
    ['a log file below a file', ['true'], path.join(plain, 'engine.log')],
  ])('%s', async (_, argv, logFile) => {
    const attempt = makeLauncher().launch({ argv, env: {} }, { name: 'x', logFile });
    await expect(attempt).rejects.toSatisfy((error) => AimError.is(error, 'ERR_LAUNCH_FAILED'));
  });

  it('an aborted signal', async () => {
    const attempt = makeLauncher().launch(
      { argv: ['true'], env: {} },
      { ...quiet, signal: AbortSignal.abort() },
    );
    await expect(attempt).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('stop', () => {
  it('lets an engine end by itself on SIGTERM, and may be called again', async () => {
    const running = await makeLauncher().launch(
      {
        argv: ['sh', '-c', 'trap "echo bye; exit 0" TERM; echo up; while :; do sleep 0.05; done'],
        env: {},
      },
      quiet,
    );
    await eventually('up', () => (running.lastOutput().includes('up') ? true : null));
    const [first, second] = await Promise.all([
      running.stop({ graceMs: 5000 }),
      running.stop({ graceMs: 0 }),
    ]);
    expect(first).toMatchObject({ code: 0, signal: null });
    expect(second).toBe(first);
    expect(await running.stop({ graceMs: 1 })).toBe(first);
    expect(running.lastOutput()).toContain('bye');
  });

  it('kills an engine that ignores SIGTERM, its child, and a child that left the group', async () => {
    const word = newWord();
    used.push(word);
    const running = await makeLauncher().launch(
      { argv: [process.execPath, family, word], env: {} },
      quiet,
    );
    const pids = await pidsOf(() => running.lastOutput());
    expect(pids.map(isAlive)).toEqual([true, true, true]);
    const exit = await running.stop({ graceMs: 100 });
    expect(exit).toMatchObject({ code: null, signal: 'SIGKILL' });
    // A killed child that left the group has given up its memory, and with it the mark it is found by, a moment before
    // the kernel calls it a zombie.
    await eventually('all three are gone', () => (pids.some(isAlive) ? null : true), 1000);
  });

  it('reports a crash only when the children of the engine are gone too', async () => {
    const word = newWord();
    used.push(word);
    const running = await makeLauncher().launch(
      { argv: [process.execPath, family, word], env: {} },
      quiet,
    );
    const pids = await pidsOf(() => running.lastOutput());
    process.kill(running.pid, 'SIGKILL');
    expect(await running.exited).toMatchObject({ signal: 'SIGKILL' });
    expect(pids.map(isAlive)).toEqual([false, false, false]);
    expect(await running.stop({ graceMs: 1000 })).toMatchObject({ signal: 'SIGKILL' });
  });

  it('leaves no guard behind', async () => {
    const running = await makeLauncher().launch({ argv: ['true'], env: {} }, quiet);
    await running.exited;
    const ours = pidsWith('aim-gpu-guard').filter(
      (pid) =>
        Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[1]) ===
        process.pid,
    );
    expect(ours).toEqual([]);
  });
});

describe('the launching process dies', () => {
  it.each(['SIGKILL', 'SIGTERM', 'SIGHUP'] as const)(
    'by %s: neither the engine nor its children outlive it by 5 s',
    async (signal) => {
      const word = newWord();
      used.push(word);
      const launching = spawn(
        process.execPath,
        ['--conditions=@aim-gpu/source', '--import', tsx, launchingProcess, family, word],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      let output = '';
      launching.stdout.on('data', (chunk) => {
        output += String(chunk);
      });
      const pids = await pidsOf(() =>
        output.split('\n').filter((line) => /^pids .*\d$/.test(line)),
      );
      expect(pids.map(isAlive)).toEqual([true, true, true]);
      launching.kill(signal);
      await eventually('everything is gone', () => (pids.some(isAlive) ? null : true), 5000);
      await eventually(
        'the guard is gone',
        () => (pidsWith(word).length === 0 ? true : null),
        5000,
      );
    },
    30_000,
  );

  it('a signal to the engine group does not reach the guard', async () => {
    const word = newWord();
    used.push(word);
    const running = await makeLauncher().launch(
      { argv: [process.execPath, family, word], env: {} },
      quiet,
    );
    const pids = await pidsOf(() => running.lastOutput());
    process.kill(-running.pid, 'SIGHUP');
    await running.exited;
    expect(pids.map(isAlive)).toEqual([false, false, false]);
  });
});

import { spawn } from 'node:child_process';
import {
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { createLastingLauncher } from '@aim-gpu/backends';
import { AimError, type ProcessMark, systemClock, systemIds } from '@aim-gpu/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually, isAlive, pidsWith } from './poll.js';

const family = path.resolve(import.meta.dirname, '../fixtures/family.mjs');
const launchingProcess = path.resolve(import.meta.dirname, '../fixtures/lasting-process.ts');
const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;

let directory: string;
let logFile: string;
let words = 0;
const used: string[] = [];
// Each run has its own: what one reclaims must not be another's.
const OWNER = `aim-gpu-lasting-test-${process.pid}`;
beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-lasting-'));
  logFile = path.join(directory, 'logs', 'engine.log');
});
afterEach(() => {
  for (const pid of used.splice(0).flatMap(pidsWith)) process.kill(pid, 'SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

function newWord(): string {
  words += 1;
  const word = `aim-gpu-lasting-test-${process.pid}-${words}`;
  used.push(word);
  return word;
}

const launcher = createLastingLauncher({ clock: systemClock, ids: systemIds, owner: OWNER });
const adopt = (mark: ProcessMark) => launcher.adopt?.(mark, { name: 'x', logFile }) ?? null;

/** Starts a launching process, waits until it prints what it was told to, and kills it. */
async function launchAndDie(when: 'run' | 'hold', argv: readonly string[]): Promise<ProcessMark> {
  const launching = spawn(
    process.execPath,
    [
      '--conditions=@aim-gpu/source',
      '--import',
      tsx,
      launchingProcess,
      OWNER,
      logFile,
      when,
      ...argv,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let output = '';
  launching.stdout.on('data', (chunk) => {
    output += String(chunk);
  });
  const last = when === 'run' ? 'running\n' : '}\n';
  await eventually('the launching process', () => (output.endsWith(last) ? true : null));
  const ended = new Promise((resolve) => launching.once('exit', resolve));
  launching.kill('SIGKILL');
  await ended;
  return JSON.parse(output.split('\n')[0] ?? '') as ProcessMark;
}

describe('a launching process that is killed', () => {
  it('leaves its engine running, which is adopted, says its last words and can be stopped', {
    timeout: 30_000,
  }, async () => {
    const word = newWord();
    const mark = await launchAndDie('run', [process.execPath, family, word]);
    expect(isAlive(mark.pid)).toBe(true);
    const running = await adopt(mark);
    expect(running?.pid).toBe(mark.pid);
    await eventually('its words', () =>
      running?.lastOutput().some((line) => line.startsWith('pids ')) ? true : null,
    );
    const exit = await running?.stop({ graceMs: 100 });
    expect(exit).toMatchObject({ code: null, signal: null });
    // The child and the one that left the group as well.
    await eventually('all are gone', () => (pidsWith(word).length === 0 ? true : null), 2000);
    expect(await adopt(mark)).toBeNull();
  });

  it('before the program was written down: the program never runs', {
    timeout: 30_000,
  }, async () => {
    const trace = path.join(directory, 'ran');
    const mark = await launchAndDie('hold', ['sh', '-c', `touch ${trace}`]);
    await eventually('the gate is gone', () => (isAlive(mark.pid) ? null : true));
    expect(() => statSync(trace)).toThrow();
  });
});

describe('adoption', () => {
  it('needs start time, boot, nonce and arguments, all of them', { timeout: 30_000 }, async () => {
    const running = await launcher.launch(
      { argv: ['sleep', '1000'], env: {} },
      { name: 'x', logFile },
    );
    const mark = running.mark?.() as ProcessMark;
    await eventually('it has passed its gate', async () => await adopt(mark));
    for (const wrong of [
      { startTicks: '1' },
      { startTicks: null },
      { bootId: 'another boot' },
      { bootId: null },
      { nonce: 'another launch' },
      { argvSha256: '00' },
      { pid: process.pid },
      { pid: 2 ** 22 },
    ] satisfies Partial<ProcessMark>[]) {
      expect([wrong, await adopt({ ...mark, ...wrong })]).toEqual([wrong, null]);
    }
    await running.stop({ graceMs: 1000 });
    expect(await adopt(mark)).toBeNull();
  });

  it('knows a script behind its interpreter', async () => {
    const script = path.join(directory, 'engine.sh');
    writeFileSync(script, '#!/bin/sh\nwhile :; do sleep 0.05; done\n', { mode: 0o755 });
    const running = await launcher.launch(
      { argv: [script, 'serve'], env: {} },
      { name: 'x', logFile },
    );
    const mark = running.mark?.() as ProcessMark;
    await eventually('it is what the script says', async () => await adopt(mark));
    await running.stop({ graceMs: 1000 });
  });

  it('follows a program that renames itself', async () => {
    const running = await launcher.launch(
      {
        argv: [process.execPath, '-e', "process.title='another name';setInterval(()=>{},9)"],
        env: {},
      },
      { name: 'x', logFile },
    );
    const first = running.mark?.() as ProcessMark;
    const renamed = await eventually('the new name', () => {
      const now = running.mark?.() as ProcessMark;
      return now.argvSha256 === first.argvSha256 ? null : now;
    });
    expect(await adopt(renamed)).not.toBeNull();
    await running.stop({ graceMs: 100 });
  });

  it('sees the end of a stopped process that was killed', async () => {
    const mark = await launchAndDie('run', ['sleep', '1000']);
    const running = await adopt(mark);
    process.kill(mark.pid, 'SIGSTOP');
    const exit = running?.stop({ graceMs: 50 });
    expect(await exit).toMatchObject({ code: null });
  }, 30_000);
});

describe('what nobody remembers', () => {
  it('is found by its owner and ended, but for what is kept', { timeout: 30_000 }, async () => {
    const word = newWord();
    const kept = await launchAndDie('run', ['sleep', '1000']);
    const lost = await launchAndDie('run', [process.execPath, family, word]);
    await eventually('all three', () => (pidsWith(word).length === 3 ? true : null));
    expect(await launcher.reclaim?.([kept])).toBe(1);
    await eventually('none is left', () => (pidsWith(word).length === 0 ? true : null), 2000);
    expect([isAlive(lost.pid), isAlive(kept.pid)]).toEqual([false, true]);
    expect(await launcher.reclaim?.([])).toBe(1);
    expect(isAlive(kept.pid)).toBe(false);
  });
});

describe('a process started here', () => {
  it('reports its exit code, and its words alone', async () => {
    const once = async (word: string) => {
      const running = await launcher.launch(
        { argv: ['sh', '-c', `echo ${word}; exit 3`], env: {} },
        { name: 'x', logFile },
      );
      expect(await running.exited).toMatchObject({ code: 3, signal: null });
      return running.lastOutput();
    };
    expect(await once('one')).toEqual(['one']);
    expect(await once('two')).toEqual(['two']);
    expect(readFileSync(logFile, 'utf8')).toBe('one\ntwo\n');
    expect(statSync(logFile).mode & 0o777).toBe(0o600);
  });

  it('never runs when it could not be written down', async () => {
    const trace = path.join(directory, 'ran');
    const attempt = launcher.launch(
      { argv: ['sh', '-c', `touch ${trace}`], env: {} },
      { name: 'x', logFile, beforeRun: () => Promise.reject(new Error('the disk is full')) },
    );
    await expect(attempt).rejects.toSatisfy((error) => AimError.is(error, 'ERR_LAUNCH_FAILED'));
    expect(() => statSync(trace)).toThrow();
  });

  it('serves on although its log is full', async () => {
    const full = path.join(directory, 'full.log');
    symlinkSync('/dev/full', full);
    const running = await launcher.launch(
      { argv: ['sh', '-c', 'echo lost 2>/dev/null; exit 5'], env: {} },
      { name: 'x', logFile: full },
    );
    expect(await running.exited).toMatchObject({ code: 5 });
  });

  it('puts a log aside that has grown large', async () => {
    await (await launcher.launch({ argv: ['true'], env: {} }, { name: 'x', logFile })).exited;
    truncateSync(logFile, 65 * 2 ** 20);
    await (await launcher.launch({ argv: ['echo', 'new'], env: {} }, { name: 'x', logFile }))
      .exited;
    expect(readFileSync(logFile, 'utf8')).toBe('new\n');
    expect(statSync(`${logFile}.1`).size).toBe(65 * 2 ** 20);
  });

  it.each([
    ['a program that is nowhere', ['no-such-engine-program'], () => logFile],
    ['a log file below a file', ['true'], () => path.join(launchingProcess, 'engine.log')],
  ])('is refused: %s', async (_, argv, log) => {
    const attempt = launcher.launch({ argv, env: {} }, { name: 'x', logFile: log() });
    await expect(attempt).rejects.toSatisfy((error) => AimError.is(error, 'ERR_LAUNCH_FAILED'));
  });

  it('is not started after an abort', async () => {
    const attempt = launcher.launch(
      { argv: ['true'], env: {} },
      { name: 'x', logFile: null, signal: AbortSignal.abort() },
    );
    await expect(attempt).rejects.toMatchObject({ name: 'AbortError' });
  });
});

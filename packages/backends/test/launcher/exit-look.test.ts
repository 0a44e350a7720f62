import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { ProcessMark } from '@aim-gpu/core';
import { createManualClock } from '@aim-gpu/core/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { createExitLook } from '../../src/launcher/exit-look.js';
import { markProcess } from '../../src/launcher/process-marks.js';
import { eventually } from './poll.js';

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

function start(): { readonly child: ChildProcess; readonly mark: ProcessMark } {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  children.push(child);
  return { child, mark: markProcess(child.pid ?? 0, 'nonce', ['sleep', '1000']) };
}

function kill(child: ChildProcess): Promise<unknown> {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  return gone;
}

function aLook() {
  const clock = createManualClock();
  const look = createExitLook({ clock });
  const gone: number[] = [];
  const watch = (mark: ProcessMark) => look.watch(mark, () => gone.push(mark.pid));
  return { clock, gone, watch };
}

describe('a look for ended processes', () => {
  it('sees each of them at its next look, with one timer for all, and none when nothing is left', async () => {
    const { clock, gone, watch } = aLook();
    const [first, second] = [start(), start()];
    watch(first.mark);
    await clock.advance(100);
    watch(second.mark);
    expect(clock.pending()).toBe(1);
    await clock.advance(2000);
    expect(gone).toEqual([]);
    await kill(first.child);
    await clock.advance(200);
    expect(gone).toEqual([first.mark.pid]);
    await kill(second.child);
    await clock.advance(200);
    expect(gone).toEqual([first.mark.pid, second.mark.pid]);
    expect(clock.pending()).toBe(0);
  });

  it('takes another process of the same pid for nobody, within 600 ms', async () => {
    const { clock, gone, watch } = aLook();
    const { mark } = start();
    watch({ ...mark, startTicks: '1' });
    await clock.advance(600);
    expect(gone).toEqual([mark.pid]);
  });

  it('takes a zombie for ended, within 600 ms', async () => {
    const { clock, gone, watch } = aLook();
    // A shell that never waits for its child.
    const parent = spawn('sh', ['-c', 'sleep 1000 & echo $!; exec sleep 1000'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    children.push(parent);
    const pid = await new Promise<number>((resolve) => {
      parent.stdout?.once('data', (text: Buffer) => resolve(Number(text)));
    });
    watch(markProcess(pid, 'nonce', []));
    process.kill(pid, 'SIGKILL');
    await eventually('it is a zombie', () =>
      readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ') ? true : null,
    );
    await clock.advance(600);
    expect(() => process.kill(pid, 0)).not.toThrow();
    expect(gone).toEqual([pid]);
  });

  it('forgets what it was told to', async () => {
    const { clock, gone, watch } = aLook();
    const { child, mark } = start();
    const forget = watch(mark);
    forget();
    expect(clock.pending()).toBe(0);
    watch(mark);
    await kill(child);
    await clock.advance(200);
    expect(gone).toEqual([mark.pid]);
  });
});

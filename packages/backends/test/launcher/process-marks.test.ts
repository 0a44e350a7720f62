/** Marks of a process that still stands at its gate, and of the program that it becomes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { GATE_SCRIPT } from '../../src/launcher/guard-script.js';
import { markProcess, refreshMark } from '../../src/launcher/process-marks.js';
import { eventually } from './poll.js';

it('keeps what it will run while it waits, and follows it when it renames itself', async () => {
  const argv = ['/bin/sleep', '1000'];
  const child = spawn('/bin/sh', ['-c', GATE_SCRIPT, 'gate', ...argv], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  try {
    await once(child, 'spawn');
    const pid = child.pid ?? 0;
    const mark = markProcess(pid, 'nonce', argv);
    const other = markProcess(pid, 'nonce', ['/bin/sleep', 'under another name']);
    expect(refreshMark(mark)).toEqual(mark);
    expect(refreshMark(other)).toEqual(other);
    (child.stdio[3] as NodeJS.WritableStream).write('go\n');
    await eventually('it runs what it was told', () =>
      refreshMark(other).argvSha256 === mark.argvSha256 ? true : null,
    );
    expect(refreshMark(mark)).toEqual(mark);
  } finally {
    child.kill('SIGKILL');
  }
});

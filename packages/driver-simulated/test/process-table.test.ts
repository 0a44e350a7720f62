import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { hostProcesses } from '../src/index.js';

describe('processes of this host', () => {
  it('have a start time while they live', async () => {
    expect(hostProcesses.startTime(process.pid)).toBe(hostProcesses.startTime(process.pid));
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    const pid = child.pid ?? 0;
    expect(hostProcesses.startTime(pid)).not.toBeNull();
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(hostProcesses.startTime(pid)).toBeNull();
  });
});

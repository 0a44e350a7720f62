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

  it('are told by signal 0 where there is no /proc', async () => {
    const platform = Object.getOwnPropertyDescriptor(process, 'platform');
    if (platform === undefined) throw new Error('a platform');
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    const pid = child.pid ?? 0;
    Object.defineProperty(process, 'platform', { ...platform, value: 'darwin' });
    try {
      expect(hostProcesses.startTime(pid)).toBe('');
      // Init belongs to root: without the right to signal it, it is alive all the same.
      expect(hostProcesses.startTime(1)).toBe('');
      child.kill('SIGKILL');
      await once(child, 'exit');
      expect(hostProcesses.startTime(pid)).toBeNull();
    } finally {
      Object.defineProperty(process, 'platform', platform);
      child.kill('SIGKILL');
    }
  });
});

import { type ChildProcess, spawn } from 'node:child_process';
import { createServer, type Server } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isHeldByStranger, isStopped } from '../src/process-facts.js';

let server: Server;
let port: number;
let child: ChildProcess;

beforeEach(async () => {
  server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  port = typeof address === 'object' && address !== null ? address.port : 0;
  child = spawn('sleep', ['60'], { detached: true, stdio: 'ignore' });
  await new Promise((resolve) => child.once('spawn', resolve));
});
afterEach(async () => {
  child.kill('SIGKILL');
  await new Promise((resolve) => server.close(resolve));
});

test('a port that the process itself listens on is its own', () => {
  expect(isHeldByStranger(process.pid, port)).toBe(false);
});

test('a port that another process listens on is a stranger’s', () => {
  expect(isHeldByStranger(child.pid ?? 0, port)).toBe(true);
});

test('a process that does not exist is no reason to believe', () => {
  expect(isHeldByStranger(2 ** 22 + 1, port)).toBe(true);
});

test('a descendant of the process listens for it', async () => {
  const script = `const s = require('node:net').createServer(); s.listen(0, '::1', () => console.log(s.address().port))`;
  const shell = spawn('sh', ['-c', '"$@"; true', 'sh', process.execPath, '-e', script], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const line = await new Promise<string>((resolve) =>
      shell.stdout.once('data', (chunk) => resolve(String(chunk))),
    );
    expect(isHeldByStranger(shell.pid ?? 0, Number(line))).toBe(false);
    expect(isHeldByStranger(child.pid ?? 0, Number(line))).toBe(true);
  } finally {
    process.kill(-(shell.pid ?? 0), 'SIGKILL');
  }
});

test('a port that nobody listens on accuses nobody', async () => {
  await new Promise((resolve) => server.close(resolve));
  expect(isHeldByStranger(child.pid ?? 0, port)).toBe(false);
  server = createServer().listen(0);
});

test('a process that was stopped stands still until it goes on', async () => {
  const pid = child.pid ?? 0;
  const becomes = async (stopped: boolean): Promise<void> => {
    while (isStopped(pid) !== stopped) await new Promise((resolve) => setImmediate(resolve));
  };
  expect(isStopped(pid)).toBe(false);
  child.kill('SIGSTOP');
  await becomes(true);
  child.kill('SIGCONT');
  await becomes(false);
  expect(isStopped(2 ** 22 + 1)).toBe(false);
});

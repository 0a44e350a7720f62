/**
 * What systemd is told and what it is given: words on a notify socket as systemd would hear them, and a unit that
 * systemd's own checker accepts. Skipped where systemd's programs, or python3 for the socket, are not installed.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { createManualClock, createRecordingLogger } from '@aim-gpu/core/testing';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createSystemdNotifier, systemdUnit } from '../src/systemd.js';

const has = (program: string): boolean =>
  spawnSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status === 0;

/** Datagrams of the unix kind, which node does not have: one line each. */
const LISTENER = `
import socket, sys, os
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("bound", flush=True)
while True:
    print(s.recv(4096).decode().replace("\\n", " "), flush=True)
`;

function temporaryDirectory(): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-systemd-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A notify socket; what arrives there. */
async function listen(): Promise<{ readonly socket: string; readonly heard: string[] }> {
  const socket = path.join(temporaryDirectory(), 'notify');
  const child: ChildProcess = spawn('python3', ['-c', LISTENER, socket], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const heard: string[] = [];
  if (child.stdout === null) throw new Error('no stdout');
  const lines = createInterface(child.stdout);
  await once(lines, 'line');
  lines.on('line', (line) => heard.push(line));
  return { socket, heard };
}

const PATH = process.env['PATH'] ?? '';
const DEADLINE = { timeout: 10_000, interval: 10 };

describe.skipIf(!has('systemd-notify') || !has('python3'))('a notify socket', () => {
  it('hears that the service is ready, and that it stops', async () => {
    const { socket, heard } = await listen();
    const env = { NOTIFY_SOCKET: socket, PATH };
    const notifier = createSystemdNotifier({ env, clock: createManualClock() });
    await notifier.ready();
    await expect.poll(() => heard.join('|'), DEADLINE).toContain('READY=1');
    await notifier.stopping();
    await expect.poll(() => heard.join('|'), DEADLINE).toContain('STOPPING=1');
  });

  it('hears at half the watchdog’s interval that it lives, while it is well', async () => {
    const { socket, heard } = await listen();
    const clock = createManualClock();
    const env = { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '30000000', PATH };
    const notifier = createSystemdNotifier({ env, clock });
    let well = true;
    const stop = notifier.watch(() => Promise.resolve(well));
    const beats = (): number => heard.filter((line) => line.includes('WATCHDOG=1')).length;
    await expect.poll(beats, DEADLINE).toBe(1);
    await expect.poll(() => clock.pending(), DEADLINE).toBe(1);
    await clock.advance(14_999);
    expect(beats()).toBe(1);
    await clock.advance(1);
    await expect.poll(beats, DEADLINE).toBe(2);
    // One that is not well says nothing, and is restarted.
    await expect.poll(() => clock.pending(), DEADLINE).toBe(1);
    well = false;
    await clock.advance(60_000);
    expect(beats()).toBe(2);
    stop();
    expect(clock.pending()).toBe(0);
  });

  it('that is not there any more is a warning, no end', async () => {
    const logger = createRecordingLogger();
    const env = { NOTIFY_SOCKET: path.join(temporaryDirectory(), 'gone'), PATH };
    const notifier = createSystemdNotifier({ env, clock: createManualClock(), logger });
    await notifier.ready();
    expect(logger.records).toMatchObject([{ level: 'warn', event: 'systemd-not-told' }]);
  });
});

describe('without systemd', () => {
  it('nothing is told', async () => {
    const logger = createRecordingLogger();
    const clock = createManualClock();
    const notifier = createSystemdNotifier({ env: {}, clock, logger });
    await notifier.ready();
    await notifier.stopping();
    notifier.watch(() => Promise.resolve(true))();
    expect(logger.records).toEqual([]);
    expect(clock.pending()).toBe(0);
  });
});

describe('the unit', () => {
  const unit = systemdUnit([process.execPath, '/opt/aim gpu/aim-gpu.mjs', 'agent']);

  it('is of a service that says when it is ready, whose engines are left alone', () => {
    expect(unit).toContain('Type=notify');
    expect(unit).toContain('WatchdogSec=30s');
    expect(unit).toContain('KillMode=process');
  });

  it.skipIf(!has('systemd-analyze'))('is accepted by systemd’s checker', () => {
    const file = path.join(temporaryDirectory(), 'aim-gpu.service');
    writeFileSync(file, unit);
    const said = execFileSync(
      'sh',
      ['-c', 'systemd-analyze verify --man=no "$1" 2>&1 || true', 'sh', file],
      {
        encoding: 'utf8',
      },
    );
    // It also speaks of other units of the host.
    expect(said.split('\n').filter((line) => line.includes('aim-gpu.service'))).toEqual([]);
  });
});

/**
 * A disk that is really full when a snapshot is due: a file system of 64 KiB in memory. Needs the right to mount one.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createFileStateStore } from '@aim-gpu/core/node';
import { createRecordingLogger } from '@aim-gpu/core/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type FakeEngine, startFakeEngine } from './support/fake-engine.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import { createHastyClock } from './support/hasty-clock.js';
import { until } from './support/until.js';

const SNAPSHOT_MS = 5_000;
const BODY = JSON.stringify({ model: 'chat', prompt: 'hello' });
const disk = mkdtempSync(path.join(tmpdir(), 'full-disk-'));

function mayMount(): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const isMounted = mayMount();
afterAll(() => {
  if (isMounted) execFileSync('umount', ['-l', disk]);
  rmSync(disk, { recursive: true, force: true });
});

/** Writes until there is no room; nothing of the file is kept back. */
function fill(): void {
  const file = path.join(disk, 'filler');
  for (let size = 1; ; size += 1) {
    try {
      writeFileSync(file, Buffer.alloc(4096), { flag: 'a' });
    } catch (error) {
      expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC');
      expect(size).toBeGreaterThan(1);
      return;
    }
  }
}

describe.skipIf(!isMounted)('a disk without room (skipped where no tmpfs may be mounted)', () => {
  let engine: FakeEngine;
  let bench: Bench;
  let logger: ReturnType<typeof createRecordingLogger>;
  const state = path.join(disk, 'state');
  const stored = () =>
    createFileStateStore({ directory: state }).snapshot<string>('gateway-qos').read();
  beforeAll(async () => {
    engine = await startFakeEngine();
  });
  afterEach(() => rmSync(path.join(disk, 'filler'), { force: true }));
  afterAll(() => engine.close());

  async function start(): Promise<void> {
    logger = createRecordingLogger();
    const clock = createHastyClock(SNAPSHOT_MS);
    const store = createFileStateStore({ directory: state, clock });
    bench = await startBench([aServedModel('chat')], { store, clock, logger });
    bench.directory.set('chat', [engine]);
  }
  const ask = async (): Promise<number> => {
    const response = await fetch(`${bench.url}/v1/completions`, { method: 'POST', body: BODY });
    await response.text();
    return response.status;
  };
  const failures = (): string[] =>
    logger.records
      .map((record) => JSON.stringify(record))
      .filter((text) => text.includes('"snapshot-failed"'));

  it('answers go on, the last good snapshot stays whole, and writing goes on when there is room', async () => {
    await start();
    await until(async () => (await stored()) !== null);
    fill();
    await until(() => failures().length > 2);
    expect(failures()[0]).toMatch(/ENOSPC|no space/i);
    const kept = await stored();
    for (let request = 0; request < 20; request += 1) expect(await ask()).toBe(200);
    expect(await stored()).toBe(kept);
    rmSync(path.join(disk, 'filler'));
    await until(async () => (await stored()) !== kept);
    // Failed writes leave no halves of files behind; one that is being written is there for a moment.
    await until(() => readdirSync(state).every((name) => !name.endsWith('.tmp')));
    fill();
    // Not even the last write at the end keeps it.
    await bench.close();
    expect(failures().length).toBeGreaterThan(3);
  });

  it('and one that was full from the start: it starts, and answers', async () => {
    rmSync(state, { recursive: true, force: true });
    fill();
    await start();
    expect(await ask()).toBe(200);
    await until(() => failures().length > 0);
    await bench.close();
    expect(await stored()).toBeNull();
  });
});

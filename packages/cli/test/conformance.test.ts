/** `aim-gpu conformance`: what it reports, and that it leaves the machine as it was. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import {
  type Clock,
  cardId,
  createRng,
  type EpochMs,
  hiveId,
  type MonoMs,
  nodeName,
  systemClock,
} from '@aim-gpu/core';
import { createMemoryStateStore } from '@aim-gpu/core/testing';
import { createSimulatedDriver } from '@aim-gpu/driver-simulated';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { conformance } from '../src/commands/conformance.js';
import { createContext } from '../src/context.js';
import { createFakeIo, type FakeIo } from './support/fake-io.js';

const CARD = cardId('0000:0c:00.0');
let io: FakeIo;
beforeEach(() => {
  io = createFakeIo();
});
afterEach(() => io.remove());

/** A tree of one MI300X, live until the test ends. */
async function createMachine() {
  const driver = createSimulatedDriver({
    node: nodeName('node-a'),
    cards: [{ id: CARD, product: 'MI300X', hive: hiveId('0x1') }],
    store: createMemoryStateStore(),
    clock: systemClock,
    rng: createRng(3),
    timing: 'short',
  });
  const tree = await driver.materialize(path.join(io.directory, 'tree'));
  return { driver, root: tree.directory };
}

describe('aim-gpu conformance', () => {
  it('only reads unless told otherwise, and writes a report', async () => {
    const { driver, root } = await createMachine();
    const context = createContext(io, {});
    const before = await driver.discover();
    expect(await conformance(context, { driver: 'rocm', root, out: 'report.md' })).toBe(0);
    expect((await driver.discover()).generation).toBe(before.generation);
    const report = readFileSync(path.join(io.directory, 'report.md'), 'utf8');
    expect(report).toContain('- 0000:0c:00.0 MI300X SPX/NPS1');
    expect(report).toContain('| sums | 1 | 0 | 8 |');
    expect(report).toContain('No case failed.');
    expect(report).toContain('Skipped because: it changes layouts: --destructive');
    await driver.close();
  });

  it('changes layouts when told to, and restores what was there', async () => {
    // Time passes a thousand times as fast as the host's.
    const start = systemClock.epochMs();
    const elapsed = (): number => (systemClock.epochMs() - start) * 1000;
    const clock: Clock = {
      epochMs: () => (start + elapsed()) as EpochMs,
      monoMs: () => elapsed() as MonoMs,
      sleep: (ms, options) => systemClock.sleep(ms / 1000, options),
      timer: (ms, callback) => systemClock.timer(ms / 1000, callback),
    };
    const context = { ...createContext(io, {}), clock, store: createMemoryStateStore() };
    const driver = createSimulatedDriver({
      node: nodeName('test-host'),
      cards: [{ id: CARD, product: 'MI300A', hive: hiveId('0x1') }],
      store: context.store,
      clock,
      rng: createRng(3),
      timing: 'short',
    });
    const { generation } = await driver.discover();
    await driver.setComputeMode(CARD, 'TPX', { expect: generation });
    expect(await conformance(context, { driver: 'simulated', destructive: true })).toBe(0);
    expect((await driver.discover()).cards[0]?.layout.compute).toBe('TPX');
    expect(io.out()).toMatch(/\| legal switch \| 9 \| 0 \| 0 \|/);
    await driver.close();
  });

  it('has nothing to hold the driver against on a host without cards', async () => {
    const context = createContext(io, {});
    await expect(
      conformance(context, { driver: 'rocm', root: io.directory }),
    ).rejects.toMatchObject({
      code: 'ERR_DEVICE_UNKNOWN',
      kind: 'missing',
    });
  });
});

/** Separate commands see one machine: two drivers over a state directory, with the host's own time and processes. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  createRng,
  gib,
  instanceId,
  nodeName,
  type StateStore,
  systemClock,
  workloadName,
} from '@aim-gpu/core';
import { createFileStateStore } from '@aim-gpu/core/node';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createSimulatedDriver, type SimulatedDriver } from '../src/index.js';
import { CARD, someSimulatedCards } from './simulated-machine.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'aim-gpu-simulated-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const open = (
  store: StateStore = createFileStateStore({ directory, clock: systemClock }),
): SimulatedDriver =>
  createSimulatedDriver({
    node: nodeName('node-a'),
    cards: someSimulatedCards(1),
    store,
    clock: systemClock,
    rng: createRng(5),
    timing: 'short',
  });

it('a process of one command blocks the switch of another, and memory is never oversold', async () => {
  const [first, second] = [open(), open()];
  const tenant = (replica: number) => ({
    instance: instanceId(workloadName('chat'), replica),
    pid: process.pid,
    card: CARD,
    partition: 0,
    memoryBytes: gib(60),
  });
  const attached = await Promise.allSettled(
    [first, second, first, second].map((driver, replica) =>
      driver.sharedDevice.attach(tenant(replica)),
    ),
  );
  expect(attached.filter((result) => result.status === 'fulfilled')).toHaveLength(3);
  const { generation } = await second.discover();
  const call = second.setComputeMode(CARD, 'DPX', { expect: generation });
  await expect(call).rejects.toMatchObject({ code: 'ERR_DEVICE_BUSY' });
  for (const result of attached) if (result.status === 'fulfilled') await result.value.release();
  await systemClock.sleep(300);
  const after = await second.setComputeMode(CARD, 'DPX', { expect: generation });
  expect(after.cards[0]?.partitions).toHaveLength(2);
  expect(await first.discover()).toEqual(after);
}, 20_000);

it('is read from disk when somebody has written, not at each look of a watch', async () => {
  const store = createFileStateStore({ directory, clock: systemClock });
  let reads = 0;
  const counting: StateStore = {
    ...store,
    snapshot: <T>(name: string) => {
      const inner = store.snapshot<T>(name);
      const read = (): Promise<T | null> => {
        reads += 1;
        return inner.read();
      };
      return { ...inner, read };
    },
  };
  const other = open();
  await other.reboot();
  const watching = open(counting);
  // Longer than two changes may have the same time.
  await systemClock.sleep(150);
  for (let look = 0; look < 10; look += 1) await watching.discover();
  expect(reads).toBe(1);
  const before = await watching.discover();
  const after = await other.reboot();
  expect(after.generation).not.toBe(before.generation);
  expect(await watching.discover()).toEqual(after);
});

it('a process that attaches again after its agent has gone holds its memory once', async () => {
  const tenant = {
    instance: instanceId(workloadName('chat'), 0),
    pid: process.pid,
    card: CARD,
    partition: 0,
    memoryBytes: gib(120),
  };
  const { memory } = await open().sharedDevice.attach(tenant);
  const next = open();
  const again = await next.sharedDevice.attach(tenant);
  expect(again.memory).toEqual(memory);
  expect(await next.holders(CARD)).toHaveLength(1);
  // Another one finds the rest, also when it has the same name.
  const refused = { code: 'ERR_DEVICE_MEMORY' };
  await expect(next.sharedDevice.attach(tenant)).rejects.toMatchObject(refused);
  const other = { ...tenant, instance: instanceId(workloadName('chat'), 1) };
  await expect(open().sharedDevice.attach(other)).rejects.toMatchObject(refused);
  await again.release();
  await (await open().sharedDevice.attach(other)).release();
});

import { bytes, gib, instanceId, workloadName } from '@aim-gpu/core';
import { describe, expect, it } from 'vitest';
import { type Bench, CARD, createBench } from './simulated-machine.js';

const tenant = (pid: number, partition: number, memory: number) => ({
  instance: instanceId(workloadName('chat'), pid),
  pid,
  card: CARD,
  partition,
  memoryBytes: gib(memory),
});

async function cpx(bench: Bench): Promise<void> {
  const { generation } = await bench.driver.discover();
  await bench.run(bench.driver.setComputeMode(CARD, 'CPX', { expect: generation }));
}

describe('memory', () => {
  it('is accounted by partition and refused when there is none left', async () => {
    const bench = createBench();
    await cpx(bench);
    const device = bench.driver.sharedDevice;
    const first = await device.attach(tenant(100, 0, 16));
    expect(first.memory).toEqual({ totalBytes: 25_767_706_624, freeBytes: 25_767_706_624 });
    await expect(device.attach(tenant(101, 0, 8))).rejects.toMatchObject({
      code: 'ERR_DEVICE_MEMORY',
      kind: 'exhausted',
      details: { totalBytes: 25_767_706_624, freeBytes: 25_767_706_624 - gib(16) },
    });
    const second = await device.attach(tenant(101, 1, 16));
    expect(second.memory.freeBytes).toBe(bytes(25_767_706_624));
    await first.release();
    await first.release();
    const third = await device.attach(tenant(102, 0, 20));
    expect(third.memory.freeBytes).toBe(bytes(25_767_706_624));
  });

  it('of a vanished process is free, also when its pid was taken by another', async () => {
    const bench = createBench();
    await bench.driver.sharedDevice.attach(tenant(100, 0, 180));
    bench.processes.alive.set(100, 'b');
    const next = await bench.driver.sharedDevice.attach(tenant(101, 0, 180));
    expect(next.memory.freeBytes).toBe(next.memory.totalBytes);
  });

  it('is refused on a partition that is not there', async () => {
    const bench = createBench();
    await expect(bench.driver.sharedDevice.attach(tenant(100, 1, 1))).rejects.toMatchObject({
      code: 'ERR_DEVICE_UNKNOWN',
    });
  });

  it('is never oversold by concurrent attaches from two processes', async () => {
    const bench = createBench();
    const other = bench.again().sharedDevice;
    const device = bench.driver.sharedDevice;
    const results = await bench.run(
      Promise.allSettled(
        [100, 101, 102].flatMap((pid) =>
          [device, other].map((one, replica) => {
            const instance = instanceId(workloadName('other'), replica);
            return one.attach({ ...tenant(pid, 0, 60), instance });
          }),
        ),
      ),
    );
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(3);
  });
});

describe('holders', () => {
  it.each([
    ['card', false],
    ['node', true],
  ] as const)('block a switch by scope %s', async (busyScope, blocksOthers) => {
    const { someSimulatedCards } = await import('./simulated-machine.js');
    const cards = someSimulatedCards(2);
    const other = cards[1]?.id ?? CARD;
    const bench = createBench({ cards, kernel: { busyScope } });
    const tenancy = await bench.driver.sharedDevice.attach(tenant(100, 0, 10));
    const { generation } = await bench.driver.discover();
    const call = bench.driver.setComputeMode(CARD, 'CPX', { expect: generation });
    await expect(call).rejects.toMatchObject({
      code: 'ERR_DEVICE_BUSY',
      details: {
        errno: 'EBUSY',
        machine: 'write error: Device or resource busy',
        holders: [{ pid: 100 }],
      },
    });
    expect((await bench.again().holders(CARD)).map((holder) => holder.pid)).toEqual([100]);
    expect(await bench.driver.holders(other)).toHaveLength(blocksOthers ? 1 : 0);
    await expect(bench.driver.reload({ expect: generation })).rejects.toMatchObject({
      code: 'ERR_DEVICE_BUSY',
      details: { machine: 'modprobe: FATAL: Module amdgpu is in use.' },
    });
    await tenancy.release();
    const lingering = bench.driver.setComputeMode(CARD, 'CPX', { expect: generation });
    await expect(lingering).rejects.toMatchObject({ code: 'ERR_DEVICE_BUSY' });
    await bench.clock.advance(300);
    const after = await bench.run(bench.driver.setComputeMode(CARD, 'CPX', { expect: generation }));
    expect(after.cards[0]?.layout.compute).toBe('CPX');
  });

  it('that vanished stop blocking after a moment, whoever looks', async () => {
    const bench = createBench();
    await bench.driver.hold({ card: CARD, pid: 100, command: 'exporter' });
    bench.processes.alive.delete(100);
    const { generation } = await bench.driver.discover();
    const first = bench.driver.setComputeMode(CARD, 'CPX', { expect: generation });
    await expect(first).rejects.toMatchObject({ code: 'ERR_DEVICE_BUSY' });
    await bench.clock.advance(300);
    const after = await bench.run(
      bench.again().setComputeMode(CARD, 'CPX', { expect: generation }),
    );
    expect(after.cards[0]?.layout.compute).toBe('CPX');
  });

  it('let go when their lease is released', async () => {
    const bench = createBench();
    const lease = await bench.driver.hold({ card: CARD, pid: 100, command: 'exporter' });
    expect(await bench.driver.holders(CARD)).toMatchObject([{ pid: 100, command: 'exporter' }]);
    await lease.release();
    await bench.clock.advance(300);
    expect(await bench.driver.holders(CARD)).toEqual([]);
  });

  it('are gone after a power cut, and their later release does no harm', async () => {
    const bench = createBench();
    const tenancy = await bench.driver.sharedDevice.attach(tenant(100, 0, 10));
    await bench.driver.reboot();
    expect(await bench.driver.holders(CARD)).toEqual([]);
    const fresh = await bench.driver.sharedDevice.attach(tenant(101, 0, 10));
    await tenancy.release();
    expect(await bench.driver.holders(CARD)).toMatchObject([{ pid: 101 }]);
    await fresh.release();
  });
});

describe('activity', () => {
  it('tells each tenant of its neighbours and fades', async () => {
    const bench = createBench();
    await cpx(bench);
    const device = bench.driver.sharedDevice;
    const first = await device.attach(tenant(100, 0, 4));
    const second = await device.attach(tenant(101, 0, 4));
    const third = await device.attach(tenant(102, 1, 4));
    second.report(0.7);
    third.report(3);
    expect(first.coTenants()).toEqual({ samePartition: [0.7], otherPartitions: [1] });
    first.report(-1);
    expect(third.coTenants()).toEqual({ samePartition: [], otherPartitions: [0.7] });
    await bench.clock.advance(2100);
    expect(first.coTenants()).toEqual({ samePartition: [0], otherPartitions: [0] });
    await second.release();
    expect(first.coTenants().samePartition).toEqual([]);
  });
});

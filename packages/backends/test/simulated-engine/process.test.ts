import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  createProcessLauncher,
  createSimulatedEngine,
  driveLoad,
  type SimulatedPartition,
} from '@aim-gpu/backends';
import {
  AimError,
  type Bytes,
  bytes,
  type CoTenantActivity,
  createLease,
  type DeviceTenant,
  type InstanceId,
  type RunningProcess,
  type SharedDevice,
  silentLogger,
  systemClock,
  systemIds,
} from '@aim-gpu/core';
import { serveSharedDevice } from '@aim-gpu/core/node';
import { findProduct } from '@aim-gpu/core/products';
import { aDemand } from '@aim-gpu/core/testing';
import { coTenantSlowdown, createStepModel, toPartitionSpeed } from '@aim-gpu/performance';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../launcher/poll.js';
import { anEnvelope, anEnvelopeShare, anInstanceSpec } from '../support/an-instance-spec.js';

const partition: SimulatedPartition = {
  product: 'MI300X',
  xcds: 4,
  layout: { compute: 'DPX', memory: 'NPS1' },
};
const PARTITION_BYTES = 96 * 2 ** 30;
const SHARE_BYTES = 40 * 2 ** 30;

/** A card with one partition that keeps books, as the simulated driver does. */
function createBookkeepingDevice() {
  const tenants = new Map<string, { tenant: DeviceTenant; busy: number }>();
  const device: SharedDevice = {
    attach: async (tenant) => {
      const used = [...tenants.values()].reduce((sum, other) => sum + other.tenant.memoryBytes, 0);
      const totalBytes = bytes(PARTITION_BYTES);
      const freeBytes = bytes(PARTITION_BYTES - used);
      if (tenant.memoryBytes > freeBytes) {
        throw new AimError({
          code: 'ERR_DEVICE_MEMORY',
          kind: 'exhausted',
          message: 'too little is free',
          details: { totalBytes, freeBytes },
        });
      }
      const entry = { tenant, busy: 0 };
      tenants.set(tenant.instance, entry);
      return {
        ...createLease(() => void tenants.delete(tenant.instance)),
        memory: { totalBytes, freeBytes },
        report: (busy) => {
          entry.busy = busy;
        },
        coTenants: (): CoTenantActivity => ({
          samePartition: [...tenants.values()]
            .filter((other) => other !== entry)
            .map(({ busy }) => busy),
          otherPartitions: [],
        }),
      };
    },
  };
  return { device, tenants };
}

const directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-engine-'));
const launcher = createProcessLauncher({ clock: systemClock, ids: systemIds });
const running: RunningProcess[] = [];
let sockets = 0;
let shared: ReturnType<typeof createBookkeepingDevice>;
let engine: ReturnType<typeof createSimulatedEngine>;
let stopServing: () => Promise<void>;

beforeEach(async () => {
  shared = createBookkeepingDevice();
  sockets += 1;
  const socketPath = path.join(directory, `device-${sockets}.sock`);
  const served = await serveSharedDevice({
    device: shared.device,
    socketPath,
    logger: silentLogger,
  });
  stopServing = () => served.release();
  engine = createSimulatedEngine({
    partitionOf: () => partition,
    sharedDeviceSocket: socketPath,
    startupMs: 50,
  });
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((process) => process.stop({ graceMs: 2000 })));
  await stopServing();
});

async function start(
  instance: string,
  memoryBytes: Bytes = bytes(SHARE_BYTES),
  takenPort: number | null = null,
) {
  const port = takenPort ?? (await freePort());
  const spec = anInstanceSpec({
    envelope: anEnvelope({
      shares: [anEnvelopeShare({ memoryBytes, partitionMemoryBytes: bytes(PARTITION_BYTES) })],
    }),
    port,
  });
  const command = engine.toCommand({ ...spec, instance: instance as InstanceId });
  const process = await launcher.launch(command, { name: instance, logFile: null });
  running.push(process);
  return { process, endpoint: { host: '127.0.0.1', port } };
}
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
async function ready(started: Awaited<ReturnType<typeof start>>) {
  await eventually(
    'the engine is ready',
    async () => ((await engine.isReady(started.endpoint)) ? true : null),
    15_000,
  );
  return started;
}

const product = findProduct('MI300X');
if (product === null) throw new Error('MI300X is not in the catalogue');
const model = createStepModel({
  step: aDemand().step,
  speed: toPartitionSpeed({ ...partition, product }),
});
const load = { model: 'chat', promptTokens: 200, clock: systemClock };

describe('the program', () => {
  it('starts, answers, takes its share, and gives it back when stopped', async () => {
    const started = await ready(await start('a-0'));
    expect([...shared.tenants.values()].map(({ tenant }) => tenant)).toMatchObject([
      {
        instance: 'a-0',
        pid: started.process.pid,
        card: '0000:0c:00.0',
        partition: 0,
        memoryBytes: SHARE_BYTES,
      },
    ]);
    const { summary } = await driveLoad({
      ...load,
      endpoint: started.endpoint,
      concurrency: 2,
      outputTokens: 5,
      requests: 4,
    });
    expect(summary).toMatchObject({ completed: 4, failed: 0 });
    expect(await engine.sample(started.endpoint)).toMatchObject({
      running: 0,
      generationTokensTotal: 20,
    });
    expect(await started.process.stop({ graceMs: 5000 })).toMatchObject({ code: 0 });
    await eventually('the memory is free', () => (shared.tenants.size === 0 ? true : null));
    expect(started.process.lastOutput().join('\n')).toContain('GPU KV cache size');
  }, 30_000);

  it('gives its share back when it is killed', async () => {
    const started = await ready(await start('a-0'));
    process.kill(started.process.pid, 'SIGKILL');
    await started.process.exited;
    await eventually('the memory is free', () => (shared.tenants.size === 0 ? true : null));
  }, 30_000);

  it.each([
    [
      'more than is free',
      PARTITION_BYTES + 2 ** 30,
      'ValueError: Free memory on device cuda:0 (96.00/96.00 GiB) on startup is less than desired GPU memory utilization (1.01, 97.00 GiB).',
      'started for 97.00 GiB',
    ],
    [
      'no room for KV',
      16 * 2 ** 30,
      'ValueError: No available memory for the cache blocks.',
      'no memory of the share',
    ],
    [
      'room for half a request',
      17.4 * 2 ** 30,
      'KV cache is needed, which is larger than the available KV cache memory',
      'of KV cache and the share leaves',
    ],
  ])(
    'exits with a real engine’s words: %s',
    async (_, memoryBytes, words, explained) => {
      const { process } = await start('a-0', bytes(Math.round(memoryBytes)));
      expect(await process.exited).toMatchObject({ code: 1 });
      const output = process.lastOutput();
      expect(output.join('\n')).toContain(words);
      expect(engine.explainExit(output)?.message).toContain(explained);
      await eventually('nothing is held', () => (shared.tenants.size === 0 ? true : null));
    },
    30_000,
  );

  it('exits when its port is taken', async () => {
    const first = await ready(await start('a-0'));
    const second = await start('a-1', bytes(SHARE_BYTES), first.endpoint.port);
    expect(await second.process.exited).toMatchObject({ code: 1 });
    expect(engine.explainExit(second.process.lastOutput())?.message).toContain('port');
    expect(await engine.isReady(first.endpoint)).toBe(true);
  }, 30_000);
});

describe('speed', () => {
  const OUTPUT = 300;
  const alone = model.decodeMs(1, load.promptTokens + OUTPUT / 2);

  it('alone is the model’s, within 2 %', async () => {
    const { endpoint } = await ready(await start('a-0'));
    const { timings, summary } = await driveLoad({
      ...load,
      endpoint,
      concurrency: 1,
      outputTokens: OUTPUT,
      requests: 2,
    });
    expect(timings.map(({ error, outputTokens }) => [error, outputTokens])).toEqual([
      [null, OUTPUT],
      [null, OUTPUT],
    ]);
    expect(Math.abs((summary.tpotMs?.p50 ?? 0) / alone - 1)).toBeLessThan(0.02);
    const ttft = model.frontEndMs + model.prefillMs(load.promptTokens);
    expect(summary.ttftMs?.p50).toBeGreaterThan(ttft - 2);
    expect(summary.ttftMs?.p50).toBeLessThan(ttft + 25);
  }, 30_000);

  it('beside a busy engine on the same partition is as slow as the model says', async () => {
    const [a, b] = await Promise.all([start('a-0').then(ready), start('b-0').then(ready)]);
    const controller = new AbortController();
    const noise = driveLoad({
      ...load,
      endpoint: b.endpoint,
      concurrency: 1,
      outputTokens: 4000,
      requests: 3,
      signal: controller.signal,
    }).catch(() => null);
    await eventually('the neighbour is busy', () =>
      (shared.tenants.get('b-0')?.busy ?? 0) > 0.95 ? true : null,
    );
    const { summary } = await driveLoad({
      ...load,
      endpoint: a.endpoint,
      concurrency: 1,
      outputTokens: OUTPUT,
      requests: 1,
    });
    controller.abort();
    await noise;
    const factor = coTenantSlowdown({
      activity: { samePartition: [1], otherPartitions: [] },
      memory: 'NPS1',
    });
    expect(factor).toBeGreaterThan(1.5);
    expect(Math.abs((summary.tpotMs?.mean ?? 0) / (alone * factor) - 1)).toBeLessThan(0.05);
  }, 30_000);

  it('a third engine that does not fit beside two is refused, and they go on', async () => {
    const [a] = await Promise.all([start('a-0').then(ready), start('b-0').then(ready)]);
    const third = await start('c-0');
    expect(await third.process.exited).toMatchObject({ code: 1 });
    expect(engine.explainExit(third.process.lastOutput())?.message).toContain(
      'has 16.00 of 96.00 GiB free',
    );
    expect(await engine.isReady(a.endpoint)).toBe(true);
  }, 30_000);
});

process.once('exit', () => rmSync(directory, { recursive: true, force: true }));

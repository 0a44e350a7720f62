import { once } from 'node:events';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  bytes,
  type Clock,
  cardId,
  type DeviceTenant,
  instanceId,
  type SharedDevice,
  systemClock,
  workloadName,
} from '../../src/index.js';
import { createSharedDeviceClient, serveSharedDevice } from '../../src/node/index.js';
import { createManualClock, createRecordingLogger } from '../../src/testing/index.js';
import { createFakeDevice, type FakeDevice } from './fake-device.js';
import { startProgram } from './start-program.js';
import { temporaryDirectory } from './temporary-directory.js';

const DEADLINE = { timeout: 5000, interval: 5 };

const tenant = (name: string, memoryBytes = 100): DeviceTenant => ({
  instance: instanceId(workloadName(name), 0),
  pid: process.pid,
  card: cardId('0000:0c:00.0'),
  partition: 0,
  memoryBytes: bytes(memoryBytes),
});

async function served(device: SharedDevice = createFakeDevice(), clock: Clock = systemClock) {
  const socketPath = join(temporaryDirectory(), 'device.sock');
  const logger = createRecordingLogger();
  const lease = await serveSharedDevice({ device, socketPath, logger, clock });
  onTestFinished(() => lease.release());
  const client = createSharedDeviceClient({ socketPath, clock: systemClock });
  return { socketPath, lease, client, logger };
}

/** Says something to the server as no client of ours would; resolves with everything it answered. */
function sayRaw(socketPath: string, text: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(socketPath);
    socket.on('data', (chunk) => {
      answer += chunk.toString();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(answer));
    socket.write(text);
  });
}

describe('a shared device over a socket', () => {
  it('answers an attach with the memory there was, and a release with its end', async () => {
    const device = createFakeDevice();
    const { client, socketPath } = await served(device);
    expect(statSync(socketPath).mode & 0o777).toBe(0o600);
    const first = await client.attach(tenant('a', 400));
    expect(first.memory).toEqual({ totalBytes: 1000, freeBytes: 1000 });
    const second = await client.attach(tenant('b', 100));
    expect(second.memory.freeBytes).toBe(600);
    await first.release();
    await first.release();
    expect(device.released).toEqual(['a-0']);
    expect((await client.attach(tenant('c', 900))).memory.freeBytes).toBe(900);
  });

  it('passes on what the device refuses', async () => {
    const { client } = await served();
    await expect(client.attach(tenant('a', 2000))).rejects.toMatchObject({
      code: 'ERR_DEVICE_MEMORY',
      kind: 'exhausted',
      details: { totalBytes: 1000, freeBytes: 1000 },
      hint: 'ask for less',
    });
  });

  it('tells tenants of each other without being asked', async () => {
    const { client } = await served();
    const first = await client.attach(tenant('a'));
    expect(first.coTenants()).toEqual({ samePartition: [], otherPartitions: [] });
    const second = await client.attach(tenant('b'));
    second.report(0.25);
    await expect.poll(() => first.coTenants().samePartition, DEADLINE).toEqual([0.25]);
    second.report(7);
    await expect.poll(() => first.coTenants().samePartition, DEADLINE).toEqual([1]);
    second.report(Number.NaN);
    await expect.poll(() => first.coTenants().samePartition, DEADLINE).toEqual([0]);
    await second.release();
    await expect.poll(() => first.coTenants().samePartition, DEADLINE).toEqual([]);
  });

  it('hears of a change in the device itself within an interval', async () => {
    const device = createFakeDevice();
    const { client } = await served(device);
    const first = await client.attach(tenant('a'));
    device.tenants.set(tenant('elsewhere'), 0.75);
    await expect.poll(() => first.coTenants().samePartition, DEADLINE).toEqual([0.75]);
  });

  it('is paced by its clock, and by nothing while nobody is attached', async () => {
    const device = createFakeDevice();
    const clock = createManualClock();
    const { client } = await served(device, clock);
    expect(clock.pending()).toBe(0);
    const first = await client.attach(tenant('a'));
    const second = await client.attach(tenant('b'));
    // The first push after the attaches, after which only the interval's timer is armed.
    await clock.advance(10);
    await expect.poll(() => first.coTenants().samePartition, DEADLINE).toEqual([0]);
    device.tenants.set(tenant('elsewhere'), 0.75);
    await clock.advance(99);
    // A whole exchange later nothing has come: the interval is not over.
    await client.attach(tenant('c')).then((third) => third.release());
    expect(first.coTenants().samePartition).toEqual([0]);
    await clock.advance(1);
    await expect.poll(() => first.coTenants().samePartition, DEADLINE).toEqual([0, 0.75]);
    await second.release();
    await first.release();
    await expect.poll(() => clock.pending(), DEADLINE).toBe(0);
  });

  it('says what has changed once, and nothing while nothing changes', async () => {
    const device = createFakeDevice();
    const clock = createManualClock();
    const { socketPath, lease } = await served(device, clock);
    const line = `${JSON.stringify({ type: 'attach', tenant: tenant('a') })}\n`;
    const answer = sayRaw(socketPath, line);
    await expect.poll(() => device.tenants.size, DEADLINE).toBe(1);
    await clock.advance(1000);
    device.tenants.set(tenant('elsewhere'), 0.75);
    await clock.advance(1000);
    await lease.release();
    const messages = (await answer).trimEnd().split('\n');
    expect(messages.map((message) => JSON.parse(message))).toEqual([
      { type: 'attached', memory: { totalBytes: 1000, freeBytes: 1000 } },
      { type: 'activity', activity: { samePartition: [], otherPartitions: [] } },
      { type: 'activity', activity: { samePartition: [0.75], otherPartitions: [] } },
    ]);
  });

  it('sends reports at most once an interval, and the newest of them', async () => {
    const device = createFakeDevice();
    const { socketPath } = await served(device);
    const clock = createManualClock();
    const tenancy = await createSharedDeviceClient({ socketPath, clock }).attach(tenant('a'));
    const busy = () => [...device.tenants.values()];
    for (const share of [0.1, 0.2, 0.3]) tenancy.report(share);
    await expect.poll(busy, DEADLINE).toEqual([0.1]);
    expect(clock.pending()).toBe(1);
    await clock.advance(100);
    await expect.poll(busy, DEADLINE).toEqual([0.3]);
    await clock.advance(100);
    expect(clock.pending()).toBe(0);
    tenancy.report(0.3);
    expect(clock.pending()).toBe(1);
    await tenancy.release();
    tenancy.report(0.9);
    expect(clock.pending()).toBe(0);
  });
});

describe('a tenant that vanishes', () => {
  it('is released when its process is killed', async () => {
    const device = createFakeDevice();
    const { client, socketPath } = await served(device);
    const first = await client.attach(tenant('a'));
    const other = startProgram('hold-device', [socketPath]);
    expect(await other.next()).toBe('attached');
    await expect.poll(() => first.coTenants().samePartition, DEADLINE).toEqual([0.5]);
    await other.kill();
    await expect.poll(() => device.released, DEADLINE).toEqual(['other-0']);
    await expect.poll(() => first.coTenants().samePartition, DEADLINE).toEqual([]);
  });

  it('is released when its process has nothing more to do', async () => {
    const device = createFakeDevice();
    const { socketPath } = await served(device);
    const other = startProgram('leave-device', [socketPath]);
    const ended = once(other.child, 'exit');
    expect(await other.next()).toBe('attached');
    expect(await ended).toEqual([0, null]);
    await expect.poll(() => device.released, DEADLINE).toEqual(['other-0']);
  });

  it('while the device is still deciding leaves nothing behind', async () => {
    let decide = (): void => undefined;
    const delay = new Promise<void>((resolve) => {
      decide = resolve;
    });
    const device = createFakeDevice();
    let asked: AbortSignal | undefined;
    // Decides late and does not listen to the signal: what it opened in vain must be released all the same.
    const slow: SharedDevice = {
      attach: async (one, call) => {
        asked ??= call?.signal;
        await delay;
        return device.attach(one);
      },
    };
    const { client } = await served(slow);
    const controller = new AbortController();
    const attaching = client.attach(tenant('a'), { signal: controller.signal });
    const reason = new Error('enough');
    const refused = expect(attaching).rejects.toBe(reason);
    await expect.poll(() => asked, DEADLINE).toBeDefined();
    controller.abort(reason);
    await refused;
    await expect.poll(() => asked?.aborted, DEADLINE).toBe(true);
    decide();
    await expect.poll(() => device.released, DEADLINE).toEqual(['a-0']);
    await expect(client.attach(tenant('b', 1000))).resolves.toBeDefined();
    expect([...device.tenants.keys()].map((one) => one.instance)).toEqual(['b-0']);
  });

  it('is not one whose caller aborts after it was attached', async () => {
    const device = createFakeDevice();
    const { client } = await served(device);
    const controller = new AbortController();
    const first = await client.attach(tenant('a'), { signal: controller.signal });
    controller.abort();
    const second = await client.attach(tenant('b'));
    second.report(0.5);
    await expect.poll(() => first.coTenants().samePartition, DEADLINE).toEqual([0.5]);
    expect(device.released).toEqual([]);
  });

  it('aborted before it began never connects', async () => {
    const client = createSharedDeviceClient({ socketPath: '/nowhere', clock: systemClock });
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(client.attach(tenant('a'), { signal })).rejects.toThrow('enough');
  });
});

describe('a device that vanishes', () => {
  it('is unreachable for those who come and no neighbour for those who were there', async () => {
    const { client, lease, socketPath } = await served();
    const tenancy = await client.attach(tenant('a'));
    const neighbour = await client.attach(tenant('b'));
    neighbour.report(0.5);
    await expect.poll(() => tenancy.coTenants().samePartition, DEADLINE).toEqual([0.5]);
    await lease.release();
    await lease.release();
    expect(existsSync(socketPath)).toBe(false);
    await expect.poll(() => tenancy.coTenants().samePartition, DEADLINE).toEqual([]);
    tenancy.report(0.5);
    await tenancy.release();
    await expect(client.attach(tenant('c'))).rejects.toMatchObject({
      code: 'ERR_DEVICE_UNREACHABLE',
      kind: 'unavailable',
      details: { socketPath },
    });
  });

  it('is attached to again when it is served again, with its neighbours', async () => {
    const { client, lease, socketPath } = await served();
    const [one, two] = await Promise.all(['a', 'b'].map((name) => client.attach(tenant(name))));
    await lease.release();
    const device = createFakeDevice();
    const again = await serveSharedDevice({ device, socketPath });
    onTestFinished(() => again.release());
    await expect.poll(() => device.tenants.size, DEADLINE).toBe(2);
    two?.report(0.5);
    await expect.poll(() => one?.coTenants().samePartition, DEADLINE).toEqual([0.5]);
    await one?.release();
    await two?.release();
    await expect.poll(() => device.tenants.size, DEADLINE).toBe(0);
  });

  it('hears what was reported while it was away', async () => {
    const { client, lease, socketPath } = await served();
    const [one, two] = await Promise.all(['a', 'b'].map((name) => client.attach(tenant(name))));
    await lease.release();
    two?.report(0.5);
    const again = await serveSharedDevice({ device: createFakeDevice(), socketPath });
    onTestFinished(() => again.release());
    await expect.poll(() => one?.coTenants().samePartition, DEADLINE).toEqual([0.5]);
    await one?.release();
    await two?.release();
  });

  it('and refuses its tenant is asked again until it has room', async () => {
    const { client, lease, socketPath } = await served();
    const tenancy = await client.attach(tenant('a'));
    await lease.release();
    const device = createFakeDevice();
    const first = await device.attach(tenant('squatter', 950));
    const again = await serveSharedDevice({ device, socketPath });
    onTestFinished(() => again.release());
    await expect.poll(() => device.refused, DEADLINE).toBeGreaterThan(0);
    expect(device.tenants.size).toBe(1);
    await first.release();
    await expect.poll(() => device.tenants.size, DEADLINE).toBe(1);
    await tenancy.release();
  });

  it('is not looked for after the release', async () => {
    const clock = createManualClock();
    const { lease, socketPath } = await served();
    const client = createSharedDeviceClient({ socketPath, clock });
    const tenancy = await client.attach(tenant('a'));
    await lease.release();
    await expect.poll(() => clock.pending(), DEADLINE).toBe(1);
    await tenancy.release();
    expect(clock.pending()).toBe(0);
  });

  it('releases every tenancy when it stops being served', async () => {
    const device = createFakeDevice();
    const { client, lease } = await served(device);
    await client.attach(tenant('a'));
    await client.attach(tenant('b'));
    await lease.release();
    expect(device.released.sort()).toEqual(['a-0', 'b-0']);
  });

  it('is not waited for without end', async () => {
    let asked = false;
    const never: SharedDevice = {
      attach: (_, call) =>
        new Promise((_resolve, reject) => {
          asked = true;
          call?.signal?.addEventListener('abort', () => reject(new Error('gone')));
        }),
    };
    const { socketPath, lease } = await served(never);
    const clock = createManualClock();
    const attaching = createSharedDeviceClient({ socketPath, clock }).attach(tenant('a'));
    const refused = expect(attaching).rejects.toMatchObject({ code: 'ERR_DEVICE_UNREACHABLE' });
    await expect.poll(() => asked, DEADLINE).toBe(true);
    await clock.advance(9999);
    expect(clock.pending()).toBe(1);
    await clock.advance(1);
    await refused;
    await lease.release();
  });

  it('holds up nobody’s release when it no longer answers', async () => {
    const socketPath = join(temporaryDirectory(), 'device.sock');
    const attached = '{"type":"attached","memory":{"totalBytes":1000,"freeBytes":1000}}\n';
    const server = createServer((socket) => void socket.on('data', () => {}).write(attached));
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    onTestFinished(() => void server.close());
    const clock = createManualClock();
    const tenancy = await createSharedDeviceClient({ socketPath, clock }).attach(tenant('a'));
    let isReleased = false;
    const released = tenancy.release().then(() => {
      isReleased = true;
    });
    await clock.advance(1999);
    expect(isReleased).toBe(false);
    await clock.advance(1);
    await released;
    tenancy.report(0.5);
    expect(clock.pending()).toBe(0);
  });

  it('keeps a tenant that cannot be released from blocking anybody', async () => {
    const device = createFakeDevice();
    const broken: SharedDevice = {
      attach: async (one, call) => ({
        ...(await device.attach(one, call)),
        release: () => Promise.reject(new Error('stuck')),
      }),
    };
    const { client, logger } = await served(broken);
    await (await client.attach(tenant('a'))).release();
    expect(logger.records).toContainEqual(
      expect.objectContaining({ level: 'error', event: 'device-tenant-stuck' }),
    );
  });
});

describe('a peer that does not speak the protocol', () => {
  const attach = (change: Readonly<Record<string, unknown>>): string =>
    `${JSON.stringify({ type: 'attach', tenant: { ...tenant('a'), ...change } })}\n`;

  it.each([
    ['no JSON', 'hello\n'],
    ['no object', '[1]\n'],
    ['no known type', '{"type":"detach"}\n'],
    ['a report before the attach', '{"type":"report","busy":0.5}\n'],
    ['a report of no share', '{"type":"report","busy":5}\n'],
    ['a second attach', attach({}) + attach({})],
    ['a card that is none', attach({ card: 'card0' })],
    ['memory that is no number', attach({ memoryBytes: '10' })],
    ['a partition below zero', attach({ partition: -1 })],
    ['half a partition', attach({ partition: 0.5 })],
    ['a tenant without a name', attach({ instance: null })],
    ['a line without end', 'x'.repeat(70_000)],
  ])('is refused with a reason: %s', async (_, text) => {
    const device = createFakeDevice();
    const { socketPath, logger, client } = await served(device);
    const answer = await sayRaw(socketPath, text);
    expect(answer).toContain('"type":"refused"');
    expect(answer).toContain('"kind":"invalid"');
    expect(logger.records).toContainEqual(
      expect.objectContaining({ event: 'device-tenant-refused' }),
    );
    expect((await client.attach(tenant('b', 1000))).memory.freeBytes).toBe(1000);
  });

  it.each([
    ['no known type', '{"type":"hello"}'],
    ['memory that is none', '{"type":"attached","memory":null}'],
    ['activity that is none', '{"type":"activity","activity":{"samePartition":1}}'],
    [
      'an error of no kind',
      '{"type":"refused","error":{"code":"E","kind":"odd","message":"","hint":null,"details":{}}}',
    ],
  ])('is refused by the client too: %s', async (_, line) => {
    const socketPath = join(temporaryDirectory(), 'device.sock');
    const server = createServer((socket) => void socket.end(`${line}\n`));
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    onTestFinished(() => void server.close());
    const client = createSharedDeviceClient({ socketPath, clock: systemClock });
    await expect(client.attach(tenant('a'))).rejects.toMatchObject({ code: 'ERR_PROTOCOL' });
  });
});

describe('the socket', () => {
  it('left by a dead server is replaced', async () => {
    const socketPath = join(temporaryDirectory(), 'device.sock');
    const dead = startProgram('serve-device', [socketPath]);
    expect(await dead.next()).toBe('serving');
    await expect(
      serveSharedDevice({ device: createFakeDevice(), socketPath }),
    ).rejects.toMatchObject({ code: 'ERR_DEVICE_SERVED', kind: 'conflict' });
    await dead.kill();
    expect(existsSync(socketPath)).toBe(true);
    const device: FakeDevice = createFakeDevice();
    const lease = await serveSharedDevice({ device, socketPath });
    const client = createSharedDeviceClient({ socketPath, clock: systemClock });
    await (await client.attach(tenant('a'))).release();
    await lease.release();
  });

  it('never replaces another kind of file', async () => {
    const socketPath = join(temporaryDirectory(), 'notes.txt');
    writeFileSync(socketPath, 'keep');
    await expect(
      serveSharedDevice({ device: createFakeDevice(), socketPath }),
    ).rejects.toMatchObject({ code: 'ERR_DEVICE_SERVED' });
    expect(existsSync(socketPath)).toBe(true);
  });

  it('with a path too long, or in no directory, is a coded error', async () => {
    const device = createFakeDevice();
    const long = join(temporaryDirectory(), 'x'.repeat(120));
    await expect(serveSharedDevice({ device, socketPath: long })).rejects.toMatchObject({
      code: 'ERR_SOCKET_PATH',
      kind: 'invalid',
    });
    const client = createSharedDeviceClient({ socketPath: long, clock: systemClock });
    await expect(client.attach(tenant('a'))).rejects.toMatchObject({ code: 'ERR_SOCKET_PATH' });
    const lost = join(temporaryDirectory(), 'no', 'device.sock');
    await expect(serveSharedDevice({ device, socketPath: lost })).rejects.toMatchObject({
      code: 'ERR_STATE_IO',
    });
  });
});

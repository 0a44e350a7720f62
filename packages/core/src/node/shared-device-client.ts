/**
 * A shared device served by another process, over a unix socket. Reports and the others' activity travel on their
 * own: an engine's loop calls `report` and `coTenants` at every step and never waits for the socket.
 */
import { connect, type Socket } from 'node:net';
import type { CallOptions } from '../abort.js';
import type { Clock } from '../clock.js';
import { AimError, fromErrorDocument } from '../errors.js';
import { createLineReader } from '../internal/json-lines.js';
import {
  type DeviceMessage,
  MAX_LINE_BYTES,
  PUSH_INTERVAL_MS,
  parseDeviceMessage,
  toLine,
} from '../internal/shared-device-protocol.js';
import { assertSocketPath } from '../internal/unix-socket.js';
import { createLease } from '../lease.js';
import type {
  CoTenantActivity,
  DeviceMemory,
  DeviceTenancy,
  DeviceTenant,
  SharedDevice,
} from '../shared-device.js';

/** What {@link createSharedDeviceClient} needs. */
export interface SharedDeviceClientOptions {
  readonly socketPath: string;
  /** Paces the reports. */
  readonly clock: Clock;
}

/** Time within which the device must answer; it only looks at its own books. */
const ANSWER_MS = 10_000;
/** How long a release waits for the device to say that the memory is free. */
const RELEASE_MS = 2000;
/** A device that does not read gets no further reports until it does. */
const MAX_UNREAD_BYTES = 64 * 1024;
/** Waits before a lost device is asked again: an agent that is restarted serves it again within a second. */
const RETRY_MS = { first: 250, longest: 2000 };

const NOBODY: CoTenantActivity = { samePartition: [], otherPartitions: [] };

/**
 * Makes the client's end of a shared device; nothing is connected until `attach`. Besides what the device answers,
 * `attach` throws `ERR_DEVICE_UNREACHABLE` (unavailable) when nobody serves the socket or no answer comes, and
 * `ERR_PROTOCOL` and `ERR_SOCKET_PATH` (invalid). A tenant whose device has gone goes on as if it had no neighbours, and
 * attaches again, as the same tenant, once the device is served and takes it. A tenancy that is held does not keep its
 * process alive; looking for a lost device does, until the tenancy is released.
 */
export function createSharedDeviceClient(options: SharedDeviceClientOptions): SharedDevice {
  const { socketPath, clock } = options;
  return {
    attach: async (tenant: DeviceTenant, call?: CallOptions): Promise<DeviceTenancy> => {
      assertSocketPath(socketPath);
      call?.signal?.throwIfAborted();
      const over = new AbortController();
      let coTenants = NOBODY;
      const open = (signal: AbortSignal | undefined): Promise<Link> =>
        openLink({ tenant, socketPath, clock, signal }, (activity) => {
          coTenants = activity;
        });
      let link = await open(call?.signal);
      const { memory } = link;
      const reports = createReports(() => link.socket, clock);
      const keepAttached = async (): Promise<void> => {
        while (!over.signal.aborted) {
          await link.lost;
          coTenants = NOBODY;
          link = await openAgain(() => open(over.signal), { clock, signal: over.signal });
          reports.again();
        }
      };
      // Its only failure is the release.
      void keepAttached().catch(() => undefined);
      return {
        ...createLease(async () => {
          over.abort();
          reports.stop();
          await askToRelease(link.socket, clock);
        }),
        memory,
        report: reports.report,
        coTenants: () => coTenants,
      };
    },
  };
}

/** One connection on which a tenant is attached. */
interface Link {
  readonly socket: Socket;
  readonly memory: DeviceMemory;
  /** Resolves when the connection has ended. */
  readonly lost: Promise<void>;
}

async function openLink(
  request: Omit<Parameters<typeof toAttached>[1], 'call'> & {
    readonly signal: AbortSignal | undefined;
  },
  onActivity: (activity: CoTenantActivity) => void,
): Promise<Link> {
  const { signal, ...rest } = request;
  const socket = connect(request.socketPath);
  const lost = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const call = signal === undefined ? undefined : { signal };
  const memory = await toAttached(socket, { ...rest, call }, onActivity);
  // A tenancy ends with its process; holding one is no reason for a process to go on.
  socket.unref();
  return { socket, memory, lost };
}

/** Attaches to a device that was lost, however long that takes. Throws the signal's reason. */
async function openAgain(
  open: () => Promise<Link>,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<Link> {
  for (let waitMs = RETRY_MS.first; ; waitMs = Math.min(RETRY_MS.longest, waitMs * 2)) {
    await clock.sleep(waitMs, { signal });
    try {
      return await open();
    } catch {
      // Nobody serves it yet, or it has no room for this tenant now.
      signal.throwIfAborted();
    }
  }
}

/** Asks to attach and waits for the answer; afterwards hands on what the device says of the others. */
function toAttached(
  socket: Socket,
  request: {
    readonly tenant: DeviceTenant;
    readonly socketPath: string;
    readonly clock: Clock;
    readonly call: CallOptions | undefined;
  },
  onActivity: (activity: CoTenantActivity) => void,
): Promise<DeviceMemory> {
  const { socketPath } = request;
  const signal = request.call?.signal;
  return new Promise((resolve, reject) => {
    const reader = createLineReader(MAX_LINE_BYTES);
    const stopWaiting = (): void => {
      cancel();
      signal?.removeEventListener('abort', onAbort);
    };
    const fail = (error: unknown): void => {
      stopWaiting();
      socket.destroy();
      reject(error);
    };
    const onAbort = (): void => fail(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const cancel = request.clock.timer(ANSWER_MS, () =>
      fail(unreachable(socketPath, 'no answer came')),
    );

    const hear = (message: DeviceMessage): void => {
      if (message.type === 'activity') onActivity(message.activity);
      else if (message.type === 'refused') fail(fromErrorDocument(message.error));
      else if (message.type === 'released') socket.destroy();
      else {
        stopWaiting();
        resolve(message.memory);
      }
    };
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const value of reader.push(chunk)) hear(parseDeviceMessage(value));
      } catch (error) {
        fail(error);
      }
    });
    // Both stay for the tenancy's life: a device that is lost later must not end the engine.
    socket.on('error', (cause) => fail(unreachable(socketPath, cause.message, cause)));
    socket.on('close', () => fail(unreachable(socketPath, 'the connection was closed')));
    socket.write(toLine({ type: 'attach', tenant: request.tenant }));
  });
}

function unreachable(socketPath: string, reason: string, cause?: unknown): AimError {
  return new AimError({
    code: 'ERR_DEVICE_UNREACHABLE',
    kind: 'unavailable',
    message: `the shared device on ${socketPath} cannot be reached: ${reason}`,
    details: { socketPath },
    hint: 'is the agent that serves it still running?',
    ...(cause === undefined ? {} : { cause }),
  });
}

interface Reports {
  report(busy: number): void;
  /** Says the newest once more, to a device that has heard none or lost it with a connection. */
  again(): void;
  stop(): void;
}

/** Sends the newest report at most once an interval; one in between replaces the one before. */
function createReports(current: () => Socket, clock: Clock): Reports {
  let stopped = false;
  let newest: number | null = null;
  let waiting: number | null = null;
  let cancel: (() => void) | null = null;
  const send = (busy: number): void => {
    const socket = current();
    if (socket.writable && socket.writableLength <= MAX_UNREAD_BYTES) {
      socket.write(toLine({ type: 'report', busy }));
    }
    cancel = clock.timer(PUSH_INTERVAL_MS, () => {
      cancel = null;
      const next = waiting;
      waiting = null;
      if (next !== null) send(next);
    });
  };
  const report = (busy: number): void => {
    if (stopped) return;
    newest = busy > 0 ? Math.min(1, busy) : 0;
    if (cancel === null) send(newest);
    else waiting = newest;
  };
  return {
    report,
    again: () => {
      if (newest !== null) report(newest);
    },
    stop: () => {
      stopped = true;
      cancel?.();
    },
  };
}

/** Resolves when the device has closed the connection, which it does once the memory is free, or is not heard of. */
function askToRelease(socket: Socket, clock: Clock): Promise<void> {
  if (socket.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const cancel = clock.timer(RELEASE_MS, () => void socket.destroy());
    socket.once('close', () => {
      cancel();
      resolve();
    });
    socket.write(toLine({ type: 'release' }));
  });
}

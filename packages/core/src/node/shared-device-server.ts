/**
 * Serves a shared device to other processes over a unix socket: one connection is one tenancy, and whatever ends the
 * connection (a release, an exit, kill -9) ends the tenancy. Tenants hear of each other's activity without asking.
 * Owns no device; which memory is free and who is busy is the device's answer.
 */
import { createServer, type Socket } from 'node:net';
import { type Clock, systemClock } from '../clock.js';
import { type AimError, toAimError, toErrorDocument } from '../errors.js';
import { createLineReader, protocolError } from '../internal/json-lines.js';
import {
  type DeviceMessage,
  MAX_LINE_BYTES,
  PUSH_INTERVAL_MS,
  parseTenantMessage,
  toLine,
} from '../internal/shared-device-protocol.js';
import { listenOnSocket } from '../internal/unix-socket.js';
import { createLease, type Lease } from '../lease.js';
import type { DeviceTenancy, DeviceTenant, SharedDevice } from '../shared-device.js';
import { type Logger, silentLogger } from '../telemetry.js';

/** What {@link serveSharedDevice} needs. */
export interface ServeSharedDeviceOptions {
  readonly device: SharedDevice;
  /** At most 107 bytes on Linux. A socket file that nobody answers any more is replaced. */
  readonly socketPath: string;
  readonly logger?: Logger;
  /** Paces the pushes of activity; the host's clock by default. */
  readonly clock?: Clock;
}

/** How soon after a tenant's report the others hear of it; many reports become one push. */
const REPORT_DELAY_MS = 10;
/** Between looks at a device on which nothing happens: reports are heard of at once, and what fades may fade late. */
const QUIET_INTERVAL_MS = 1000;
/** A tenant that does not read gets no further pushes until it does. */
const MAX_UNREAD_BYTES = 64 * 1024;

/**
 * Serves a device until the lease is released, which ends every tenancy. Throws `ERR_SOCKET_PATH` (invalid),
 * `ERR_DEVICE_SERVED` (conflict) and `ERR_STATE_IO` (unavailable, or denied without the rights).
 */
export async function serveSharedDevice(options: ServeSharedDeviceOptions): Promise<Lease> {
  const { device, socketPath } = options;
  const logger = options.logger ?? silentLogger;
  const clock = options.clock ?? systemClock;
  const connections = new Set<Connection>();
  let cancelPush: (() => void) | undefined;
  let pushDueMs = Number.POSITIVE_INFINITY;

  const pushWithin = (ms: number): void => {
    const dueMs = clock.monoMs() + ms;
    if (connections.size === 0 || pushDueMs <= dueMs) return;
    cancelPush?.();
    pushDueMs = dueMs;
    cancelPush = clock.timer(ms, () => {
      pushDueMs = Number.POSITIVE_INFINITY;
      const pushed = [...connections].filter((connection) => connection.push());
      pushWithin(pushed.length > 0 ? PUSH_INTERVAL_MS : QUIET_INTERVAL_MS);
    });
  };

  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const connection = openConnection({
      socket,
      device,
      logger,
      onActivity: () => pushWithin(REPORT_DELAY_MS),
    });
    connections.add(connection);
    pushWithin(PUSH_INTERVAL_MS);
    void connection.ended.then(() => {
      connections.delete(connection);
      if (connections.size > 0) return;
      cancelPush?.();
      pushDueMs = Number.POSITIVE_INFINITY;
    });
  });
  await listenOnSocket(server, socketPath);
  server.on('error', (error) => logger.error('device-socket-failed', { message: error.message }));

  return createLease(async () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const connection of connections) connection.close();
    await Promise.all([...connections].map((connection) => connection.ended));
    await closed;
  });
}

/** One tenant's connection. */
interface Connection {
  /** Tells the tenant of the others' activity; false when that has not changed. */
  push(): boolean;
  close(): void;
  /** Resolves when its tenancy is released and its socket is closed. Never rejects. */
  readonly ended: Promise<void>;
}

function openConnection(options: {
  readonly socket: Socket;
  readonly device: SharedDevice;
  readonly logger: Logger;
  readonly onActivity: () => void;
}): Connection {
  const { socket, device, logger, onActivity } = options;
  const reader = createLineReader(MAX_LINE_BYTES);
  const gone = new AbortController();
  let attaching: Promise<DeviceTenancy | null> | undefined;
  let tenancy: DeviceTenancy | null = null;
  let pushed = '';

  const say = (message: DeviceMessage): void => {
    if (socket.writable) socket.write(toLine(message));
  };
  const refuse = (error: AimError): void => {
    say({ type: 'refused', error: toErrorDocument(error) });
    gone.abort();
    socket.destroySoon();
  };
  const attach = async (tenant: DeviceTenant): Promise<DeviceTenancy | null> => {
    try {
      const opened = await device.attach(tenant, { signal: gone.signal });
      tenancy = opened;
      say({ type: 'attached', memory: opened.memory });
      push();
      onActivity();
      return opened;
    } catch (error) {
      refuse(toAimError(error));
      return null;
    }
  };
  const push = (): boolean => {
    if (tenancy === null || socket.writableLength > MAX_UNREAD_BYTES) return false;
    const activity = tenancy.coTenants();
    const text = JSON.stringify(activity);
    if (text === pushed) return false;
    pushed = text;
    say({ type: 'activity', activity });
    return true;
  };
  const hear = (value: unknown): void => {
    const message = parseTenantMessage(value);
    if (message.type === 'release') {
      void releaseOnce().then(() => {
        say({ type: 'released' });
        socket.destroySoon();
      });
      return;
    }
    if (message.type === 'attach') {
      if (attaching !== undefined) throw protocolError('a connection attaches once');
      attaching = attach(message.tenant);
      return;
    }
    if (tenancy === null) throw protocolError('a tenant reports after it is attached');
    tenancy.report(message.busy);
    onActivity();
  };
  const hearAll = (chunk: Buffer): void => {
    if (gone.signal.aborted) return;
    try {
      for (const value of reader.push(chunk)) hear(value);
    } catch (error) {
      logger.warn('device-tenant-refused', { message: toAimError(error).message });
      refuse(toAimError(error));
    }
  };
  let released: Promise<void> | undefined;
  const releaseOnce = (): Promise<void> => {
    released ??= release();
    return released;
  };
  const release = async (): Promise<void> => {
    gone.abort();
    const opened = await attaching;
    tenancy = null;
    try {
      await opened?.release();
      onActivity();
    } catch (error) {
      logger.error('device-tenant-stuck', { message: toAimError(error).message });
    }
  };
  const ended = new Promise<void>((resolve) => {
    socket.on('end', () => void releaseOnce().then(() => socket.end()));
    socket.on('close', () => void releaseOnce().then(resolve));
  });
  socket.on('data', hearAll);
  socket.on('error', (error) => logger.debug('device-tenant-lost', { message: error.message }));

  return {
    push,
    close: () => void socket.destroy(),
    ended,
  };
}

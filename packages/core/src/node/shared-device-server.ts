/**
 * The device's end of a shared device: serves any SharedDevice on a unix socket that only its owner may open. A dropped
 * connection releases its tenancy.
 */
import { chmodSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { type Clock, systemClock } from '../clock.js';
import { AimError, toAimError, toErrorDocument } from '../errors.js';
import { createLease, type Lease } from '../lease.js';
import type { DeviceTenancy, DeviceTenant, SharedDevice } from '../shared-device.js';
import { type Logger, silentLogger } from '../telemetry.js';
import { type ClientMessage, onMessages, send } from './shared-device-protocol.js';

/** Options of {@link serveSharedDevice}. */
export interface ServeSharedDeviceOptions {
  readonly device: SharedDevice;
  readonly socketPath: string;
  readonly logger?: Logger;
  readonly clock?: Clock;
}

/** How often a tenant is told what the others do. */
const ACTIVITY_MS = 100;

/**
 * Serves a device until the lease is released, which also ends every tenancy. A socket left by a dead server is
 * replaced; one that is answered throws `ERR_DEVICE_SERVED` (conflict).
 */
export async function serveSharedDevice(options: ServeSharedDeviceOptions): Promise<Lease> {
  const { socketPath } = options;
  if (await isAnswered(socketPath)) {
    throw new AimError({
      code: 'ERR_DEVICE_SERVED',
      kind: 'conflict',
      message: `another process serves a device on ${socketPath}`,
      hint: 'stop it, or use another state directory',
    });
  }
  await rm(socketPath, { force: true });
  const connections = new Set<Connection>();
  const server = createServer((socket) => {
    const connection = new Connection(socket, options, () => connections.delete(connection));
    connections.add(connection);
  });
  await listen(server, socketPath);
  return createLease(async () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    await Promise.all([...connections].map((connection) => connection.end()));
    await closed;
    await rm(socketPath, { force: true });
  });
}

/** One engine's connection. */
class Connection {
  private readonly socket: Socket;
  private readonly options: ServeSharedDeviceOptions;
  private tenancy: Promise<DeviceTenancy> | null = null;
  private stopTelling: () => void = () => undefined;

  constructor(socket: Socket, options: ServeSharedDeviceOptions, onClosed: () => void) {
    this.socket = socket;
    this.options = options;
    socket.on('error', (error) =>
      this.logger().warn('device-connection-error', { message: error.message }),
    );
    socket.once('close', () => {
      onClosed();
      void this.release();
    });
    onMessages<ClientMessage>(socket, (message) => this.receive(message));
  }

  async end(): Promise<void> {
    await this.release();
    this.socket.destroy();
  }

  private logger(): Logger {
    return this.options.logger ?? silentLogger;
  }

  private receive(message: ClientMessage): void {
    switch (message.type) {
      case 'attach':
        if (this.tenancy === null) void this.attach(message.tenant);
        break;
      case 'report':
        void this.tenancy?.then(
          (tenancy) => tenancy.report(Math.min(1, Math.max(0, Number(message.busy) || 0))),
          () => undefined,
        );
        break;
      case 'release':
        void this.release().then(() => send(this.socket, { type: 'released' }));
        break;
    }
  }

  private async attach(tenant: DeviceTenant): Promise<void> {
    this.tenancy = this.options.device.attach(tenant);
    try {
      const tenancy = await this.tenancy;
      // The engine may have gone while the device was looking.
      if (this.socket.destroyed) await tenancy.release();
      send(this.socket, { type: 'attached', memory: tenancy.memory });
      this.tell(tenancy);
    } catch (error) {
      send(this.socket, { type: 'refused', error: toErrorDocument(toAimError(error)) });
    }
  }

  private tell(tenancy: DeviceTenancy): void {
    if (this.socket.destroyed) return;
    send(this.socket, { type: 'activity', activity: tenancy.coTenants() });
    const clock = this.options.clock ?? systemClock;
    this.stopTelling = clock.timer(ACTIVITY_MS, () => this.tell(tenancy));
  }

  private async release(): Promise<void> {
    this.stopTelling();
    const tenancy = await this.tenancy?.catch(() => null);
    this.stopTelling();
    await tenancy?.release();
  }
}

function listen(server: Server, socketPath: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, () => {
      server.off('error', reject);
      chmodSync(socketPath, 0o600);
      resolve();
    });
  });
}

function isAnswered(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/**
 * The engine's end of a shared device: the SharedDevice port over a unix socket. The connection is the tenancy: when
 * this process is gone the device knows.
 */
import { connect, type Socket } from 'node:net';
import type { Clock } from '../clock.js';
import { AimError, fromErrorDocument } from '../errors.js';
import { createLease } from '../lease.js';
import type {
  CoTenantActivity,
  DeviceMemory,
  DeviceTenancy,
  DeviceTenant,
  SharedDevice,
} from '../shared-device.js';
import { onMessages, type ServerMessage, send } from './shared-device-protocol.js';

/** Options of {@link createSharedDeviceClient}. */
export interface SharedDeviceClientOptions {
  /** Where {@link serveSharedDevice} listens. */
  readonly socketPath: string;
  readonly clock: Clock;
}

/** Time within which the device must answer; it only looks at its own books. */
const ANSWER_MS = 10_000;
const RELEASE_MS = 1000;
const NOBODY: CoTenantActivity = { samePartition: [], otherPartitions: [] };

/**
 * Makes a client. `attach` throws as the port says, and `ERR_DEVICE_UNREACHABLE` (unavailable) when nobody serves the
 * socket or the answer does not come.
 */
export function createSharedDeviceClient(options: SharedDeviceClientOptions): SharedDevice {
  return {
    attach: async (tenant, { signal } = {}) => {
      signal?.throwIfAborted();
      const socket = connect(options.socketPath);
      const onAbort = (): void => void socket.destroy(signal?.reason);
      signal?.addEventListener('abort', onAbort, { once: true });
      try {
        return await openTenancy(socket, tenant, options);
      } catch (error) {
        socket.destroy();
        throw signal?.aborted ? signal.reason : error;
      } finally {
        signal?.removeEventListener('abort', onAbort);
      }
    },
  };
}

function openTenancy(
  socket: Socket,
  tenant: DeviceTenant,
  { clock, socketPath }: SharedDeviceClientOptions,
): Promise<DeviceTenancy> {
  return new Promise((resolve, reject) => {
    let activity = NOBODY;
    let onReleased: () => void = () => undefined;
    const fail = (cause?: unknown): void => reject(unreachable(socketPath, cause));
    const cancel = clock.timer(ANSWER_MS, () => fail(new Error('the device did not answer')));
    socket.once('error', fail);
    socket.once('close', () => {
      cancel();
      fail(new Error('the device closed the connection'));
      onReleased();
    });
    onMessages<ServerMessage>(socket, (message) => {
      switch (message.type) {
        case 'attached':
          cancel();
          // From here on a lost device must not end the engine: it goes on as if it had no neighbours.
          socket.on('error', () => undefined);
          resolve(toTenancy(message.memory));
          break;
        case 'refused':
          cancel();
          reject(fromErrorDocument(message.error));
          break;
        case 'activity':
          activity = message.activity;
          break;
        case 'released':
          onReleased();
          break;
      }
    });
    send(socket, { type: 'attach', tenant });

    const toTenancy = (memory: DeviceMemory): DeviceTenancy => {
      const lease = createLease(
        () =>
          new Promise<void>((done) => {
            const finish = (): void => {
              stopWaiting();
              socket.destroy();
              done();
            };
            const stopWaiting = clock.timer(RELEASE_MS, finish);
            onReleased = finish;
            if (socket.destroyed) finish();
            else send(socket, { type: 'release' });
          }),
      );
      return {
        ...lease,
        memory,
        report: (busy) => send(socket, { type: 'report', busy }),
        coTenants: () => (socket.destroyed ? NOBODY : activity),
      };
    };
  });
}

function unreachable(socketPath: string, cause: unknown): AimError {
  const reason = cause instanceof Error ? cause.message : 'unknown reason';
  return new AimError({
    code: 'ERR_DEVICE_UNREACHABLE',
    kind: 'unavailable',
    message: `the shared device on ${socketPath} cannot be reached: ${reason}`,
    hint: 'is the agent that serves it still running?',
    cause,
  });
}

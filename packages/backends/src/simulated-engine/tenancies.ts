/**
 * A simulated engine's hold on its partitions: taking memory, saying how busy it is, and what its neighbours cost.
 * Owns the translation between the SharedDevice port and the speed model's slowdown.
 */
import {
  AimError,
  type Bytes,
  bytes,
  type CallOptions,
  type CardId,
  type Clock,
  createLease,
  type DeviceTenancy,
  type InstanceId,
  type Lease,
  type SharedDevice,
} from '@aim-gpu/core';
import { coTenantSlowdown } from '@aim-gpu/performance';
import type { SimulatedEngineConfig } from './config.js';
import { tooLittleFree } from './kv-plan.js';

/** An engine that has its memory. */
export interface Tenancies extends Lease {
  /** Factor on the duration of a step that starts now, at least 1: the worst of the engine's partitions. */
  slowdown(): number;
  /** Starts reporting how much of the time `busyMs` grew. */
  watch(busyMs: () => number): void;
}

/** How often the busy share of the last interval is reported. */
const REPORT_INTERVAL_MS = 100;

/**
 * Takes the memory of every share. On refusal gives back what it took and throws `ERR_ENGINE_START` with vLLM's words
 * as message; passes on what else goes wrong with the device.
 */
export async function takeShares(
  config: SimulatedEngineConfig,
  options: CallOptions & {
    readonly device: SharedDevice | null;
    readonly clock: Clock;
    readonly pid: number;
  },
): Promise<Tenancies> {
  const { device, clock } = options;
  const held: DeviceTenancy[] = [];
  const giveBack = async (): Promise<void> => {
    await Promise.all(held.map((tenancy) => tenancy.release()));
  };
  try {
    for (const share of device === null ? [] : config.shares) {
      held.push(
        await (device as SharedDevice).attach(
          {
            instance: config.instance as InstanceId,
            pid: options.pid,
            card: share.card as CardId,
            partition: share.partition,
            memoryBytes: bytes(share.memoryBytes),
          },
          options.signal === undefined ? {} : { signal: options.signal },
        ),
      );
    }
  } catch (error) {
    await giveBack();
    throw toStartError(error, Math.max(...config.shares.map(({ memoryBytes }) => memoryBytes)));
  }

  let stopWatching = (): void => undefined;
  const lease = createLease(async () => {
    stopWatching();
    await giveBack();
  });
  return {
    ...lease,
    slowdown: () =>
      held.reduce(
        (worst, tenancy) =>
          Math.max(
            worst,
            coTenantSlowdown({
              activity: tenancy.coTenants(),
              memory: config.partition.layout.memory,
            }),
          ),
        1,
      ),
    watch: (busyMs) => {
      let lastAt = clock.monoMs() as number;
      let lastBusy = busyMs();
      let wasIdle = false;
      const report = (): void => {
        const now = clock.monoMs();
        const busy = busyMs();
        const share = now > lastAt ? (busy - lastBusy) / (now - lastAt) : 0;
        lastAt = now;
        lastBusy = busy;
        // One that reports nothing counts as idle: to say so once is enough.
        const idle = share <= 0;
        if (!(idle && wasIdle)) {
          for (const tenancy of held) tenancy.report(Math.min(1, Math.max(0, share)));
        }
        wasIdle = idle;
        stopWatching = clock.timer(REPORT_INTERVAL_MS, report);
      };
      stopWatching = clock.timer(REPORT_INTERVAL_MS, report);
    },
  };
}

function toStartError(error: unknown, wantedBytes: number): unknown {
  if (AimError.is(error, 'ERR_DEVICE_MEMORY')) {
    return startError(
      tooLittleFree({
        freeBytes: numberIn(error.details['freeBytes']),
        totalBytes: numberIn(error.details['totalBytes']),
        wantedBytes,
      }),
      error,
    );
  }
  // What PyTorch says when the visible devices name nothing.
  if (AimError.is(error, 'ERR_DEVICE_UNKNOWN')) {
    return startError('RuntimeError: No HIP GPUs are available', error);
  }
  return error;
}

function numberIn(value: unknown): Bytes {
  return bytes(typeof value === 'number' && value >= 0 ? Math.floor(value) : 0);
}

/** An engine that cannot start, with the words a real one would print. */
export function startError(message: string, cause?: unknown): AimError {
  return new AimError({
    code: 'ERR_ENGINE_START',
    kind: 'refused',
    message,
    ...(cause === undefined ? {} : { cause }),
  });
}

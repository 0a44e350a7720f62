/**
 * Starts a simulated engine inside the calling process: memory, KV blocks, server, readiness, in the order vLLM does
 * it. Owns that order; the program around it is main.ts.
 */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  type CallOptions,
  type Clock,
  createLease,
  type EndpointAddress,
  type IdSource,
  type Lease,
  type SharedDevice,
} from '@aim-gpu/core';
import type { SimulatedEngineConfig } from './config.js';
import { createEngineCore } from './engine-core.js';
import { createEngineServer } from './http-server.js';
import { planKvCache } from './kv-plan.js';
import { startError, takeShares } from './tenancies.js';

/** A running simulated engine; releasing it closes its server and gives back its memory. */
export interface SimulatedEngineHandle extends Lease {
  readonly address: EndpointAddress;
}

/** What {@link startSimulatedEngine} needs. */
export interface StartOptions extends CallOptions {
  readonly config: SimulatedEngineConfig;
  /** Null for a partition that nobody else uses. */
  readonly device: SharedDevice | null;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly pid: number;
  /** Takes the lines a real engine would log. */
  readonly print: (line: string) => void;
}

/**
 * Starts an engine that answers 503 until its start-up time is over. Throws `ERR_ENGINE_START` with the words of a
 * real engine as message when its share does not do or its port is in use.
 */
export async function startSimulatedEngine(options: StartOptions): Promise<SimulatedEngineHandle> {
  const { config, clock, ids, print } = options;
  const tenancies = await takeShares(config, options);
  try {
    const kv = planKvCache(config);
    if (!kv.ok) throw startError(kv.message);
    const core = createEngineCore({
      config,
      blocks: kv.blocks,
      slowdown: tenancies.slowdown,
      clock,
      ids,
    });
    print(`INFO GPU KV cache size: ${core.kvTokens.toLocaleString('en-US')} tokens`);
    let loaded = false;
    const server = createEngineServer({ config, core, isLoaded: () => loaded, clock, ids });
    const address = await listen(server, config);
    tenancies.watch(core.runner.busyMs);
    const cancelStart = clock.timer(config.startupMs, () => {
      loaded = true;
      print('INFO Application startup complete.');
    });
    print(`INFO ${config.instance} listens on http://${address.host}:${address.port}`);
    return {
      ...createLease(async () => {
        cancelStart();
        core.close();
        server.closeAllConnections();
        await new Promise<void>((resolve) => server.close(() => resolve()));
        await tenancies.release();
      }),
      address,
    };
  } catch (error) {
    await tenancies.release();
    throw error;
  }
}

function listen(server: Server, config: SimulatedEngineConfig): Promise<EndpointAddress> {
  const { host, port } = config;
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        error.code === 'EADDRINUSE'
          ? startError(
              `OSError: [Errno 98] error while attempting to bind on address ('${host}', ${port}): address already in use`,
              error,
            )
          : startError(`OSError: ${error.message}`, error),
      );
    });
    server.listen(port, host, () => {
      resolve({ host, port: (server.address() as AddressInfo).port });
    });
  });
}

/**
 * The program `simulated-engine`: reads its configuration from the environment, runs until it is told to stop. Owns
 * the process (streams, signals, exit code) and nothing else.
 */
import { AimError, systemClock as clock, systemIds as ids, type SharedDevice } from '@aim-gpu/core';
import { CONFIG_VARIABLE, parseSimulatedEngineConfig } from './config.js';
import { startSimulatedEngine } from './start.js';

// A log on a full disk, or a reader that went away, is no reason to stop serving.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

async function run(): Promise<void> {
  const config = parseSimulatedEngineConfig(process.env[CONFIG_VARIABLE] ?? '');
  const handle = await startSimulatedEngine({
    config,
    device: await connect(config.sharedDeviceSocket),
    clock,
    ids,
    pid: process.pid,
    print: (line) => process.stdout.write(`${line}\n`),
  });
  const stop = (): void => {
    void handle.release().finally(() => process.exit(0));
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}

async function connect(socketPath: string | null): Promise<SharedDevice | null> {
  if (socketPath === null) return null;
  const { createSharedDeviceClient } = await import('@aim-gpu/core/node');
  return createSharedDeviceClient({ socketPath, clock });
}

run().catch((error: unknown) => {
  const unexpected = error instanceof Error && !AimError.is(error);
  const text = unexpected ? error.stack : String((error as Error).message ?? error);
  process.stderr.write(`${text}\n`, () => process.exit(1));
});

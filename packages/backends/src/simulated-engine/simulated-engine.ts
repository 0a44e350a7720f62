/**
 * The simulated engine behind the ServingEngine port. Owns the translation of a launch into a configuration; speaks to
 * the running program through the same code as to vLLM.
 */
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import {
  AimError,
  type EnvelopeShare,
  type InstanceSpec,
  type LaunchCommand,
  type ServingEngine,
} from '@aim-gpu/core';
import { createVllmEngine } from '../vllm/vllm-engine.js';
import { CONFIG_VARIABLE, type SimulatedEngineConfig, type SimulatedPartition } from './config.js';

/** What {@link createSimulatedEngine} needs. */
export interface SimulatedEngineOptions {
  /** What the partition of a share is, from the inventory after its layout was set. */
  readonly partitionOf: (share: EnvelopeShare) => SimulatedPartition;
  /** Socket where the simulated device is served (`serveSharedDevice`); null runs without neighbours. */
  readonly sharedDeviceSocket: string | null;
  /** Time between start and readiness; 300 ms unless said otherwise. */
  readonly startupMs?: number;
}

/** Long enough to be seen as not ready once, short enough for tests. */
const DEFAULT_STARTUP_MS = 300;
/** The one engine argument that means something here beside prefix caching. */
const STARTUP_ARGUMENT = 'startup-ms';

/**
 * Makes the adapter for the simulated engine: a child process with vLLM's HTTP face whose speed, batching and memory
 * are those the speed model predicts for its partition. It takes vLLM's engine arguments, so that a fleet can be tried
 * without GPUs: they are checked alike and have no effect, but for `enable-prefix-caching`, and `startup-ms` of its
 * own. `toCommand` throws `ERR_CONFIG_INVALID` as vLLM's does.
 */
export function createSimulatedEngine(options: SimulatedEngineOptions): ServingEngine {
  const vllm = createVllmEngine();
  return {
    specVersion: 1,
    name: 'simulated',
    toCommand: (spec) => toSimulatedCommand(spec, options, vllm),
    isReady: vllm.isReady,
    sample: vllm.sample,
    explainExit: vllm.explainExit,
  };
}

function toSimulatedCommand(
  spec: InstanceSpec,
  options: SimulatedEngineOptions,
  vllm: ServingEngine,
): LaunchCommand {
  const { workload, demand, envelope } = spec;
  const { [STARTUP_ARGUMENT]: startup, ...args } = workload.engine.args;
  // Only for its refusals: what vLLM would not take is not taken here either.
  vllm.toCommand({
    ...spec,
    workload: { ...workload, quantization: 'auto', engine: { ...workload.engine, args } },
  });
  const first = envelope.shares[0];
  if (first === undefined) throw invalid(`${spec.instance} has no share`);
  const { weightsBytes, activationBytes, nonTorchBytes, graphBytes, contextBytes } = demand.memory;
  const config: SimulatedEngineConfig = {
    instance: spec.instance,
    host: spec.host,
    port: spec.port,
    modelNames: [workload.name, ...workload.aliases],
    adapterNames: workload.adapters.map(({ name }) => name),
    modelSource: workload.source,
    maxModelLen: demand.maxModelLen,
    maxNumSeqs: demand.maxNumSeqs,
    maxNumBatchedTokens: demand.maxNumBatchedTokens,
    step: demand.step,
    kv: demand.kv,
    memory: { weightsBytes, activationBytes, nonTorchBytes, graphBytes, contextBytes },
    partition: options.partitionOf(first),
    shares: envelope.shares.map(({ card, partition, memoryBytes }) => ({
      card,
      partition,
      memoryBytes,
    })),
    tensorParallel: workload.parallel.tensor,
    gpuMemoryUtilization: envelope.gpuMemoryUtilization,
    prefixCache: args['enable-prefix-caching'] !== false && !('no-enable-prefix-caching' in args),
    sharedDeviceSocket: options.sharedDeviceSocket,
    startupMs: toStartupMs(startup, options.startupMs ?? DEFAULT_STARTUP_MS),
  };
  return {
    argv: simulatedEngineProgram(),
    env: { ...envelope.env, [CONFIG_VARIABLE]: JSON.stringify(config) },
  };
}

function toStartupMs(value: unknown, otherwise: number): number {
  if (value === undefined) return otherwise;
  if (typeof value === 'number' && value >= 0 && value < 2 ** 31) return value;
  throw invalid(`engine argument ${STARTUP_ARGUMENT} must be milliseconds, a number of at least 0`);
}

/**
 * The command line of the program that belongs to this very copy of the package: built beside the built library, and
 * from source, through tsx, when the library itself runs from source.
 */
function simulatedEngineProgram(): readonly string[] {
  const here = fileURLToPath(import.meta.url);
  if (!here.endsWith('.ts')) {
    return [process.execPath, path.join(path.dirname(here), 'simulated-engine.js')];
  }
  const tsx = pathToFileURL(createRequire(here).resolve('tsx')).href;
  const main = path.join(path.dirname(here), 'main.ts');
  return [process.execPath, '--conditions=@aim-gpu/source', '--import', tsx, main];
}

function invalid(message: string): AimError {
  return new AimError({ code: 'ERR_CONFIG_INVALID', kind: 'invalid', message });
}

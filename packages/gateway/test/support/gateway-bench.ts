/**
 * A gateway over fake engines, with a directory that a test writes and metrics that it reads.
 */
import {
  AimError,
  type Band,
  cardId,
  createSequentialIds,
  type Endpoint,
  type EndpointDirectory,
  type InstanceId,
  nodeName,
  type ServedModel,
  silentLogger,
  systemClock,
  type Tenant,
  type TenantLimits,
  type WorkloadName,
  workloadName,
} from '@aim-gpu/core';
import { createRecordingMetrics, type RecordingMetrics } from '@aim-gpu/core/testing';
import OpenAI from 'openai';
import {
  createGateway,
  type Gateway,
  type GatewayOptions,
  type ResolvedTenants,
  resolveTenants,
} from '../../src/index.js';
import type { FakeEngine } from './fake-engine.js';

/** A directory under a test's control. */
export interface TestDirectory extends EndpointDirectory {
  set(
    model: string,
    engines: readonly Pick<FakeEngine, 'address'>[],
    /** Of all of them, or of each. */
    state?: Endpoint['state'] | readonly Endpoint['state'][],
    capacity?: Partial<Pick<Endpoint, 'maxNumSeqs'>>,
  ): void;
}

/** Makes a directory of models; none of them has an endpoint. */
export function createDirectory(models: readonly ServedModel[]): TestDirectory {
  const endpoints = new Map<string, readonly Endpoint[]>();
  const listeners = new Set<() => void>();
  return {
    models: () => models,
    endpoints: (workload) => endpoints.get(workload) ?? [],
    request: (workload, { signal } = {}) =>
      new Promise((resolve, reject) => {
        const onChange = (): void => {
          if ((endpoints.get(workload) ?? []).some((each) => each.state === 'ready')) resolve();
        };
        listeners.add(onChange);
        signal?.addEventListener('abort', () =>
          reject(
            new AimError({
              code: 'ERR_MODEL_UNAVAILABLE',
              kind: 'unavailable',
              message: 'not ready',
            }),
          ),
        );
      }),
    subscribe: (onChange) => {
      listeners.add(onChange);
      return () => void listeners.delete(onChange);
    },
    set: (model, engines, state = 'ready', { maxNumSeqs = 4 } = {}) => {
      endpoints.set(
        model,
        engines.map((engine, index) => ({
          instance: `${model}-${index}` as InstanceId,
          workload: workloadName(model),
          address: engine.address,
          node: nodeName('node0'),
          card: cardId('0000:0c:00.0'),
          partition: index,
          state: typeof state === 'string' ? state : (state[index] ?? 'ready'),
          maxNumSeqs,
          kvCapacityTokens: 100_000,
        })),
      );
      for (const listener of [...listeners]) listener();
    },
  };
}

/** A served model in few words. */
export function aServedModel(
  name: string,
  overrides: {
    band?: Band;
    aliases?: string[];
    adapters?: string[];
    fallback?: string;
    parked?: boolean;
    limits?: TenantLimits;
  } = {},
): ServedModel {
  return {
    workload: workloadName(name),
    aliases: overrides.aliases ?? [],
    adapters: overrides.adapters ?? [],
    band: overrides.band ?? 'standard',
    fallback: overrides.fallback === undefined ? null : (overrides.fallback as WorkloadName),
    maxModelLen: 4096,
    parked: overrides.parked ?? false,
    ...(overrides.limits === undefined ? {} : { limits: overrides.limits }),
  };
}

/** A running gateway with what belongs to it. */
export interface Bench {
  readonly gateway: Gateway;
  readonly directory: TestDirectory;
  readonly metrics: RecordingMetrics;
  readonly url: string;
  readonly adminUrl: string;
  client(key?: string): OpenAI;
  close(): Promise<void>;
}

/** Starts a gateway on free ports. */
export async function startBench(
  models: readonly ServedModel[],
  options: {
    readonly tenants?: readonly Tenant[];
    readonly env?: Record<string, string>;
    /** Instead of the two above. */
    readonly resolved?: ResolvedTenants;
  } & Partial<Omit<GatewayOptions, 'tenants'>> = {},
): Promise<Bench> {
  const { tenants = [], env = {}, resolved, ...rest } = options;
  const directory = createDirectory(models);
  const metrics = createRecordingMetrics();
  const gateway = createGateway({
    directory,
    tenants: resolved ?? (await resolveTenants(tenants, { env })),
    clock: systemClock,
    ids: createSequentialIds('r'),
    logger: silentLogger,
    metrics,
    exposition: async () => 'aim_gpu_up 1\n',
    listen: { host: '127.0.0.1', port: 0 },
    adminListen: { host: '127.0.0.1', port: 0 },
    ...rest,
  });
  await gateway.start();
  const url = `http://127.0.0.1:${gateway.address.port}`;
  return {
    gateway,
    directory,
    metrics,
    url,
    adminUrl: `http://127.0.0.1:${gateway.adminAddress.port}`,
    client: (key = 'none') => new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 }),
    close: () => gateway.close(),
  };
}

/** Builder of launch specs: what the agent hands to an engine for one instance. */
import {
  bytes,
  type Demand,
  type EnvelopeShare,
  gib,
  type InstanceSpec,
  instanceId,
  type LaunchEnvelope,
  mib,
  type Workload,
} from '@aim-gpu/core';
import { aDemand, aShare, aWorkload } from '@aim-gpu/core/testing';

export function anEnvelopeShare(overrides: Partial<EnvelopeShare> = {}): EnvelopeShare {
  return { ...aShare(), partitionMemoryBytes: mib(196_592), renderMinor: 128, ...overrides };
}

export function anEnvelope(overrides: Partial<LaunchEnvelope> = {}): LaunchEnvelope {
  return {
    instance: instanceId(aWorkload().name, 0),
    shares: [anEnvelopeShare()],
    env: { ROCR_VISIBLE_DEVICES: '3' },
    deviceFiles: ['/dev/kfd', '/dev/dri/renderD128'],
    gpuMemoryUtilization: 0.2084,
    kvCacheMemoryBytes: bytes(8 * 2 ** 30),
    measures: [],
    ...overrides,
  };
}

export function anInstanceSpec(
  overrides: {
    readonly workload?: Partial<Workload>;
    readonly demand?: Parameters<typeof aDemand>[0];
    readonly envelope?: Partial<LaunchEnvelope>;
    readonly port?: number;
  } = {},
): InstanceSpec {
  const workload = aWorkload(overrides.workload);
  const demand: Demand = aDemand({ workload: workload.name, ...overrides.demand });
  return {
    instance: instanceId(workload.name, 0),
    workload,
    demand,
    envelope: anEnvelope({ instance: instanceId(workload.name, 0), ...overrides.envelope }),
    host: '127.0.0.1',
    port: overrides.port ?? 9000,
  };
}

/** 40 GiB, the share every spec has unless said otherwise. */
export const SHARE_BYTES = gib(40);

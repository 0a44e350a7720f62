/**
 * Branded names and ids of the domain. Owns their form; must not generate any (see random.ts).
 */
import type { Brand } from './brand.js';
import { AimError } from './errors.js';

/** A node's name as the fleet file says it. */
export type NodeName = Brand<string, 'NodeName'>;
/** PCI address of a card, function 0, lower case: `0000:0c:00.0`. */
export type CardId = Brand<string, 'CardId'>;
/** An XGMI group of cards; all its cards have one memory mode. */
export type HiveId = Brand<string, 'HiveId'>;
/** A workload's name: what clients put into "model". */
export type WorkloadName = Brand<string, 'WorkloadName'>;
/** One running engine process of a workload: `<workload>-<replica number>`. */
export type InstanceId = Brand<string, 'InstanceId'>;
/** A tenant's name. */
export type TenantName = Brand<string, 'TenantName'>;
/** A plan's content hash. */
export type PlanId = Brand<string, 'PlanId'>;

const PCI = /^([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$/i;

function malformed(what: string, value: string, want: string): AimError {
  return new AimError({
    code: 'ERR_ID_INVALID',
    kind: 'invalid',
    message: `${JSON.stringify(value)} is not ${what}: ${want}`,
    details: { value },
  });
}

/** Makes a card id from a PCI address of any function. Throws `ERR_ID_INVALID` when it is not one. */
export function cardId(value: string): CardId {
  const match = PCI.exec(value);
  if (match === null) throw malformed('a card id', value, 'a PCI address such as 0000:0c:00.0');
  return `${match[1]}:${match[2]}:${match[3]}.0`.toLowerCase() as CardId;
}

const NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/;

function named(what: string, value: string): string {
  if (value.length > 128 || !NAME.test(value)) {
    throw malformed(what, value, 'letters, digits, ".", "_" and "-", at most 128 of them');
  }
  return value;
}

/** Makes a node name. Throws `ERR_ID_INVALID`. */
export function nodeName(value: string): NodeName {
  return named('a node name', value) as NodeName;
}

/** Makes a hive id; any text a driver uses. */
export function hiveId(value: string): HiveId {
  return value as HiveId;
}

/** Makes a workload name. Throws `ERR_ID_INVALID`. */
export function workloadName(value: string): WorkloadName {
  return named('a workload name', value) as WorkloadName;
}

/** Makes a tenant name. Throws `ERR_ID_INVALID`. */
export function tenantName(value: string): TenantName {
  return named('a tenant name', value) as TenantName;
}

/** The id of a workload's replica, counted from 0. */
export function instanceId(workload: WorkloadName, replica: number): InstanceId {
  return `${workload}-${replica}` as InstanceId;
}

/** Makes a plan id from a content hash. Throws `ERR_ID_INVALID`. */
export function planId(value: string): PlanId {
  return named('a plan id', value) as PlanId;
}

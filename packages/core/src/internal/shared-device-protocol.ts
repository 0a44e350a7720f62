/**
 * What a shared device and its tenants say to each other: one connection is one tenancy, opened by `attach` and ended
 * by `release` or by the end of the connection. Owns the messages and their checks at the edge; must not touch sockets.
 */

import { ERROR_KINDS, type ErrorDocument, type ErrorKind } from '../errors.js';
import { cardId, type InstanceId } from '../ids.js';
import type { CoTenantActivity, DeviceMemory, DeviceTenant } from '../shared-device.js';
import { bytes } from '../units.js';
import { protocolError } from './json-lines.js';

/** Longest line either end accepts. */
export const MAX_LINE_BYTES: number = 64 * 1024;
/** Most often that one end tells the other something that changes all the time. */
export const PUSH_INTERVAL_MS: number = 100;

/** From a tenant's process. */
export type TenantMessage =
  | { readonly type: 'attach'; readonly tenant: DeviceTenant }
  | { readonly type: 'report'; readonly busy: number }
  | { readonly type: 'release' };

/** From the device. */
export type DeviceMessage =
  | { readonly type: 'attached'; readonly memory: DeviceMemory }
  | { readonly type: 'refused'; readonly error: ErrorDocument }
  | { readonly type: 'activity'; readonly activity: CoTenantActivity }
  | { readonly type: 'released' };

/** Writes a message as its line. */
export function toLine(message: TenantMessage | DeviceMessage): string {
  return `${JSON.stringify(message)}\n`;
}

/** Reads a tenant's message. Throws `ERR_PROTOCOL`, `ERR_ID_INVALID` or `ERR_UNIT_RANGE` (all invalid). */
export function parseTenantMessage(value: unknown): TenantMessage {
  const message = toFields(value);
  if (message['type'] === 'report') return { type: 'report', busy: toShareOfTime(message['busy']) };
  if (message['type'] === 'release') return { type: 'release' };
  if (message['type'] !== 'attach') throw protocolError('a message is of no known type');
  const tenant = toFields(message['tenant']);
  return {
    type: 'attach',
    tenant: {
      instance: toText(tenant['instance']) as InstanceId,
      pid: toWhole(tenant['pid']),
      card: cardId(toText(tenant['card'])),
      partition: toWhole(tenant['partition']),
      memoryBytes: bytes(toWhole(tenant['memoryBytes'])),
    },
  };
}

/** Reads a device's message. Throws as {@link parseTenantMessage}. */
export function parseDeviceMessage(value: unknown): DeviceMessage {
  const message = toFields(value);
  switch (message['type']) {
    case 'attached':
      return { type: 'attached', memory: toMemory(message['memory']) };
    case 'activity':
      return { type: 'activity', activity: toActivity(message['activity']) };
    case 'released':
      return { type: 'released' };
    case 'refused':
      return { type: 'refused', error: toRefusal(message['error']) };
    default:
      throw protocolError('a message is of no known type');
  }
}

function toFields(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Readonly<Record<string, unknown>>;
  }
  throw protocolError('a message or a part of it is not an object');
}

function toText(value: unknown): string {
  if (typeof value === 'string') return value;
  throw protocolError('a name is not a text');
}

function toWhole(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw protocolError('a number is not a whole one of at least 0');
}

function toShareOfTime(value: unknown): number {
  if (typeof value === 'number' && value >= 0 && value <= 1) return value;
  throw protocolError('a share of time is not between 0 and 1');
}

function toMemory(value: unknown): DeviceMemory {
  const memory = toFields(value);
  return {
    totalBytes: bytes(toWhole(memory['totalBytes'])),
    freeBytes: bytes(toWhole(memory['freeBytes'])),
  };
}

function toActivity(value: unknown): CoTenantActivity {
  const activity = toFields(value);
  return {
    samePartition: toSharesOfTime(activity['samePartition']),
    otherPartitions: toSharesOfTime(activity['otherPartitions']),
  };
}

function toSharesOfTime(value: unknown): readonly number[] {
  if (Array.isArray(value)) return value.map(toShareOfTime);
  throw protocolError('an activity is not a list');
}

function toRefusal(value: unknown): ErrorDocument {
  const error = toFields(value);
  const kind: ErrorKind | undefined = ERROR_KINDS.find((known) => known === error['kind']);
  if (kind === undefined) throw protocolError('an error is of no known kind');
  return {
    code: toText(error['code']),
    kind,
    message: toText(error['message']),
    hint: error['hint'] === null ? null : toText(error['hint']),
    details: toFields(error['details']),
  };
}

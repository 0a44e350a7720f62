/**
 * Branded units. Bytes are the only stored unit of memory: amd-smi's "MB" is MiB, vendors' GB is 1e9, and both
 * are converted here, at the edge. Owns constructors and formatting; parsing of "40GiB" lives in quantities.ts.
 */
import type { Brand } from './brand.js';
import { AimError } from './errors.js';

/** A whole number of bytes, zero or more. */
export type Bytes = Brand<number, 'Bytes'>;
/** A ratio, usually between 0 and 1. */
export type Ratio = Brand<number, 'Ratio'>;
/** Wall-clock time in milliseconds since 1970, for records only: it can jump. */
export type EpochMs = Brand<number, 'EpochMs'>;
/** Monotonic time in milliseconds, for durations and deadlines only: its zero means nothing. */
export type MonoMs = Brand<number, 'MonoMs'>;

/** Bytes in one KiB, MiB, GiB. */
export const KIB: number = 2 ** 10;
/** Bytes in one MiB, which AMD's tools print as "MB". */
export const MIB: number = 2 ** 20;
/** Bytes in one GiB. */
export const GIB: number = 2 ** 30;

function outOfRange(what: string, value: unknown, want: string): AimError {
  return new AimError({
    code: 'ERR_UNIT_RANGE',
    kind: 'invalid',
    message: `${what} must be ${want}, got ${String(value)}`,
    details: { what, value: String(value) },
  });
}

/** Makes bytes from a whole number. Throws `ERR_UNIT_RANGE` when negative, fractional or not finite. */
export function bytes(value: number): Bytes {
  if (!Number.isSafeInteger(value) || value < 0)
    throw outOfRange('bytes', value, 'a whole number of at least 0');
  return value as Bytes;
}

/** Makes bytes from a computed number by rounding down. Throws `ERR_UNIT_RANGE` below zero. */
export function bytesFloor(value: number): Bytes {
  return bytes(Math.floor(value));
}

/** Makes bytes from a computed number by rounding up. Throws `ERR_UNIT_RANGE` below zero. */
export function bytesCeil(value: number): Bytes {
  return bytes(Math.ceil(value));
}

/** Makes bytes from a count of MiB, the unit amd-smi prints as "MB". */
export function mib(value: number): Bytes {
  return bytes(Math.round(value * MIB));
}

/** Makes bytes from a count of GiB. */
export function gib(value: number): Bytes {
  return bytes(Math.round(value * GIB));
}

/** Makes a ratio. Throws `ERR_UNIT_RANGE` unless between 0 and 1. */
export function ratio(value: number): Ratio {
  if (!(value >= 0 && value <= 1)) throw outOfRange('ratio', value, 'between 0 and 1');
  return value as Ratio;
}

/** Writes bytes for people: `24.0 GiB`, `512 MiB`. */
export function formatBytes(value: number): string {
  const sign = value < 0 ? '-' : '';
  const size = Math.abs(value);
  // Each unit ends where its rounded count would read as one of the next.
  if (size >= GIB - MIB / 2) return `${sign}${(size / GIB).toFixed(1)} GiB`;
  if (size >= MIB - KIB / 2) return `${sign}${Math.round(size / MIB)} MiB`;
  if (size >= KIB) return `${sign}${Math.round(size / KIB)} KiB`;
  return `${sign}${size} B`;
}

/** Writes a duration for people: `350 ms`, `4.2 s`, `2 min 20 s`. */
export function formatMs(value: number): string {
  if (value < 9.95) return `${value.toFixed(1)} ms`;
  if (value < 999.5) return `${Math.round(value)} ms`;
  if (value < 59_950) return `${(value / 1000).toFixed(1)} s`;
  const seconds = Math.round(value / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

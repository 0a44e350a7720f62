/**
 * Single values as the tools print them: N/A, blanks, marks and units. Every reader answers null for what is no value.
 */
import {
  type Bytes,
  bytes,
  COMPUTE_MODES,
  type ComputeMode,
  MEMORY_MODES,
  type MemoryMode,
} from '@aim-gpu/core';

/** A JSON object with keys of unknown values. */
export type JsonRecord = { readonly [key: string]: unknown };

/** Whether a value is a JSON object. */
export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Trimmed text of a string or a number; null for N/A, for nothing and for anything else. */
export function toWord(value: unknown): string | null {
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  if (typeof value !== 'string') return null;
  const word = value.trim();
  return word === '' || word.toUpperCase() === 'N/A' ? null : word;
}

/** A whole number of at least 0. */
export function toIndex(value: unknown): number | null {
  const word = toWord(value);
  return word !== null && /^\d{1,15}$/.test(word) ? Number(word) : null;
}

/** `CPX`, `cpx` or the marked `CPX*`. */
export function toComputeMode(value: unknown): ComputeMode | null {
  const word = toWord(value)?.replace(/\*$/, '').toUpperCase();
  return COMPUTE_MODES.find((mode) => mode === word) ?? null;
}

/** `NPS4` or `nps4`. */
export function toMemoryMode(value: unknown): MemoryMode | null {
  const word = toWord(value)?.toUpperCase();
  return MEMORY_MODES.find((mode) => mode === word) ?? null;
}

/** `NPS1,NPS2`, with or without blanks; in the order of the kernel. */
export function toMemoryModes(value: unknown): readonly MemoryMode[] {
  const words = (toWord(value) ?? '').toUpperCase().split(/[\s,]+/);
  return MEMORY_MODES.filter((mode) => words.includes(mode));
}

/** A PCI address as `dddd:bb:dd.f` in lower case. */
export function toPci(value: unknown): string | null {
  const word = toWord(value)?.toLowerCase() ?? '';
  return /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]$/.test(word) ? word : null;
}

/** A UUID in the tool's or in ROCr's form; one that is redacted, or all zeros, is none. */
export function toUuid(value: unknown): string | null {
  const word = toWord(value) ?? '';
  const known =
    /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(word) || /^GPU-[0-9a-f]{16}$/i.test(word);
  return known && /[1-9a-f]/i.test(word.replace(/^GPU-/i, '')) ? word : null;
}

// What the tools print as "MB" is 2^20 bytes (bytes // 1024 // 1024 in their source).
const UNIT_BYTES: ReadonlyMap<string, number> = new Map([
  ['B', 1],
  ['KB', 2 ** 10],
  ['MB', 2 ** 20],
  ['GB', 2 ** 30],
  ['TB', 2 ** 40],
]);

/** `196592 MB`, or `{ "value": 196592, "unit": "MB" }`; without a unit it is no amount. */
export function toAmount(value: unknown): Bytes | null {
  const text = isRecord(value)
    ? `${toWord(value['value']) ?? ''} ${toWord(value['unit']) ?? ''}`
    : (toWord(value) ?? '');
  const match = /^(\d{1,15}(?:\.\d{1,9})?) ?([KMGT]?B)$/i.exec(text.trim());
  const size = Number(match?.[1]) * (UNIT_BYTES.get(match?.[2]?.toUpperCase() ?? '') ?? Number.NaN);
  const whole = Math.round(size);
  return Number.isSafeInteger(whole) ? bytes(whole) : null;
}

/** The mode that `Successfully set … partition to CPX (profile #3)` speaks of. */
export function toSetMode(value: unknown): string | null {
  const match = /^Successfully set [a-z ]{1,60}partition to ([A-Z0-9]{3,4})\b/i.exec(
    toWord(value) ?? '',
  );
  return match?.[1] ?? null;
}

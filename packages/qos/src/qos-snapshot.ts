/**
 * What a qos object remembers across a restart, as text that can be trusted: versioned, checksummed, dated. Owns the
 * format; taking and applying it is the qos object's, storing it the snapshot keeper's.
 */
import type { AccountDump } from './limits-interface.js';
import type { OutputDump } from './output-estimate.js';
import type { SloDump } from './slo-tracker.js';

/** What a snapshot holds of one model. Requests are not in it: their sockets die with the process. */
export interface ModelSnapshot {
  readonly model: string;
  /** How far each tenant of a band is ahead of the others, in weighted tokens. */
  readonly lags: Readonly<Record<string, readonly (readonly [tenant: string, lag: number])[]>>;
  readonly slo: Readonly<Record<string, SloDump>>;
  readonly outputs: OutputDump;
  readonly drainTokensPerSecond: number | null;
  readonly bandDrainTokensPerSecond: Readonly<Record<string, number>>;
  readonly limits: readonly (readonly [endpoint: string, limit: number])[];
}

/** What should survive a restart. */
export interface QosSnapshot {
  readonly version: 1;
  /** Wall-clock time in milliseconds. */
  readonly takenAtMs: number;
  readonly accounts: readonly AccountDump[];
  readonly models: readonly ModelSnapshot[];
}

/** Why a text is no usable snapshot. */
export type SnapshotProblem =
  | 'not_a_snapshot'
  | 'truncated'
  | 'corrupt'
  | 'newer_version'
  | 'too_old';

/** What {@link parseSnapshot} finds. */
export type ParsedSnapshot =
  | { readonly ok: true; readonly snapshot: QosSnapshot }
  | { readonly ok: false; readonly problem: SnapshotProblem };

const MAGIC = 'aim-gpu-qos';
const VERSION = 1;
/** Limits of a minute and burn rates of hours: what is older than the longest SLO window says nothing any more. */
const MAX_AGE_MS = 259_200_000;

/** FNV-1a of 32 bits over UTF-16 units: finds torn and flipped text, and needs no library. */
function checksum(text: string): string {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return (hash >>> 0).toString(16).padStart(8, '0');
}

/** A snapshot as text: one line that says what it is, its length and checksum, then JSON. */
export function toSnapshotText(snapshot: QosSnapshot): string {
  const body = JSON.stringify(snapshot);
  return `${MAGIC} ${snapshot.version} ${body.length} ${checksum(body)}\n${body}`;
}

/** Reads a text that was stored. Never throws: a snapshot that cannot be used is a reason to start without one. */
export function parseSnapshot(text: unknown, nowEpochMs: number): ParsedSnapshot {
  if (typeof text !== 'string') return { ok: false, problem: 'not_a_snapshot' };
  const head = /^aim-gpu-qos (\d{1,9}) (\d{1,12}) ([0-9a-f]{8})\n/.exec(text);
  if (head === null) {
    const problem =
      text.startsWith(MAGIC) || MAGIC.startsWith(text) ? 'truncated' : 'not_a_snapshot';
    return { ok: false, problem };
  }
  if (Number(head[1]) > VERSION) return { ok: false, problem: 'newer_version' };
  const body = text.slice(head[0].length);
  if (body.length < Number(head[2])) return { ok: false, problem: 'truncated' };
  if (body.length > Number(head[2]) || checksum(body) !== head[3]) {
    return { ok: false, problem: 'corrupt' };
  }
  const snapshot = fromJson(body);
  if (snapshot === null) return { ok: false, problem: 'corrupt' };
  if (nowEpochMs - snapshot.takenAtMs > MAX_AGE_MS) return { ok: false, problem: 'too_old' };
  return { ok: true, snapshot };
}

/** The text passed its checksum, so it is what this module wrote: only its outline is looked at. */
function fromJson(body: string): QosSnapshot | null {
  try {
    const value = JSON.parse(body) as QosSnapshot;
    const isOne =
      value.version === VERSION &&
      Number.isFinite(value.takenAtMs) &&
      Array.isArray(value.accounts) &&
      Array.isArray(value.models);
    return isOne ? value : null;
  } catch {
    return null;
  }
}

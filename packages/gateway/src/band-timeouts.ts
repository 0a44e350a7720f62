/**
 * How long an engine may take, by band. Owns the table; who is late is found by live-exchanges.ts.
 */
import type { Band } from '@aim-gpu/core';

/** Longest times of one request, in milliseconds. */
export interface BandTimeouts {
  /** From sending to the first byte of the answer. */
  readonly firstByteMs: number;
  /** Between two pieces of an answer, and for a client that does not read. */
  readonly idleMs: number;
  /** From the request read to the last byte. */
  readonly totalMs: number;
}

/** Changes of some of them. */
export type BandTimeoutChanges = Readonly<Partial<Record<Band, Partial<BandTimeouts>>>>;

const MINUTE = 60_000;
/**
 * An answer in one piece has its first byte at its end, so the first two columns are no TTFT targets. undici's own 300 s
 * were seen to kill long thinking (reference: undici 7 defaults); a prompt of a million tokens may take minutes.
 */
const DEFAULTS: Readonly<Record<Band, BandTimeouts>> = {
  critical: { firstByteMs: 10 * MINUTE, idleMs: 2 * MINUTE, totalMs: 30 * MINUTE },
  interactive: { firstByteMs: 10 * MINUTE, idleMs: 2 * MINUTE, totalMs: 30 * MINUTE },
  standard: { firstByteMs: 15 * MINUTE, idleMs: 5 * MINUTE, totalMs: 60 * MINUTE },
  batch: { firstByteMs: 60 * MINUTE, idleMs: 10 * MINUTE, totalMs: 240 * MINUTE },
  best_effort: { firstByteMs: 60 * MINUTE, idleMs: 10 * MINUTE, totalMs: 240 * MINUTE },
};

/** The whole table with some entries changed. */
export function toBandTimeouts(
  changes: BandTimeoutChanges = {},
): Readonly<Record<Band, BandTimeouts>> {
  const of = (band: Band): BandTimeouts => ({ ...DEFAULTS[band], ...changes[band] });
  return {
    critical: of('critical'),
    interactive: of('interactive'),
    standard: of('standard'),
    batch: of('batch'),
    best_effort: of('best_effort'),
  };
}

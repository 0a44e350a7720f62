/**
 * How long an engine may take, by band. Owns changes of the table, which is core's; who is late is
 * found by live-exchanges.ts.
 */
import { type Band, type BandTimeouts, DEFAULT_GATEWAY_POLICY } from '@aim-gpu/core';

export type { BandTimeouts };

/** Changes of some of them. */
export type BandTimeoutChanges = Readonly<Partial<Record<Band, Partial<BandTimeouts>>>>;

/** The whole table with some entries changed. */
export function toBandTimeouts(
  changes: BandTimeoutChanges = {},
): Readonly<Record<Band, BandTimeouts>> {
  const { timeouts } = DEFAULT_GATEWAY_POLICY;
  const of = (band: Band): BandTimeouts => ({ ...timeouts[band], ...changes[band] });
  return {
    critical: of('critical'),
    interactive: of('interactive'),
    standard: of('standard'),
    batch: of('batch'),
    best_effort: of('best_effort'),
  };
}

/**
 * Fault injection as data: which calls of the simulated machine go wrong, how, and how often. A script is a list of
 * rules; the first rule that still applies to a call is used up by it. Owns the bookkeeping, not the effects.
 */
import type { CardId } from '@aim-gpu/core';

/** Calls that can be made to fail. */
export type FaultableCall = 'discover' | 'set-compute' | 'stage-memory' | 'reload';

/** What goes wrong. */
export type FaultEffect =
  /** EBUSY by a holder nobody can see. */
  | { readonly kind: 'busy' }
  /** EIO: the driver could not bring the device up again; nothing changed. */
  | { readonly kind: 'io' }
  /** EPERM, as for a caller without the right or while the device is in reset. */
  | { readonly kind: 'permission' }
  /** The call takes its time and reports success, and nothing has changed. */
  | { readonly kind: 'no-change' }
  /** A reload after which only the first half of the cards of each changed hive has the new memory mode. */
  | { readonly kind: 'half' }
  /** The call takes `ms`; when that is longer than the driver waits, the outcome is unknown. `applies`: it works in the end. */
  | { readonly kind: 'hang'; readonly ms: number; readonly applies: boolean };

/** One rule of a fault script. */
export interface FaultRule {
  readonly on: FaultableCall;
  /** Only calls for this card; all when left out. */
  readonly card?: CardId;
  /** How many matching calls go well first; 0 when left out. */
  readonly after?: number;
  /** How many matching calls go wrong; 1 when left out. */
  readonly times?: number;
  readonly effect: FaultEffect;
}

/** The faults of a simulated machine. */
export interface FaultControl {
  /** Replaces the script and starts its counts anew. */
  script(rules: readonly FaultRule[]): void;
  /** The rules that were used so far, in order. */
  fired(): readonly FaultRule[];
}

/** A running fault script. */
export interface FaultScript extends FaultControl {
  /** What goes wrong with this call; null when nothing does. Each answer counts as one call. */
  take(call: FaultableCall, card: CardId | null): FaultEffect | null;
}

/** Starts a fault script. */
export function createFaultScript(rules: readonly FaultRule[]): FaultScript {
  let entries: { readonly rule: FaultRule; seen: number }[] = [];
  let fired: FaultRule[] = [];
  const script = (next: readonly FaultRule[]): void => {
    entries = next.map((rule) => ({ rule, seen: 0 }));
    fired = [];
  };
  script(rules);
  return {
    script,
    fired: () => fired,
    take: (call, card) => {
      for (const entry of entries) {
        const { rule } = entry;
        if (rule.on !== call || (rule.card !== undefined && rule.card !== card)) continue;
        entry.seen += 1;
        const first = (rule.after ?? 0) + 1;
        if (entry.seen < first || entry.seen >= first + (rule.times ?? 1)) continue;
        fired = [...fired, rule];
        return rule.effect;
      }
      return null;
    },
  };
}

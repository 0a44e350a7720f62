/**
 * Fault injection as data: which calls of the simulated machine go wrong, how, and how often. By script, a list of
 * rules of which the first that still applies is used up by a call; or by seed. Owns the bookkeeping, not the effects.
 */
import { type CardId, type ComputeMode, createRng, type Rng } from '@aim-gpu/core';

/** Calls that can be made to fail; `tune` is a write of anything but a mode, such as `enforce_isolation`. */
export type FaultableCall = 'discover' | 'set-compute' | 'stage-memory' | 'reload' | 'tune';

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
  | { readonly kind: 'hang'; readonly ms: number; readonly applies: boolean }
  /** The card switches and then says that it is in `compute`, until it is switched or loaded again. */
  | { readonly kind: 'wrong-report'; readonly compute: ComputeMode }
  /** The power is cut `afterMs` into the change and comes back at once; the call ends with `ERR_DRIVER_IO`. */
  | { readonly kind: 'power-cut'; readonly afterMs: number };

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

/** Faults by chance, repeatable from their seed. */
export interface RandomFaults {
  readonly seed: number;
  /** Chance of each call to go wrong, 0 to 1. */
  readonly probability: number;
  /** How many faults there are at most; without limit when left out. */
  readonly most?: number;
}

/** The faults of a simulated machine. */
export interface FaultControl {
  /** Replaces the script and starts its counts anew. */
  script(rules: readonly FaultRule[]): void;
  /** Replaces the script by faults by chance. */
  random(faults: RandomFaults): void;
  /** The rules that were used so far, in order. */
  fired(): readonly FaultRule[];
}

/** A running fault script. */
export interface FaultScript extends FaultControl {
  /** What goes wrong with this call; null when nothing does. Each answer counts as one call. */
  take(
    call: FaultableCall,
    card: CardId | null,
    /** The effects this part of the call can have; all when left out. */
    kinds?: readonly FaultEffect['kind'][],
  ): FaultEffect | null;
}

/** The effects that a call can have, for faults by chance. */
const EFFECTS: Readonly<Record<FaultableCall, readonly ((rng: Rng) => FaultEffect)[]>> = {
  discover: [() => ({ kind: 'io' })],
  'set-compute': [
    () => ({ kind: 'busy' }),
    () => ({ kind: 'io' }),
    () => ({ kind: 'permission' }),
    () => ({ kind: 'no-change' }),
    (rng) => ({ kind: 'hang', ms: 150_000, applies: rng.next() < 0.5 }),
    () => ({ kind: 'wrong-report', compute: 'SPX' }),
    (rng) => ({ kind: 'power-cut', afterMs: Math.floor(rng.next() * 4000) }),
  ],
  'stage-memory': [
    () => ({ kind: 'busy' }),
    () => ({ kind: 'io' }),
    () => ({ kind: 'permission' }),
    () => ({ kind: 'no-change' }),
  ],
  tune: [() => ({ kind: 'io' }), () => ({ kind: 'permission' }), () => ({ kind: 'no-change' })],
  reload: [
    () => ({ kind: 'busy' }),
    () => ({ kind: 'io' }),
    () => ({ kind: 'no-change' }),
    () => ({ kind: 'half' }),
    (rng) => ({ kind: 'hang', ms: 350_000, applies: rng.next() < 0.5 }),
    (rng) => ({ kind: 'power-cut', afterMs: Math.floor(rng.next() * 15_000) }),
  ],
};

/** Starts a fault script. */
export function createFaultScript(rules: readonly FaultRule[]): FaultScript {
  let entries: { readonly rule: FaultRule; seen: number }[] = [];
  let chance: (RandomFaults & { readonly rng: Rng }) | null = null;
  let fired: FaultRule[] = [];
  const script = (next: readonly FaultRule[]): void => {
    entries = next.map((rule) => ({ rule, seen: 0 }));
    chance = null;
    fired = [];
  };
  const fire = (rule: FaultRule): FaultEffect => {
    fired = [...fired, rule];
    return rule.effect;
  };
  const takeByChance = (
    call: FaultableCall,
    card: CardId | null,
    kinds?: readonly FaultEffect['kind'][],
  ): FaultEffect | null => {
    if (chance === null || fired.length >= (chance.most ?? Number.POSITIVE_INFINITY)) return null;
    if (chance.rng.next() >= chance.probability) return null;
    const choices = EFFECTS[call];
    const make = choices[Math.floor(chance.rng.next() * choices.length)];
    const effect = make?.(chance.rng);
    if (effect === undefined || kinds?.includes(effect.kind) === false) return null;
    return fire({ on: call, effect, ...(card === null ? {} : { card }) });
  };
  script(rules);
  return {
    script,
    random: (faults) => {
      script([]);
      chance = { ...faults, rng: createRng(faults.seed) };
    },
    fired: () => fired,
    take: (call, card, kinds) => {
      for (const entry of entries) {
        const { rule } = entry;
        if (rule.on !== call || (rule.card !== undefined && rule.card !== card)) continue;
        if (kinds?.includes(rule.effect.kind) === false) continue;
        entry.seen += 1;
        const first = (rule.after ?? 0) + 1;
        if (entry.seen < first || entry.seen >= first + (rule.times ?? 1)) continue;
        return fire(rule);
      }
      return takeByChance(call, card, kinds);
    },
  };
}

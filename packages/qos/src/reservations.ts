/**
 * Room promised to a tenant or band of one model: kept free for its owner, lent out while the owner does not ask, with
 * a bound on what the owner may borrow beyond it. Owns who may start; must not know endpoints or queues.
 */
import type { Band } from '@aim-gpu/core';
import { toCost } from './internal/cost.js';

/** A promise of room. */
export interface CapacityReservation {
  readonly name: string;
  /** Whose requests it is for; left out is everybody's. */
  readonly tenant?: string;
  /** Of which band; left out is every band. */
  readonly band?: Band;
  /** Sequences promised, over all endpoints of the model together. */
  readonly seqs: number;
  /** Tokens promised; left out or 0 promises sequences only. */
  readonly tokens?: number;
  /** Share that others may use while the owner does not, 0 to 1; 1 unless given. */
  readonly lendable?: number;
  /** Sequences the owner may use beyond its own; left out is as many as are free. */
  readonly borrowSeqs?: number;
}

/** A request as reservations see it. */
export interface ReservationSubject {
  readonly tenant: string;
  readonly band: Band;
}

/** Capacity of a model and what of it is in use. */
export interface SharedRoom {
  readonly seqs: number;
  readonly tokens: number;
  readonly usedSeqs: number;
  readonly usedTokens: number;
}

/** Room of a reservation in use by one request. */
export interface ReservationHold {
  /** Gives it back. Only the first call counts. */
  end(): void;
}

/** Reservations of one model. Times are monotonic milliseconds. */
export interface Reservations {
  /** Replaces all reservations; what runs goes on being counted. */
  set(reservations: readonly CapacityReservation[]): void;
  /** Takes note that a request came: its owner's room is called back from those it was lent to. */
  asked(subject: ReservationSubject, tokens: number, nowMs: number): void;
  /** Whether the request may start although others have been promised room. */
  mayStart(subject: ReservationSubject, tokens: number, room: SharedRoom, nowMs: number): boolean;
  /** Counts a request that was sent, until it is given back; null when no reservation is its owner's. */
  hold(subject: ReservationSubject, tokens: number): ReservationHold | null;
  /** Tenants with a promise of their own. */
  readonly tenants: readonly string[];
  /** Tokens promised to a band. */
  reservedTokens(band: Band): number;
  /** Reservations that hold now. */
  readonly size: number;
}

/** Room is called back for as long as the owner has asked within this time. */
const DEMAND_MEMORY_MS = 10_000;

interface Holding {
  promise: CapacityReservation;
  seqs: number;
  tokens: number;
  lendable: number;
  usedSeqs: number;
  usedTokens: number;
  /** Most sequences wanted at the same time in this period and in the one before it. */
  peakSeqs: number;
  formerPeakSeqs: number;
  peakTokens: number;
  formerPeakTokens: number;
  periodMs: number;
}

function toShare(value: number | undefined): number {
  return value === undefined || Number.isNaN(value) ? 1 : Math.min(1, Math.max(0, value));
}

function toFigures(
  promise: CapacityReservation,
): Pick<Holding, 'promise' | 'seqs' | 'tokens' | 'lendable'> {
  return {
    promise,
    seqs: toCost(promise.seqs),
    tokens: toCost(promise.tokens ?? 0),
    lendable: toShare(promise.lendable),
  };
}

/** Makes reservations that promise nothing. */
export function createReservations(): Reservations {
  let holdings: Holding[] = [];

  const find = ({ tenant, band }: ReservationSubject): Holding | null => {
    for (const holding of holdings) {
      const { promise } = holding;
      if (promise.tenant !== undefined && promise.tenant !== tenant) continue;
      if (promise.band !== undefined && promise.band !== band) continue;
      return holding;
    }
    return null;
  };
  const turn = (holding: Holding, nowMs: number): void => {
    const elapsed = nowMs - holding.periodMs;
    if (elapsed < DEMAND_MEMORY_MS && elapsed >= 0) return;
    const isNext = elapsed < 2 * DEMAND_MEMORY_MS;
    holding.formerPeakSeqs = isNext ? holding.peakSeqs : holding.usedSeqs;
    holding.formerPeakTokens = isNext ? holding.peakTokens : holding.usedTokens;
    holding.peakSeqs = holding.usedSeqs;
    holding.peakTokens = holding.usedTokens;
    holding.periodMs = nowMs;
  };
  const want = (holding: Holding, tokens: number, nowMs: number): void => {
    turn(holding, nowMs);
    holding.peakSeqs = Math.max(holding.peakSeqs, holding.usedSeqs + 1);
    holding.peakTokens = Math.max(holding.peakTokens, holding.usedTokens + tokens);
  };
  /** What of a promise is kept from others now, beyond what the owner uses already. */
  const kept = (
    promised: number,
    lendable: number,
    peak: number,
    used: number,
    scale: number,
  ): number => {
    const whole = promised * scale;
    const called = Math.min(whole, peak);
    return Math.max(0, Math.max(whole * (1 - lendable), called) - used);
  };

  return {
    get size() {
      return holdings.length;
    },
    set: (reservations) => {
      const before = new Map(holdings.map((holding) => [holding.promise.name, holding]));
      holdings = reservations.map((promise) => {
        const old = before.get(promise.name);
        const same =
          old?.promise.tenant === promise.tenant && old?.promise.band === promise.band
            ? old
            : undefined;
        if (same !== undefined) {
          return Object.assign(same, toFigures(promise));
        }
        return {
          ...toFigures(promise),
          usedSeqs: 0,
          usedTokens: 0,
          peakSeqs: 0,
          formerPeakSeqs: 0,
          peakTokens: 0,
          formerPeakTokens: 0,
          periodMs: Number.NEGATIVE_INFINITY,
        };
      });
    },
    asked: (subject, tokens, nowMs) => {
      const holding = find(subject);
      if (holding !== null) want(holding, tokens, nowMs);
    },
    mayStart: (subject, tokens, room, nowMs) => {
      const own = find(subject);
      if (own !== null) want(own, tokens, nowMs);
      const borrow = own?.promise.borrowSeqs;
      if (own !== null && borrow !== undefined && own.usedSeqs + 1 > own.seqs + toCost(borrow)) {
        return false;
      }
      let promisedSeqs = 0;
      let promisedTokens = 0;
      for (const holding of holdings) {
        promisedSeqs += holding.seqs;
        promisedTokens += holding.tokens;
      }
      // Promises shrink together when the capacity does.
      const seqScale = promisedSeqs > room.seqs ? room.seqs / promisedSeqs : 1;
      const tokenScale = promisedTokens > room.tokens ? room.tokens / promisedTokens : 1;
      // Within its own promise the owner asks nobody.
      if (own !== null && own.usedSeqs + 1 <= own.seqs * seqScale) {
        if (own.tokens === 0 || own.usedTokens + tokens <= own.tokens * tokenScale) return true;
      }
      let keptSeqs = 0;
      let keptTokens = 0;
      for (const holding of holdings) {
        if (holding === own) continue;
        turn(holding, nowMs);
        const { seqs, lendable, usedSeqs, usedTokens } = holding;
        const peakSeqs = Math.max(holding.peakSeqs, holding.formerPeakSeqs);
        const peakTokens = Math.max(holding.peakTokens, holding.formerPeakTokens);
        keptSeqs += kept(seqs, lendable, peakSeqs, usedSeqs, seqScale);
        keptTokens += kept(holding.tokens, lendable, peakTokens, usedTokens, tokenScale);
      }
      return (
        room.usedSeqs + 1 + keptSeqs <= room.seqs + 1e-9 &&
        (keptTokens === 0 || room.usedTokens + tokens + keptTokens <= room.tokens)
      );
    },
    hold: (subject, tokens) => {
      const holding = find(subject);
      if (holding === null) return null;
      holding.usedSeqs += 1;
      holding.usedTokens += tokens;
      let ended = false;
      return {
        end: () => {
          if (ended) return;
          ended = true;
          holding.usedSeqs = Math.max(0, holding.usedSeqs - 1);
          holding.usedTokens =
            holding.usedSeqs === 0 ? 0 : Math.max(0, holding.usedTokens - tokens);
        },
      };
    },
    get tenants() {
      return holdings.flatMap(({ promise }) =>
        promise.tenant === undefined ? [] : [promise.tenant],
      );
    },
    reservedTokens: (band) => {
      let tokens = 0;
      for (const { promise, tokens: promised } of holdings) {
        if (promise.band === band) tokens += promised;
      }
      return tokens;
    },
  };
}

/**
 * Every exchange under way: the one sweep that finds those that are late, and the view of them. Owns one timer, armed
 * only while there is something to look at.
 */
import type { Band, Clock } from '@aim-gpu/core';

/** How one exchange looks from outside; nothing of what was said in it. */
export interface ExchangeView {
  readonly requestId: string;
  readonly tenant: string;
  readonly model: string;
  readonly band: Band;
  /** `waiting` for an engine, `sent` and not answered, `passing` its answer on. */
  readonly state: 'waiting' | 'sent' | 'passing' | 'over';
  readonly instance: string | null;
  readonly ageMs: number;
  /** Tokens of the answer so far, estimated from its events. */
  readonly outputTokens: number;
}

/** What the sweep needs of an exchange. */
export interface LiveExchange {
  /** Ends itself when it is late. */
  check(nowMs: number): void;
  view(nowMs: number): ExchangeView;
  /** Goes to another engine when nothing of this one's answer has come. */
  abandon(instance: string): void;
}

/** Exchanges under way. */
export interface LiveExchanges {
  readonly size: number;
  add(exchange: LiveExchange): void;
  remove(exchange: LiveExchange): void;
  /** The engine of an instance answers nobody any more. */
  abandon(instance: string): void;
  views(): readonly ExchangeView[];
  close(): void;
}

/** Makes an empty set that looks after what is in it every `everyMs`. */
export function createLiveExchanges(options: {
  readonly clock: Clock;
  readonly everyMs: number;
}): LiveExchanges {
  const { clock, everyMs } = options;
  const live = new Set<LiveExchange>();
  let disarm: (() => void) | null = null;
  const arm = (): void => {
    disarm = clock.timer(everyMs, () => {
      disarm = null;
      const now = clock.monoMs();
      for (const exchange of [...live]) exchange.check(now);
      if (live.size > 0) arm();
    });
  };
  return {
    get size() {
      return live.size;
    },
    add: (exchange) => {
      live.add(exchange);
      if (disarm === null) arm();
    },
    remove: (exchange) => void live.delete(exchange),
    abandon: (instance) => {
      for (const exchange of [...live]) exchange.abandon(instance);
    },
    views: () => {
      const now = clock.monoMs();
      return [...live].map((exchange) => exchange.view(now));
    },
    close: () => {
      disarm?.();
      disarm = null;
    },
  };
}

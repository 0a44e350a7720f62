/**
 * Whether requests meet their targets: TTFT, TPOT and end-to-end percentiles, attainment, goodput, error budget and
 * burn rates of one (model, band). Owns what counts as good, bad and excluded; must not act on it.
 */
import type { LatencyTargets } from './bands.js';
import { EventRing } from './internal/event-ring.js';
import { LogHistogram } from './internal/log-histogram.js';

/**
 * How a request ended. `refused` is a refusal for want of capacity; a tenant's own limit is `limited` and a request
 * the engine would not take is `invalid`: both are excluded. `client_gone` counts only when the target had already
 * been missed.
 */
export type RequestOutcome =
  | 'complete'
  | 'failed'
  | 'refused'
  | 'preempted'
  | 'limited'
  | 'invalid'
  | 'client_gone';

/** What is known of one ended request; null where it never came to that. */
export interface RequestRecord {
  readonly outcome: RequestOutcome;
  readonly ttftMs: number | null;
  /** Mean time between tokens after the first; null for answers of fewer than two tokens. */
  readonly tpotMs: number | null;
  readonly e2eMs: number;
  readonly outputTokens: number;
  /** The request's own TTFT target in place of the band's. */
  readonly ttftTargetMs?: number | null;
}

/** Percentiles of the last minute; null when nothing was recorded. */
export interface Percentiles {
  readonly p50: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
}

/** Windows over which burn rates are read, in milliseconds. */
export const BURN_WINDOWS_MS = {
  '5m': 300_000,
  '30m': 1_800_000,
  '1h': 3_600_000,
  '2h': 7_200_000,
  '6h': 21_600_000,
  '1d': 86_400_000,
  '3d': 259_200_000,
} as const;

/** A window's name. */
export type BurnWindow = keyof typeof BURN_WINDOWS_MS;

/** An alert by two windows that both burn. */
export interface BurnAlert {
  readonly severity: 'page' | 'ticket';
  readonly long: BurnWindow;
  readonly short: BurnWindow;
  /** Burn rate from which it fires. */
  readonly threshold: number;
  readonly burn: number;
}

/** How a model and band do against their targets. */
export interface SloReport {
  readonly targets: LatencyTargets;
  readonly ttftMs: Percentiles;
  readonly tpotMs: Percentiles;
  readonly e2eMs: Percentiles;
  /** Share of good events in the last hour; null without events. */
  readonly attainment: number | null;
  /** Good requests a second over the last five minutes. */
  readonly goodputPerSecond: number;
  /** Share of the error budget of the last three days that is left; negative when overspent, null without events. */
  readonly budgetLeft: number | null;
  /** Share of bad events divided by the share allowed; null without events in the window. */
  readonly burn: Readonly<Record<BurnWindow, number | null>>;
  readonly alerts: readonly BurnAlert[];
}

/** Cells of a tracker in a snapshot. */
export interface SloDump {
  readonly fine: readonly (readonly [age: number, good: number, bad: number])[];
  readonly coarse: readonly (readonly [age: number, good: number, bad: number])[];
}

/** Tracks one (model, band). The caller tells the time, in monotonic milliseconds. */
export interface SloTracker {
  readonly targets: LatencyTargets;
  /** Judges what ends from now on by other targets; what was judged stays judged. */
  retarget(targets: LatencyTargets): void;
  /** Records one ended request. */
  record(request: RequestRecord, nowMs: number): void;
  /** Burn rate of a window; null without events. */
  burn(window: BurnWindow, nowMs: number): number | null;
  /** Alerts that fire now. */
  alerts(nowMs: number): readonly BurnAlert[];
  /** 95th percentile of TPOT over the last minute; null without events. */
  tpotP95Ms(nowMs: number): number | null;
  /** Attainment, percentiles and burn now. */
  report(nowMs: number): SloReport;
  /** Everything counted, for a snapshot. */
  dump(nowMs: number): SloDump;
  /** Puts back what a snapshot of `agoMs` ago holds. */
  restore(dump: SloDump, agoMs: number, nowMs: number): void;
}

const FINE_CELL_MS = 10_000;
const FINE_CELLS = 360;
const COARSE_CELL_MS = 300_000;
const COARSE_CELLS = 864;
const MIN_EVENTS = 50;
const MIN_BAD = 5;
/** Of the highest burn an objective allows, 1 ÷ (1 − objective): above it an alert could never fire. */
const MAX_BURN_SHARE = 0.8;

/** Google SRE workbook, multi-window multi-burn-rate alerts for a 30-day budget. */
const ALERTS: readonly {
  readonly severity: 'page' | 'ticket';
  readonly long: BurnWindow;
  readonly short: BurnWindow;
  readonly factor: number;
}[] = [
  { severity: 'page', long: '1h', short: '5m', factor: 14.4 },
  { severity: 'page', long: '6h', short: '30m', factor: 6 },
  { severity: 'ticket', long: '1d', short: '2h', factor: 3 },
  { severity: 'ticket', long: '3d', short: '6h', factor: 1 },
];

const QUANTILES = [0.5, 0.95, 0.99] as const;

/** Whether an event is good, bad, or does not count. */
function judge(request: RequestRecord, targets: LatencyTargets): 'good' | 'bad' | 'excluded' {
  const missed = (value: number | null, target: number | null): boolean =>
    target !== null && value !== null && value > target;
  if (request.outcome === 'limited' || request.outcome === 'invalid') return 'excluded';
  const ttftTarget = request.ttftTargetMs ?? targets.ttftMs;
  if (request.outcome === 'client_gone') {
    const waited = request.ttftMs ?? request.e2eMs;
    return missed(waited, ttftTarget) ? 'bad' : 'excluded';
  }
  if (request.outcome !== 'complete') return 'bad';
  return missed(request.ttftMs, ttftTarget) ||
    missed(request.tpotMs, targets.tpotMs) ||
    missed(request.e2eMs, targets.e2eMs)
    ? 'bad'
    : 'good';
}

/** Makes a tracker without events. */
export function createSloTracker(initial: LatencyTargets): SloTracker {
  let targets = initial;
  const ttft = new LogHistogram();
  const tpot = new LogHistogram();
  const e2e = new LogHistogram();
  const fine = new EventRing(FINE_CELL_MS, FINE_CELLS);
  const coarse = new EventRing(COARSE_CELL_MS, COARSE_CELLS);
  const allowedBad = (): number => Math.max(1e-6, 1 - targets.objective);

  const events = (window: BurnWindow, nowMs: number): { good: number; bad: number } => {
    const ms = BURN_WINDOWS_MS[window];
    return (ms <= FINE_CELL_MS * FINE_CELLS ? fine : coarse).sum(ms, nowMs);
  };
  const burn = (window: BurnWindow, nowMs: number): number | null => {
    const { good, bad } = events(window, nowMs);
    return good + bad === 0 ? null : bad / (good + bad) / allowedBad();
  };
  const percentiles = (histogram: LogHistogram, nowMs: number): Percentiles => {
    const [p50, p95, p99] = histogram.quantiles(QUANTILES, nowMs);
    return { p50: p50 ?? null, p95: p95 ?? null, p99: p99 ?? null };
  };
  const alerts = (nowMs: number): readonly BurnAlert[] =>
    ALERTS.flatMap(({ severity, long, short, factor }) => {
      const { good, bad } = events(long, nowMs);
      if (good + bad < MIN_EVENTS || bad < MIN_BAD) return [];
      const threshold = Math.min(factor, MAX_BURN_SHARE / allowedBad());
      const longBurn = burn(long, nowMs) ?? 0;
      const shortBurn = burn(short, nowMs) ?? 0;
      return longBurn >= threshold && shortBurn >= threshold
        ? [{ severity, long, short, threshold, burn: longBurn }]
        : [];
    });

  return {
    get targets() {
      return targets;
    },
    retarget: (next) => {
      targets = next;
    },
    record: (request, nowMs) => {
      if (request.ttftMs !== null) ttft.record(request.ttftMs, nowMs);
      if (request.tpotMs !== null) tpot.record(request.tpotMs, nowMs);
      if (request.outcome === 'complete') e2e.record(request.e2eMs, nowMs);
      const verdict = judge(request, targets);
      if (verdict === 'excluded') return;
      fine.record(verdict === 'good', nowMs);
      coarse.record(verdict === 'good', nowMs);
    },
    burn,
    alerts,
    tpotP95Ms: (nowMs) => tpot.quantiles([0.95], nowMs)[0] ?? null,
    report: (nowMs) => {
      const hour = events('1h', nowMs);
      const all = events('3d', nowMs);
      const total = all.good + all.bad;
      return {
        targets,
        ttftMs: percentiles(ttft, nowMs),
        tpotMs: percentiles(tpot, nowMs),
        e2eMs: percentiles(e2e, nowMs),
        attainment: hour.good + hour.bad === 0 ? null : hour.good / (hour.good + hour.bad),
        goodputPerSecond: events('5m', nowMs).good / (BURN_WINDOWS_MS['5m'] / 1000),
        budgetLeft: total === 0 ? null : 1 - all.bad / (total * allowedBad()),
        burn: {
          '5m': burn('5m', nowMs),
          '30m': burn('30m', nowMs),
          '1h': burn('1h', nowMs),
          '2h': burn('2h', nowMs),
          '6h': burn('6h', nowMs),
          '1d': burn('1d', nowMs),
          '3d': burn('3d', nowMs),
        },
        alerts: alerts(nowMs),
      };
    },
    dump: (nowMs) => ({ fine: fine.dump(nowMs), coarse: coarse.dump(nowMs) }),
    restore: (dump, agoMs, nowMs) => {
      fine.restore(dump.fine, agoMs, nowMs);
      coarse.restore(dump.coarse, agoMs, nowMs);
    },
  };
}

/**
 * Whether broken exchanges are an engine's fault or a request's. Owns the record of each engine: when it last answered
 * anybody, how many requests in a row it broke off, until when it is left alone. An engine that fails breaks everybody's;
 * a request that makes engines fail breaks its own, and must not take them away from the others.
 */
import type { ExchangeRequest, ExchangeTools } from './exchange-request.js';

/** So recently it answered somebody that it does not fail now. */
const RECENT_MS = 1_000;
/** Different requests, one after the other, that are no coincidence. */
const BROKEN_IN_A_ROW = 2;
const MAX_ENGINES = 4096;

/** What is known of one engine. */
export class EngineRecord {
  private answeredMs: number = Number.NEGATIVE_INFINITY;
  private brokenInARow: number = 0;
  private lastBroken: string | null = null;
  private aloneUntilMs: number = Number.NEGATIVE_INFINITY;

  /** It has said something to somebody. */
  answered(nowMs: number): void {
    this.answeredMs = nowMs;
    this.brokenInARow = 0;
    this.lastBroken = null;
  }

  /** It broke off what it had of a request. True when it is to be left alone for a while. */
  broke(requestId: string, nowMs: number): boolean {
    if (requestId !== this.lastBroken) this.brokenInARow += 1;
    this.lastBroken = requestId;
    return this.brokenInARow >= BROKEN_IN_A_ROW && nowMs - this.answeredMs > RECENT_MS;
  }

  /** It answers nobody, as far as is known, until then. */
  leaveAlone(untilMs: number): void {
    this.aloneUntilMs = untilMs;
  }

  isLeftAlone(nowMs: number): boolean {
    return nowMs < this.aloneUntilMs;
  }
}

/** The records of all engines. */
export interface EngineTrust {
  of(instance: string): EngineRecord;
}

/** Whether the model of a request has a fallback and no engine that may answer now, besides one that just failed. */
export function isStranded(
  { fallback, admit }: Pick<ExchangeRequest, 'fallback' | 'admit'>,
  { served, trust, clock }: Pick<ExchangeTools, 'served' | 'trust' | 'clock'>,
  besides: string | null,
): boolean {
  if (fallback === null) return false;
  const model = served.find(admit.model);
  if (model === undefined || model.ready === 0) return true;
  const nowMs = clock.monoMs();
  for (const { instance, state } of model.endpoints.values()) {
    const isOther = state === 'ready' && instance !== besides;
    if (isOther && !trust.of(instance).isLeftAlone(nowMs)) return false;
  }
  return true;
}

/** Makes empty records. */
export function createEngineTrust(): EngineTrust {
  const records = new Map<string, EngineRecord>();
  return {
    of: (instance) => {
      let record = records.get(instance);
      if (record === undefined) {
        // Instances come and go for years; what is forgotten here is a second's knowledge.
        if (records.size >= MAX_ENGINES) records.clear();
        record = new EngineRecord();
        records.set(instance, record);
      }
      return record;
    },
  };
}

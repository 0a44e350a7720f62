/**
 * The access log: one record for each request that was understood. Owns what is in it; no text of prompts or answers,
 * no keys.
 */
import type { Band } from '@aim-gpu/core';

/** One request, after its end. */
export interface AccessRecord {
  /** When it ended, milliseconds since 1970. */
  readonly at: number;
  readonly requestId: string;
  readonly traceId: string;
  readonly path: string;
  readonly tenant: string;
  readonly model: string;
  readonly band: Band;
  /** Null when no engine was reached. */
  readonly instance: string | null;
  /** The status, or 499 for a client that hung up and 5xx for an answer that broke off after its headers. */
  readonly code: number;
  readonly stream: boolean;
  /** Engines that were tried. */
  readonly tries: number;
  readonly promptTokens: number | null;
  readonly cachedTokens: number | null;
  readonly outputTokens: number | null;
  readonly queueMs: number | null;
  readonly ttftMs: number | null;
  readonly tpotMs: number | null;
  readonly durationMs: number;
}

/** Takes records; must not throw, and must not wait. */
export type AccessLog = (record: AccessRecord) => void;

/**
 * The access log: one record for each request that was answered by an engine or refused. Owns what is in it; no text of
 * prompts or answers, no keys.
 */
import type { Band } from '@aim-gpu/core';

/** One request, after its end. */
export interface AccessRecord {
  /** When it ended, milliseconds since 1970. */
  readonly at: number;
  readonly requestId: string;
  readonly traceId: string;
  /** Without its query; cut where the request was refused before it was understood. */
  readonly path: string;
  /** Null for a request that was refused before it was known: whose it is, what it asks for. */
  readonly tenant: string | null;
  readonly model: string | null;
  readonly band: Band | null;
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
  /** From the moment in which the request had been read; 0 for one that was refused at once. */
  readonly durationMs: number;
}

/** Takes records; must not throw, and must not wait. */
export type AccessLog = (record: AccessRecord) => void;

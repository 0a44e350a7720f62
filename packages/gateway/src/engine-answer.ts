/**
 * What has come of an engine's answer so far, and what of it may go on now: streams through their tap, answers in one
 * piece held until they are whole. Owns those bytes and the times of the first and the last content; writes nowhere.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { createStreamTap, type StreamTap } from './answer-tap.js';
import { returnedHeaders } from './header-hygiene.js';
import { type ReportedUsage, usageOfAnswer } from './reported-usage.js';

/** Answers in one piece are held up to this size, so that one that breaks off can still be asked of another engine. */
const HELD_BYTES = 256 * 1024;
const EMPTY = Buffer.alloc(0);

/** One answer of an engine. */
export class EngineAnswer {
  readonly status: number;
  /** Null for an answer in one piece. */
  readonly tap: StreamTap | null;
  firstMs: number | null = null;
  lastMs: number = 0;
  /** Whether anything of it went on already, so that the rest has to follow. */
  private passed: boolean = false;
  private readonly headers: IncomingHttpHeaders;
  private held: Buffer | null = null;
  private more: Buffer[] | null = null;
  private heldBytes: number = 0;
  private wholeUsage: ReportedUsage | null = null;

  constructor(
    status: number,
    headers: IncomingHttpHeaders,
    options: { readonly stripUsage: boolean },
  ) {
    this.status = status;
    this.headers = headers;
    const type = headers['content-type'];
    this.tap =
      type?.includes('text/event-stream') === true
        ? createStreamTap({ stripUsage: options.stripUsage })
        : null;
  }

  /** Tokens of content so far, by the events of a stream. */
  get events(): number {
    return this.tap === null ? 0 : this.tap.events;
  }

  /** The engine's own figures, as far as they were seen. */
  get usage(): ReportedUsage | null {
    return this.tap === null ? this.wholeUsage : this.tap.usage;
  }

  /** Takes bytes; returns those that may go on now. */
  push(chunk: Buffer, nowMs: number): Buffer {
    const { tap } = this;
    if (tap === null) return this.hold(chunk);
    const bytes = tap.push(chunk);
    if (tap.hasContent) {
      this.firstMs ??= nowMs;
      this.lastMs = nowMs;
    }
    return bytes;
  }

  /** The answer is complete: whatever has not gone on yet. */
  end(): Buffer {
    if (this.tap !== null) return this.tap.end();
    const rest = this.takeHeld();
    if (!this.passed) this.wholeUsage = usageOfAnswer(rest);
    return rest;
  }

  /** Headers for the client, names and values in turn; `length` is that of an answer which is known in whole. */
  headersFor(length: number | null): string[] {
    const headers = returnedHeaders(this.headers);
    this.passed = true;
    if (this.tap !== null)
      headers.push('cache-control', 'no-cache, no-transform', 'x-accel-buffering', 'no');
    else if (length !== null) headers.push('content-length', String(length));
    return headers;
  }

  private hold(chunk: Buffer): Buffer {
    if (this.passed) return chunk;
    if (this.held === null) this.held = chunk;
    else {
      this.more ??= [this.held];
      this.more.push(chunk);
    }
    this.heldBytes += chunk.length;
    return this.heldBytes > HELD_BYTES ? this.takeHeld() : EMPTY;
  }

  private takeHeld(): Buffer {
    const all = this.more === null ? (this.held ?? EMPTY) : Buffer.concat(this.more);
    this.held = null;
    this.more = null;
    this.heldBytes = 0;
    return all;
  }
}

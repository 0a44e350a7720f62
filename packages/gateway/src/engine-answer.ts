/**
 * What has come of an engine's answer so far, and what of it may go on now: streams through their tap, answers in one
 * piece held until they are whole. Owns those bytes and the times of the first and the last content; writes nowhere.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { createStreamTap, type StreamTap } from './answer-tap.js';
import { toClientError } from './engine-error.js';
import { returnedHeaders } from './header-hygiene.js';
import { type OpenAiError, refusalHeaders } from './openai-error.js';
import { type ReportedUsage, usageOfAnswer } from './reported-usage.js';

/** Answers in one piece are held up to this size, so that one that breaks off can still be asked of another engine. */
const HELD_BYTES = 256 * 1024;
/** Of a longer one so much of its end is kept, where most engines tell the usage; some tell it before the data. */
const TAIL_BYTES = 64 * 1024;
/** Errors are read to their end before anything goes on; longer ones say nothing that a client could use. */
const ERROR_BYTES = 64 * 1024;
const EMPTY = Buffer.alloc(0);
const EVENT_STREAM = /text\/event-stream/i;

/** One answer of an engine. */
export class EngineAnswer {
  /** As the client is told it. */
  status: number;
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
  /** The last bytes of an answer that went on before its end. */
  private tail: Buffer[] | null = null;
  private tailBytes: number = 0;
  private wholeUsage: ReportedUsage | null = null;
  /** What the client is told in place of the engine's words. */
  private error: OpenAiError | null = null;

  constructor(
    status: number,
    headers: IncomingHttpHeaders,
    options: { readonly stripUsage: boolean },
  ) {
    this.status = status;
    this.headers = headers;
    const type = headers['content-type'];
    this.tap =
      status < 400 && type !== undefined && EVENT_STREAM.test(type)
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
    if (this.status >= 400) return this.endOfError();
    const rest = this.takeHeld();
    if (this.tail === null) this.wholeUsage = usageOfAnswer(rest);
    else this.wholeUsage = usageOfAnswer(Buffer.concat(this.tail)) ?? this.wholeUsage;
    this.tail = null;
    return rest;
  }

  /** Headers for the client, names and values in turn; `length` is that of an answer which is known in whole. */
  headersFor(length: number | null): string[] {
    const headers =
      this.error === null
        ? returnedHeaders(this.headers)
        : ['content-type', 'application/json', ...refusalHeaders(this.error)];
    this.passed = true;
    if (this.tap !== null)
      headers.push('cache-control', 'no-cache, no-transform', 'x-accel-buffering', 'no');
    else if (length !== null && this.status !== NO_CONTENT)
      headers.push('content-length', String(length));
    return headers;
  }

  private endOfError(): Buffer {
    const isWhole = this.heldBytes <= ERROR_BYTES;
    const said = this.takeHeld();
    const error = toClientError(this.status, isWhole ? said : EMPTY);
    if (error === null) return said;
    this.status = error.status;
    this.error = error;
    return Buffer.from(JSON.stringify(error.body));
  }

  private hold(chunk: Buffer): Buffer {
    if (this.passed) {
      this.keepTail(chunk);
      return chunk;
    }
    const isError = this.status >= 400;
    this.heldBytes += chunk.length;
    if (isError && this.heldBytes > ERROR_BYTES) return EMPTY;
    if (this.held === null) this.held = chunk;
    else {
      this.more ??= [this.held];
      this.more.push(chunk);
    }
    if (isError || this.heldBytes <= HELD_BYTES) return EMPTY;
    const all = this.takeHeld();
    this.wholeUsage = usageOfAnswer(all);
    this.keepTail(all.subarray(-TAIL_BYTES));
    return all;
  }

  private keepTail(chunk: Buffer): void {
    this.tail ??= [];
    this.tail.push(chunk);
    this.tailBytes += chunk.length;
    for (;;) {
      const [first] = this.tail;
      if (first === undefined || this.tailBytes - first.length < TAIL_BYTES) return;
      this.tail.shift();
      this.tailBytes -= first.length;
    }
  }

  private takeHeld(): Buffer {
    const all = this.more === null ? (this.held ?? EMPTY) : Buffer.concat(this.more);
    this.held = null;
    this.more = null;
    this.heldBytes = 0;
    return all;
  }
}

const NO_CONTENT = 204;

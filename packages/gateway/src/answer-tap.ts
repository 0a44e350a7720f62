/**
 * The tap of an event stream: what the gateway learns of an answer while its bytes pass by. Finds the first content and
 * the usage, and takes out the usage that only the gateway asked for. Most chunks pass without being read.
 */

import { dataOf, EventBytes } from './event-bytes.js';
import { withoutField } from './json-field.js';
import { parseObject, type ReportedUsage, toUsage } from './reported-usage.js';

/** Watches an event stream. */
export interface StreamTap {
  /** Bytes that may go on to the client now. */
  push(chunk: Buffer): Buffer;
  /** Whatever was held back. */
  end(): Buffer;
  /** True from the first token of content on. */
  readonly hasContent: boolean;
  /** Events with data since the first content, an estimate of the tokens when the engine reports none. */
  readonly events: number;
  readonly usage: ReportedUsage | null;
}

// An event that is longer is forwarded unread: no engine sends such, and memory must stay bounded.
const MAX_EVENT_BYTES = 1024 * 1024;
// Of events without content; an engine that sends more of them before its first token gets them passed on.
const MAX_HELD_BYTES = 64 * 1024;
const EMPTY = Buffer.alloc(0);
const USAGE = Buffer.from('"usage"');
const DATA = Buffer.from('data:');
const DONE = Buffer.from('data: [DONE]');
const LF = 0x0a;
/** How engines write the field in every chunk but the last; at the very end it is the object's own. */
const NO_USAGE = Buffer.from(',"usage":null}\n\n');
const CLOSED = Buffer.from('}\n\n');

/** A tap for an event stream. Nothing is let through before the first content, so that a retry stays possible. */
export function createStreamTap(options: { readonly stripUsage: boolean }): StreamTap {
  return new EventTap(options.stripUsage);
}

class EventTap implements StreamTap {
  hasContent: boolean = false;
  events: number = 0;
  usage: ReportedUsage | null = null;
  private readonly stripUsage: boolean;
  private readonly pending: EventBytes = new EventBytes();
  private held: Buffer[] = [];
  private heldBytes: number = 0;

  constructor(stripUsage: boolean) {
    this.stripUsage = stripUsage;
  }

  push(chunk: Buffer): Buffer {
    const { length } = chunk;
    if (
      this.hasContent &&
      this.pending.length === 0 &&
      chunk[length - 1] === LF &&
      chunk[length - 2] === LF &&
      !chunk.includes(USAGE)
    ) {
      this.count(chunk);
      return chunk;
    }
    return this.cut(chunk);
  }

  end(): Buffer {
    // Engines have been seen to leave out the last blank line.
    const last = this.pending.length === 0 ? null : this.read(this.pending.rest());
    const rest = last === null ? this.held : [...this.held, last];
    this.held = [];
    return rest.length === 0 ? EMPTY : Buffer.concat(rest);
  }

  private count(bytes: Buffer): void {
    for (let at = bytes.indexOf(DATA); at >= 0; at = bytes.indexOf(DATA, at + DATA.length))
      this.events += 1;
    if (bytes.includes(DONE)) this.events -= 1;
  }

  private cut(chunk: Buffer): Buffer {
    const { pending } = this;
    pending.push(chunk);
    const events: Buffer[] = [];
    for (let whole = pending.next(); whole !== null; whole = pending.next()) {
      const event = this.read(whole);
      if (event !== null) events.push(event);
    }
    if (pending.length > MAX_EVENT_BYTES) {
      this.hasContent = true;
      events.push(pending.rest());
    }
    return this.release(events);
  }

  /** The event as it goes on, or null when it is the gateway's alone. */
  private read(event: Buffer): Buffer | null {
    if (this.hasContent && !event.includes(USAGE)) {
      this.count(event);
      return event;
    }
    if (this.hasContent && this.stripUsage && endsWith(event, NO_USAGE)) {
      this.count(event);
      return Buffer.concat([event.subarray(0, event.length - NO_USAGE.length), CLOSED]);
    }
    const data = dataOf(event);
    if (!this.hasContent && !isPreamble(data)) this.hasContent = true;
    const document = parseObject(data);
    const found = document === null ? null : toUsage(document['usage']);
    const choices = document?.['choices'];
    const isAlone = found !== null && Array.isArray(choices) && choices.length === 0;
    if (this.hasContent && !isAlone) this.count(event);
    if (document === null) return event;
    if (!('usage' in document)) {
      this.usage = usageOfResponse(document) ?? this.usage;
      return event;
    }
    this.usage = found ?? this.usage;
    if (!this.stripUsage) return event;
    return isAlone ? null : withoutUsage(event);
  }

  private release(events: readonly Buffer[]): Buffer {
    if (!this.hasContent) {
      this.held.push(...events);
      for (const event of events) this.heldBytes += event.length;
      if (this.heldBytes <= MAX_HELD_BYTES) return EMPTY;
      this.heldBytes = 0;
    }
    if (this.held.length === 0) {
      const [only] = events;
      if (only === undefined) return EMPTY;
      return events.length === 1 ? only : Buffer.concat(events);
    }
    const all = Buffer.concat([...this.held, ...events]);
    this.held = [];
    return all;
  }
}

function endsWith(bytes: Buffer, tail: Buffer): boolean {
  const from = bytes.length - tail.length;
  return from >= 0 && bytes.compare(tail, 0, tail.length, from) === 0;
}

/** The Responses API tells it with the whole response, in its last event. */
function usageOfResponse({ response }: Record<string, unknown>): ReportedUsage | null {
  if (typeof response !== 'object' || response === null) return null;
  return toUsage((response as { usage?: unknown }).usage);
}

/**
 * Whether an event says nothing that a client could use: a comment, or the chunk that only opens the answer. Whatever
 * is not known to be so counts as content, so that streams of other shapes pass at once.
 */
function isPreamble(data: string): boolean {
  if (data === '') return true;
  const choices = parseObject(data)?.['choices'];
  return Array.isArray(choices) && choices.every(isSilent);
}

function isSilent(choice: unknown): boolean {
  if (typeof choice !== 'object' || choice === null) return false;
  const { delta, text, finish_reason: finish } = choice as Record<string, unknown>;
  if (!isNothing(finish) || !isNothing(text)) return false;
  if (typeof delta !== 'object' || delta === null) return isNothing(delta);
  return Object.entries(delta).every(([name, value]) => name === 'role' || isNothing(value));
}

function isNothing(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true;
  return Array.isArray(value) && value.length === 0;
}

/** An event without its `usage` field; every other byte stays. */
function withoutUsage(event: Buffer): Buffer {
  const start = event.indexOf('{');
  if (start < 0) return event;
  const json = event.subarray(start, event.lastIndexOf('}') + 1);
  const rest = withoutField(json, 'usage');
  if (rest === json) return event;
  return Buffer.concat([event.subarray(0, start), rest, event.subarray(start + json.length)]);
}

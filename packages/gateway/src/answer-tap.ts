/**
 * Taps: what the gateway learns of an answer while its bytes pass by. A stream's tap finds the first content and the
 * usage, and takes out the usage event that only the gateway asked for; a JSON answer's tap reads usage at the end.
 */

import { withoutField } from './json-field.js';

/** Token counts as an engine reports them. */
interface ReportedUsage {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly outputTokens: number;
}

/** Watches an answer. */
export interface AnswerTap {
  /** Bytes that may go on to the client now. */
  push(chunk: Buffer): Buffer;
  /** Whatever was held back. */
  end(): Buffer;
  /** True from the first token of content on. */
  readonly hasContent: boolean;
  readonly usage: ReportedUsage | null;
}

// An event that is longer is forwarded unread: no engine sends such, and memory must stay bounded.
const MAX_EVENT_BYTES = 1024 * 1024;
const MAX_JSON_BYTES = 4 * 1024 * 1024;
// Of events without content; an engine that sends more of them before its first token gets them passed on.
const MAX_HELD_BYTES = 64 * 1024;
const EMPTY = Buffer.alloc(0);
const USAGE = '"usage"';

/** A tap for an event stream. Nothing is let through before the first content, so that a retry stays possible. */
export function createStreamTap(options: { readonly stripUsage: boolean }): AnswerTap {
  let pending: Buffer = EMPTY;
  let held: Buffer[] = [];
  let heldBytes = 0;
  let hasContent = false;
  let usage: ReportedUsage | null = null;

  /** The event as it goes on, or null when it is ours alone. */
  const read = (event: Buffer): Buffer | null => {
    if (hasContent && !event.includes(USAGE)) return event;
    const data = dataOf(event);
    if (!hasContent && !isPreamble(data)) hasContent = true;
    const document = parse(data);
    if (document === null || !('usage' in document)) return event;
    const found = toUsage(document['usage']);
    usage = found ?? usage;
    if (!options.stripUsage) return event;
    const { choices } = document;
    const isAlone = found !== null && Array.isArray(choices) && choices.length === 0;
    return isAlone ? null : withoutUsage(event);
  };
  const release = (events: readonly Buffer[]): Buffer => {
    if (!hasContent) {
      held.push(...events);
      for (const event of events) heldBytes += event.length;
      if (heldBytes <= MAX_HELD_BYTES) return EMPTY;
      const early = Buffer.concat(held);
      held = [];
      heldBytes = 0;
      return early;
    }
    const only = held.length === 0 && events.length === 1 ? events[0] : undefined;
    const all = only ?? Buffer.concat([...held, ...events]);
    held = [];
    return all;
  };

  return {
    push: (chunk) => {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
      const events: Buffer[] = [];
      for (let end = endOfEvent(pending); end > 0; end = endOfEvent(pending)) {
        const event = read(pending.subarray(0, end));
        pending = pending.subarray(end);
        if (event !== null) events.push(event);
      }
      if (pending.length > MAX_EVENT_BYTES) {
        hasContent = true;
        events.push(pending);
        pending = EMPTY;
      }
      return release(events);
    },
    end: () => {
      const rest = Buffer.concat([...held, pending]);
      held = [];
      pending = EMPTY;
      return rest;
    },
    get hasContent() {
      return hasContent;
    },
    get usage() {
      return usage;
    },
  };
}

/** A tap for an answer in one piece. */
export function createWholeTap(): AnswerTap {
  let chunks: Buffer[] | null = [];
  let size = 0;
  let usage: ReportedUsage | null = null;
  let seen = false;
  return {
    push: (chunk) => {
      seen = true;
      size += chunk.length;
      if (size > MAX_JSON_BYTES) chunks = null;
      chunks?.push(chunk);
      return chunk;
    },
    end: () => {
      if (chunks !== null) usage = usageOfJson(Buffer.concat(chunks).toString('utf8'));
      return EMPTY;
    },
    get hasContent() {
      return seen;
    },
    get usage() {
      return usage;
    },
  };
}

/** Index behind the first whole event: its blank line may end in LF or CRLF. */
function endOfEvent(bytes: Buffer): number {
  const plain = bytes.indexOf('\n\n');
  const carriage = bytes.indexOf('\r\n\r\n');
  if (plain < 0) return carriage < 0 ? 0 : carriage + 4;
  return carriage >= 0 && carriage < plain ? carriage + 4 : plain + 2;
}

/** The data of an event, its lines joined as the event-stream format says; empty for a comment. */
function dataOf(event: Buffer): string {
  return event
    .toString('utf8')
    .split(/\r?\n/)
    .filter((line) => line.startsWith('data:'))
    .map((line) => line.slice('data:'.length).trimStart())
    .join('\n');
}

/**
 * Whether an event says nothing that a client could use: a comment, or the chunk that only opens the answer. Whatever
 * is not known to be so counts as content, so that streams of other shapes pass at once.
 */
function isPreamble(data: string): boolean {
  if (data === '') return true;
  const choices = parse(data)?.['choices'];
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

function usageOfJson(text: string): ReportedUsage | null {
  return toUsage(parse(text)?.['usage']);
}

function parse(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

function toUsage(value: unknown): ReportedUsage | null {
  if (typeof value !== 'object' || value === null) return null;
  const usage = value as Record<string, unknown>;
  const details = usage['prompt_tokens_details'] as Record<string, unknown> | null | undefined;
  return {
    promptTokens: toCount(usage['prompt_tokens']),
    cachedTokens: toCount(details?.['cached_tokens']),
    outputTokens: toCount(usage['completion_tokens']),
  };
}

/** Engines' figures are taken as they are, but for those that cannot be. */
function toCount(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? Math.floor(value) : 0;
}

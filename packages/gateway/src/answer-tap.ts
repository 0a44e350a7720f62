/**
 * Taps: what the gateway learns of an answer while its bytes pass by. A stream's tap finds the first content and the
 * usage, and takes out the usage event that only the gateway asked for; a JSON answer's tap reads usage at the end.
 */

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
const EMPTY = Buffer.alloc(0);
const CONTENT =
  /"(?:content|reasoning_content|reasoning|text|arguments|refusal)":"[^"]|"tool_calls":\[\{/;
const USAGE = /"usage":\s*\{/;

/** A tap for an event stream. Nothing is let through before the first content, so that a retry stays possible. */
export function createStreamTap(options: { readonly stripUsage: boolean }): AnswerTap {
  let pending: Buffer = EMPTY;
  let held: Buffer[] = [];
  let hasContent = false;
  let usage: ReportedUsage | null = null;

  /** The event as it goes on, or null when it is ours alone. */
  const read = (event: Buffer): Buffer | null => {
    const text = event.toString('utf8');
    if (!hasContent && CONTENT.test(text)) hasContent = true;
    if (!USAGE.test(text)) return event;
    const found = usageOfEvent(text);
    usage = found.usage ?? usage;
    return options.stripUsage && found.alone ? null : event;
  };
  const release = (events: readonly Buffer[]): Buffer => {
    if (!hasContent) {
      held.push(...events);
      return EMPTY;
    }
    const all = Buffer.concat([...held, ...events]);
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

function usageOfEvent(text: string): {
  readonly usage: ReportedUsage | null;
  readonly alone: boolean;
} {
  for (const line of text.split(/\r?\n/)) {
    if (!line.startsWith('data:')) continue;
    const value = parse(line.slice(5));
    const usage = toUsage(value?.['usage']);
    if (usage !== null) {
      const choices = value?.['choices'];
      return { usage, alone: Array.isArray(choices) && choices.length === 0 };
    }
  }
  return { usage: null, alone: false };
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

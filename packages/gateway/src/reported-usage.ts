/**
 * Token counts as engines report them, found in bytes without reading the rest of an answer. Owns that search and the
 * doubt about the figures; charges nobody.
 */

/** Token counts as an engine reports them. */
export interface ReportedUsage {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly outputTokens: number;
}

const KEY = Buffer.from('"usage"');
const COLON = 0x3a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;
/** Longer ones are not looked at: vLLM's largest, with every detail, is below 400 bytes. */
const MAX_USAGE_BYTES = 4096;

/**
 * The usage of a JSON answer: the last field of that name whose value is an object. In valid JSON a quote inside a text
 * is escaped, so what looks like the key is one, or a whole text of that word, which no colon follows.
 */
export function usageOfAnswer(bytes: Buffer): ReportedUsage | null {
  let from = bytes.length;
  while (from > 0) {
    const at = bytes.lastIndexOf(KEY, from - 1);
    if (at < 0) return null;
    const start = valueAfter(bytes, at + KEY.length);
    const isKey = at === 0 || bytes[at - 1] !== BACKSLASH;
    if (isKey && start > 0 && bytes[start] === OPEN) {
      const end = endOfObject(bytes, start);
      // Latin-1 is cheaper to read, and nothing but names and figures is looked at.
      return end < 0 ? null : toUsage(parseObject(bytes.toString('latin1', start, end)));
    }
    from = at;
  }
  return null;
}

/** Reads a usage object. Figures that cannot be counts are 0; null for what is no object. */
export function toUsage(value: unknown): ReportedUsage | null {
  if (typeof value !== 'object' || value === null) return null;
  const usage = value as Record<string, unknown>;
  // The Responses API has other names for the same.
  const details = usage['prompt_tokens_details'] ?? usage['input_tokens_details'];
  const cached =
    typeof details === 'object' && details !== null
      ? (details as Record<string, unknown>)['cached_tokens']
      : undefined;
  return {
    promptTokens: toCount(usage['prompt_tokens'] ?? usage['input_tokens']),
    cachedTokens: toCount(cached),
    outputTokens: toCount(usage['completion_tokens'] ?? usage['output_tokens']),
  };
}

/** Figures cut to what a request of this size can have taken: an engine that errs must not empty an account. */
export function withinBounds(usage: ReportedUsage, most: number): ReportedUsage {
  if (usage.promptTokens <= most && usage.outputTokens <= most) return usage;
  const promptTokens = Math.min(usage.promptTokens, most);
  return {
    promptTokens,
    cachedTokens: Math.min(usage.cachedTokens, promptTokens),
    outputTokens: Math.min(usage.outputTokens, most),
  };
}

/** The JSON object in a text; null when it is none. */
export function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

function toCount(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? Math.floor(value) : 0;
}

/** Where the value behind a key begins; -1 when no colon follows. */
function valueAfter(bytes: Buffer, from: number): number {
  let at = from;
  while (isSpace(bytes[at])) at += 1;
  if (bytes[at] !== COLON) return -1;
  at += 1;
  while (isSpace(bytes[at])) at += 1;
  return at;
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** The end of an object; -1 when it does not end in time. */
function endOfObject(bytes: Buffer, start: number): number {
  const limit = Math.min(bytes.length, start + MAX_USAGE_BYTES);
  let depth = 0;
  let inText = false;
  for (let at = start; at < limit; at += 1) {
    const byte = bytes[at];
    if (inText) {
      if (byte === BACKSLASH) at += 1;
      else if (byte === QUOTE) inText = false;
    } else if (byte === QUOTE) inText = true;
    else if (byte === OPEN) depth += 1;
    else if (byte === CLOSE) {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  return -1;
}

/**
 * What the gateway needs to know of a request: model, stream, lengths, and the edits the engine's copy needs. Reads
 * spans of the bytes only; everything else reaches the engine as it came.
 */
import { type JsonSpan, scanJsonObject } from './json-scan.js';
import { badRequest, type OpenAiError } from './openai-error.js';

/** Facts of a request's body. */
export interface RequestFacts {
  readonly body: Buffer;
  readonly model: string;
  readonly stream: boolean;
  /** Whether the engine has to be asked for usage in a stream whose client did not ask for it. */
  readonly addUsage: boolean;
  /** Estimated: four bytes of text a token, a token for each number, a fixed size for each embedded file. */
  readonly promptTokens: number;
  readonly maxOutputTokens: number | null;
  readonly serviceTier: string | null;
  /** Answers asked for at once (`n`), 1 unless said. */
  readonly answers: number;
  /** Where the prompt is; null when there is none under a known name. */
  readonly promptSpan: JsonSpan | null;
  readonly modelSpan: JsonSpan;
  readonly streamOptionsSpan: JsonSpan | null;
}

const READ_FIELDS = [
  'model',
  'stream',
  'stream_options',
  'service_tier',
  'max_completion_tokens',
  'max_output_tokens',
  'max_tokens',
  'n',
] as const;
type Values = { [name in (typeof READ_FIELDS)[number]]?: unknown };

const MAX_DEPTH = 64;
const BYTES_PER_TOKEN = 4;
/** The only paths whose streams know `stream_options.include_usage`. */
const USAGE_PATHS: ReadonlySet<string> = new Set(['/v1/chat/completions', '/v1/completions']);
/** Tokens of an image in common vision models, 512 to 1500. */
const TOKENS_PER_FILE = 1000;

/** Reads the facts; an answer in OpenAI's shape when the body is not a request. */
export function readFacts(
  body: Buffer,
  options: { readonly path: string },
): RequestFacts | OpenAiError {
  const scan = scanJsonObject(body, { maxDepth: MAX_DEPTH });
  if (!scan.ok) return badRequest(scan.message);
  const { fields } = scan;
  const values: Values = {};
  for (const name of READ_FIELDS) {
    const span = fields.get(name);
    if (span === undefined) continue;
    try {
      values[name] = readValue(body, span);
    } catch {
      // The scanner looks for ends of strings only, so an escape that is none gets as far as here.
      return badRequest(`the value of ${name} is not valid JSON`, { param: name });
    }
  }
  const { model } = values;
  const modelSpan = fields.get('model');
  if (typeof model !== 'string' || model === '' || modelSpan === undefined) {
    return badRequest('you must provide a model parameter', { param: 'model' });
  }
  const streamOptions = values.stream_options;
  const wantsUsage =
    typeof streamOptions === 'object' &&
    streamOptions !== null &&
    (streamOptions as { include_usage?: unknown }).include_usage === true;
  const stream = values.stream === true;
  const tier = values.service_tier;
  const most =
    toCount(values.max_completion_tokens) ??
    toCount(values.max_output_tokens) ??
    toCount(values.max_tokens);
  const answers = toCount(values.n) ?? 1;
  return {
    body,
    model,
    stream,
    addUsage: stream && !wantsUsage && USAGE_PATHS.has(options.path),
    promptTokens:
      Math.ceil(scan.textBytes / BYTES_PER_TOKEN) + scan.numbers + scan.files * TOKENS_PER_FILE,
    maxOutputTokens: most === null ? null : most * answers,
    serviceTier: typeof tier === 'string' ? tier : null,
    answers,
    promptSpan: fields.get('messages') ?? fields.get('prompt') ?? fields.get('input') ?? null,
    modelSpan,
    streamOptionsSpan: fields.get('stream_options') ?? null,
  };
}

const QUOTE = 0x22;
const ZERO = 0x30;
const NINE = 0x39;
/** Whole numbers of so many digits are exact. */
const EXACT_DIGITS = 15;

/** The value at a place; most are whole numbers, for which a parser of everything is much. */
function readValue(body: Buffer, { start, end }: JsonSpan): unknown {
  if (end - start > EXACT_DIGITS || body[start] === QUOTE)
    return JSON.parse(body.toString('utf8', start, end));
  let count = 0;
  for (let at = start; at < end; at += 1) {
    const byte = body[at] as number;
    if (byte < ZERO || byte > NINE) return JSON.parse(body.toString('latin1', start, end));
    count = count * 10 + (byte - ZERO);
  }
  return count;
}

function toCount(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : null;
}

/** The bytes of the prompt, for telling whether two begin alike. */
export function toPrompt({ body, promptSpan }: RequestFacts): Buffer {
  return promptSpan === null
    ? body.subarray(0, 0)
    : body.subarray(promptSpan.start, promptSpan.end);
}

/**
 * The engine's copy of the body: usage asked for in streams whose client did not, and another model's name when a
 * fallback answers. The same bytes when neither is needed.
 */
export function toEngineBody(
  facts: RequestFacts,
  options: { readonly model: string | null },
): Buffer {
  const edits: { readonly start: number; readonly end: number; readonly text: string }[] = [];
  if (options.model !== null)
    edits.push({ ...facts.modelSpan, text: JSON.stringify(options.model) });
  if (facts.addUsage) {
    const span = facts.streamOptionsSpan;
    if (span === null) {
      // Behind the model's value, where a comma is always right.
      edits.push({
        start: facts.modelSpan.end,
        end: facts.modelSpan.end,
        text: ',"stream_options":{"include_usage":true}',
      });
    } else {
      edits.push({ ...span, text: withUsage(facts.body.toString('utf8', span.start, span.end)) });
    }
  }
  if (edits.length === 0) return facts.body;
  const parts: Buffer[] = [];
  let from = 0;
  for (const edit of edits.sort((a, b) => a.start - b.start)) {
    parts.push(facts.body.subarray(from, edit.start), Buffer.from(edit.text));
    from = edit.end;
  }
  parts.push(facts.body.subarray(from));
  return Buffer.concat(parts);
}

function withUsage(text: string): string {
  const given: unknown = JSON.parse(text);
  const options = typeof given === 'object' && given !== null ? given : {};
  return JSON.stringify({ ...options, include_usage: true });
}

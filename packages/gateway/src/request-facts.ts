/**
 * What the gateway needs to know of a request: model, stream, lengths, and the edits the engine's copy needs. Reads
 * spans of the bytes only; everything else reaches the engine as it came.
 */
import { fieldOf, withField } from './json-field.js';
import { type JsonKey, type JsonKeys, toJsonKeys } from './json-key.js';
import { type JsonSpan, scanJsonObject } from './json-scan.js';
import { OPEN_OBJECT, QUOTE } from './json-token.js';
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
  /** What all prompts together, and the largest of them, have for certain, however an engine cuts text into tokens. */
  readonly leastPromptTokens: number;
  readonly leastTokensOfOne: number;
  /** Prompts, each a sequence of its own for the engine: more than 1 in batches of embeddings or completions. */
  readonly prompts: number;
  /** For one answer. */
  readonly maxOutputTokens: number | null;
  readonly serviceTier: string | null;
  /** Answers asked for at once to each prompt (`n`), 1 unless said, 128 at most. */
  readonly answers: number;
  /** Where the prompt is; null when there is none under a known name. */
  readonly promptSpan: JsonSpan | null;
  readonly modelSpan: JsonSpan;
  readonly streamOptionsSpan: JsonSpan | null;
}

const MAX_DEPTH = 64;
const BYTES_PER_TOKEN = 4;
/**
 * No vocabulary of a common model has a longer token: those of cl100k_base, o200k_base and Llama 3, which are the
 * coarsest, end at runs of 128 blanks. Text has at least so few tokens; files and what a template adds count nothing.
 */
const MOST_BYTES_PER_TOKEN = 128;
/** The only paths whose streams know `stream_options.include_usage`. */
const USAGE_PATHS: ReadonlySet<string> = new Set(['/v1/chat/completions', '/v1/completions']);
/** What is answered with figures, not with tokens. */
const WITHOUT_OUTPUT: ReadonlySet<string> = new Set([
  '/v1/classify',
  '/v1/embeddings',
  '/v1/pooling',
  '/v1/rerank',
  '/v1/score',
]);
/** Its `input` is a list of messages, which are one prompt. */
const RESPONSES_PATH = '/v1/responses';
/** Tokens of an image in common vision models, 512 to 1500. */
const TOKENS_PER_FILE = 1000;
/** OpenAI's own bound of `n`. A number alone must not make a request look like more than an engine can do. */
const MOST_ANSWERS = 128;
/** Longer names are not looked at, nor are other values that cannot mean anything. */
const MAX_MODEL_BYTES = 1024;
const MAX_VALUE_BYTES = 64;
const MAX_OPTIONS_BYTES = 64 * 1024;

const READ = [
  'model',
  'stream',
  'stream_options',
  'service_tier',
  'max_completion_tokens',
  'max_output_tokens',
  'max_tokens',
  'n',
] as const;
const PLAIN_KEYS: readonly JsonKey[] = [
  ...READ.map((name): JsonKey => ({ name, prompts: 'none' })),
  { name: 'messages', prompts: 'one' },
];
/** Of completions and embeddings; `documents` of rerankers, the texts of scorers. */
const BATCHES = ['prompt', 'input', 'documents', 'text_1', 'text_2'];
const keysWith = (prompts: JsonKey['prompts']): JsonKeys =>
  toJsonKeys([...PLAIN_KEYS, ...BATCHES.map((name) => ({ name, prompts }))]);
const KEYS = keysWith('each');
const RESPONSES_KEYS = keysWith('one');
const SCAN = { keys: KEYS, maxDepth: MAX_DEPTH, bytesPerNumber: MOST_BYTES_PER_TOKEN };
const RESPONSES_SCAN = { ...SCAN, keys: RESPONSES_KEYS };

/** Reads the facts; an answer in OpenAI's shape when the body is not a request. `path` is without its query. */
export function readFacts(
  body: Buffer,
  options: { readonly path: string },
): RequestFacts | OpenAiError {
  const { path } = options;
  const scan = scanJsonObject(body, path === RESPONSES_PATH ? RESPONSES_SCAN : SCAN);
  if (!scan.ok) return badRequest(scan.message);
  const { fields, prompts } = scan;
  const modelSpan = fields.get('model');
  if (modelSpan === undefined) return modelMissing();
  if (modelSpan.end - modelSpan.start > MAX_MODEL_BYTES && body[modelSpan.start] === QUOTE) {
    const message = `the model’s name is longer than ${MAX_MODEL_BYTES} bytes`;
    return badRequest(message, { param: 'model' });
  }
  const model = textAt(body, modelSpan, MAX_MODEL_BYTES);
  const tier = textAt(body, fields.get('service_tier'), MAX_VALUE_BYTES);
  // The scanner looks for ends of strings only, so an escape that is none gets as far as here.
  if (model === false) return notJson('model');
  if (tier === false) return notJson('service_tier');
  if (model === null || model === '') return modelMissing();
  const stream = isTrue(body, fields.get('stream'));
  const streamOptionsSpan = fields.get('stream_options') ?? null;
  return {
    body,
    model,
    stream,
    addUsage: stream && USAGE_PATHS.has(path) && lacksUsage(body, streamOptionsSpan),
    promptTokens:
      Math.ceil(scan.textBytes / BYTES_PER_TOKEN) + scan.numbers + scan.files * TOKENS_PER_FILE,
    leastPromptTokens: Math.floor(prompts.allBytes / MOST_BYTES_PER_TOKEN),
    leastTokensOfOne: Math.floor(prompts.largestBytes / MOST_BYTES_PER_TOKEN),
    prompts: prompts.count,
    maxOutputTokens: WITHOUT_OUTPUT.has(path)
      ? 0
      : (countAt(body, fields.get('max_completion_tokens')) ??
        countAt(body, fields.get('max_output_tokens')) ??
        countAt(body, fields.get('max_tokens'))),
    serviceTier: tier,
    answers: Math.min(MOST_ANSWERS, countAt(body, fields.get('n')) ?? 1),
    promptSpan: fields.get('messages') ?? fields.get('prompt') ?? fields.get('input') ?? null,
    modelSpan,
    streamOptionsSpan,
  };
}

function modelMissing(): OpenAiError {
  return badRequest('you must provide a model parameter', { param: 'model' });
}

function notJson(name: string): OpenAiError {
  return badRequest(`the value of ${name} is not valid JSON`, { param: name });
}

/** The text at a place; null when there is none or it is too long to mean anything, false when its escapes are none. */
function textAt(
  body: Buffer,
  span: JsonSpan | undefined,
  mostBytes: number,
): string | null | false {
  if (span === undefined || body[span.start] !== QUOTE) return null;
  if (span.end - span.start > mostBytes) return null;
  try {
    return JSON.parse(body.toString('utf8', span.start, span.end)) as string;
  } catch {
    return false;
  }
}

const ZERO = 0x30;
const NINE = 0x39;
/** Whole numbers of so many digits are exact. */
const EXACT_DIGITS = 15;

/** The count at a place; most are plain digits, for which a parser of everything is much. */
function countAt(body: Buffer, span: JsonSpan | undefined): number | null {
  if (span === undefined) return null;
  const { start, end } = span;
  if (end - start > EXACT_DIGITS) return toCount(body, span);
  let count = 0;
  for (let at = start; at < end; at += 1) {
    const byte = body[at] as number;
    if (byte < ZERO || byte > NINE) return toCount(body, span);
    count = count * 10 + (byte - ZERO);
  }
  return count > 0 ? count : null;
}

/** Of a number as of its text, which engines' parsers take for one. */
function toCount(body: Buffer, { start, end }: JsonSpan): number | null {
  if (end - start > MAX_VALUE_BYTES) return null;
  const text = body.toString('latin1', start, end);
  const value = Number(text.startsWith('"') ? text.slice(1, -1).trim() || Number.NaN : text);
  return Number.isSafeInteger(value) && value > 0 ? value : null;
}

/** What pydantic, by which vLLM and SGLang read requests, takes for true where it is not strict. */
const TRUE_WORDS: ReadonlySet<string> = new Set(['1', 'on', 't', 'true', 'y', 'yes']);

function isTrue(body: Buffer, span: JsonSpan | undefined): boolean {
  if (span === undefined || span.end - span.start > MAX_VALUE_BYTES) return false;
  const text = body.toString('latin1', span.start, span.end);
  if (text === 'true') return true;
  if (text === 'false' || text === 'null') return false;
  if (!text.startsWith('"')) return Number(text) === 1;
  const word = textAt(body, span, MAX_VALUE_BYTES);
  return typeof word === 'string' && TRUE_WORDS.has(word.toLowerCase());
}

/** Whether a stream's options leave usage to be asked for. What is no object is the engine's to refuse. */
function lacksUsage(body: Buffer, span: JsonSpan | null): boolean {
  if (span === null || isNull(body, span)) return true;
  if (body[span.start] !== OPEN_OBJECT || span.end - span.start > MAX_OPTIONS_BYTES) return false;
  const value = fieldOf(body.subarray(span.start, span.end), 'include_usage');
  return value === null || !isTrue(value, { start: 0, end: value.length });
}

function isNull(body: Buffer, { start, end }: JsonSpan): boolean {
  return end - start === 4 && body[start] === 0x6e;
}

/** The bytes of the prompt, for telling whether two begin alike. */
export function toPrompt({ body, promptSpan }: RequestFacts): Buffer {
  return promptSpan === null
    ? body.subarray(0, 0)
    : body.subarray(promptSpan.start, promptSpan.end);
}

const WITH_USAGE = '{"include_usage":true}';

/**
 * The engine's copy of the body: usage asked for in streams whose client did not, and another model's name when a
 * fallback answers. The same bytes when neither is needed.
 */
export function toEngineBody(
  facts: RequestFacts,
  options: { readonly model: string | null },
): Buffer {
  const { body, modelSpan, streamOptionsSpan: span } = facts;
  const edits: { readonly start: number; readonly end: number; readonly bytes: Buffer }[] = [];
  if (options.model !== null)
    edits.push({ ...modelSpan, bytes: Buffer.from(JSON.stringify(options.model)) });
  if (facts.addUsage && span === null) {
    // Behind the model's value, where a comma is always right.
    const { end } = modelSpan;
    edits.push({ start: end, end, bytes: Buffer.from(`,"stream_options":${WITH_USAGE}`) });
  } else if (facts.addUsage && span !== null) {
    const bytes = isNull(body, span)
      ? Buffer.from(WITH_USAGE)
      : withField(body.subarray(span.start, span.end), 'include_usage', 'true');
    edits.push({ ...span, bytes });
  }
  if (edits.length === 0) return body;
  const parts: Buffer[] = [];
  let from = 0;
  for (const edit of edits.sort((a, b) => a.start - b.start)) {
    parts.push(body.subarray(from, edit.start), edit.bytes);
    from = edit.end;
  }
  parts.push(body.subarray(from));
  return Buffer.concat(parts);
}

// Makes a small language model of our own as a GGUF file (version 3, Llama architecture, 32-bit weights), so that tests
// can run a real inference server without anybody's weights. Owns the file format; knows nothing of servers.
//
// Two kinds. `chain`: a greedy run prints a given sentence word by word and stops by itself. `random`: readable words
// in random order without an end, for measuring speed; a run gives as many tokens as it is asked for.
import { writeFileSync } from 'node:fs';

const ALIGNMENT = 32;
const STRING = 8;
const WORD_START = '\u2581';
const SENTENCE =
  'the shared card serves one request after another and every token is counted before it leaves';
const MORE_WORDS =
  'a an of to in on for are was be as at by we you they model memory kernel wave cache queue tenant quota node pod lease fair slow fast warm cold load stream batch prompt answer time limit';
const CHAT_TEMPLATE =
  "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/**
 * @typedef {object} MicroModel
 * @property {'chain' | 'random'} [kind] - by default `chain`
 * @property {string} [name]
 * @property {number} [hiddenSize] - by default 64
 * @property {number} [layers] - by default 2
 * @property {number} [heads] - query heads, by default 4
 * @property {number} [kvHeads] - by default 2
 * @property {number} [feedForward] - by default twice the hidden size
 * @property {number} [contextTokens] - by default 8192
 * @property {number} [seed]
 * @property {string} [sentence] - what a `chain` says: distinct words, fewer than the hidden size
 */

/** @typedef {{ name: string, shape: number[], values: Float32Array }} Tensor */
/** @typedef {{ text: string, score: number, type: number }} Token */

/**
 * Writes the model to `file` and says how large it is.
 *
 * @param {string} file
 * @param {MicroModel} [model]
 * @returns {{ parameters: number, bytes: number, vocabulary: number }}
 */
export function writeMicroGguf(file, model = {}) {
  const shape = {
    kind: model.kind ?? 'chain',
    hidden: model.hiddenSize ?? 64,
    layers: model.layers ?? 2,
    heads: model.heads ?? 4,
    kvHeads: model.kvHeads ?? 2,
    feedForward: model.feedForward ?? 2 * (model.hiddenSize ?? 64),
    context: model.contextTokens ?? 8192,
  };
  const sentence = (model.sentence ?? SENTENCE).split(' ');
  if (new Set(sentence).size !== sentence.length || sentence.length >= shape.hidden)
    throw new Error('the sentence needs distinct words, fewer than the hidden size');
  const vocabulary = makeVocabulary(sentence);
  const tensors = makeTensors(shape, vocabulary, createNoise(model.seed ?? 1));
  const name = model.name ?? `micro-${shape.kind}-${shape.hidden}x${shape.layers}`;
  const bytes = encode(describe(shape, name, vocabulary.tokens), tensors);
  writeFileSync(file, bytes);
  return {
    parameters: tensors.reduce((sum, { values }) => sum + values.length, 0),
    bytes: bytes.length,
    vocabulary: vocabulary.tokens.length,
  };
}

/** Normally distributed numbers from a seed (mulberry32 and Box-Muller). */
function createNoise(/** @type {number} */ seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
}

/**
 * A sentence-piece vocabulary: specials, all bytes, ASCII characters, whole words. Pieces merge only through pieces
 * that exist, so every beginning of a word is one too, and the whole word scores best.
 *
 * @param {string[]} sentence
 */
function makeVocabulary(sentence) {
  /** @type {Token[]} */
  const tokens = [
    { text: '<unk>', score: 0, type: 2 },
    ...['<s>', '</s>', '<|im_start|>', '<|im_end|>'].map((text) => ({ text, score: 0, type: 3 })),
    ...Array.from({ length: 256 }, (_, byte) => ({
      text: `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
      score: 0,
      type: 6,
    })),
  ];
  const known = new Set(tokens.map(({ text }) => text));
  const add = (/** @type {string} */ text, /** @type {number} */ score) => {
    if (known.has(text)) return;
    known.add(text);
    tokens.push({ text, score, type: 1 });
  };
  add(WORD_START, -1000);
  for (let code = 33; code < 127; code += 1) add(String.fromCharCode(code), -1000 - code);
  const words = [...new Set([...sentence, ...MORE_WORDS.split(' ')])];
  for (const word of words) {
    const whole = WORD_START + word;
    for (let end = 2; end <= whole.length; end += 1) add(whole.slice(0, end), end - 100);
  }
  const ids = new Map(tokens.map(({ text }, id) => [text, id]));
  const idOf = (/** @type {string} */ word) => ids.get(WORD_START + word) ?? 0;
  return { tokens, sentenceIds: sentence.map(idOf), wordIds: new Set(words.map(idOf)) };
}

/**
 * A `chain` has one-hot embeddings (word i of the sentence on axis i, everything else on the last axis), layers that
 * add nothing, and output rows that point from each word to the next.
 *
 * @param {{ kind: string, hidden: number, layers: number, heads: number, kvHeads: number, feedForward: number }} shape
 * @param {{ tokens: Token[], sentenceIds: number[], wordIds: Set<number> }} vocabulary
 * @param {() => number} noise
 * @returns {Tensor[]}
 */
function makeTensors(shape, vocabulary, noise) {
  const { hidden, feedForward } = shape;
  const size = vocabulary.tokens.length;
  const chain = shape.kind === 'chain';
  /** @type {Tensor[]} */
  const tensors = [];
  const tensor = (
    /** @type {string} */ name,
    /** @type {number[]} */ dimensions,
    /** @type {(index: number) => number} */ fill,
  ) => {
    const values = new Float32Array(dimensions.reduce((product, each) => product * each, 1));
    for (let index = 0; index < values.length; index += 1) values[index] = fill(index);
    tensors.push({ name, shape: dimensions, values });
  };
  const scaled = (/** @type {number} */ scale) => () => noise() * scale;
  const one = () => 1;
  const weight = scaled(1 / Math.sqrt(hidden));
  const adding = chain ? () => 0 : weight;

  const axisOf = new Map(vocabulary.sentenceIds.map((id, axis) => [id, axis]));
  const last = hidden - 1;
  const END = 2;
  const followed = new Map(
    vocabulary.sentenceIds.map((_, axis) => [vocabulary.sentenceIds[axis + 1] ?? END, axis]),
  );
  const first = vocabulary.sentenceIds[0];
  tensor('token_embd.weight', [hidden, size], (index) =>
    chain ? Number(index % hidden === (axisOf.get(Math.floor(index / hidden)) ?? last)) : noise(),
  );
  tensor('output_norm.weight', [hidden], one);
  tensor('output.weight', [hidden, size], (index) => {
    const token = Math.floor(index / hidden);
    const axis = index % hidden;
    if (!chain) return vocabulary.wordIds.has(token) ? (noise() * 4) / Math.sqrt(hidden) : 0;
    const follows = axis === followed.get(token) || (token === first && axis === last);
    return follows ? 20 / Math.sqrt(hidden) : 0;
  });
  const kvWidth = (hidden / shape.heads) * shape.kvHeads;
  for (let layer = 0; layer < shape.layers; layer += 1) {
    const at = `blk.${layer}.`;
    tensor(`${at}attn_norm.weight`, [hidden], one);
    tensor(`${at}attn_q.weight`, [hidden, hidden], weight);
    tensor(`${at}attn_k.weight`, [hidden, kvWidth], weight);
    tensor(`${at}attn_v.weight`, [hidden, kvWidth], weight);
    tensor(`${at}attn_output.weight`, [hidden, hidden], adding);
    tensor(`${at}ffn_norm.weight`, [hidden], one);
    tensor(`${at}ffn_gate.weight`, [hidden, feedForward], weight);
    tensor(`${at}ffn_up.weight`, [hidden, feedForward], weight);
    tensor(`${at}ffn_down.weight`, [feedForward, hidden], adding);
  }
  return tensors;
}

/**
 * The file's key-value pairs, each with its encoded value.
 *
 * @param {{ hidden: number, layers: number, heads: number, kvHeads: number, feedForward: number, context: number }} shape
 * @param {string} name
 * @param {Token[]} tokens
 * @returns {[string, Buffer<ArrayBuffer>][]}
 */
function describe(shape, name, tokens) {
  return [
    ['general.architecture', text('llama')],
    ['general.name', text(name)],
    ['general.file_type', whole(0)],
    ['general.alignment', whole(ALIGNMENT)],
    ['llama.context_length', whole(shape.context)],
    ['llama.embedding_length', whole(shape.hidden)],
    ['llama.block_count', whole(shape.layers)],
    ['llama.feed_forward_length', whole(shape.feedForward)],
    ['llama.attention.head_count', whole(shape.heads)],
    ['llama.attention.head_count_kv', whole(shape.kvHeads)],
    ['llama.attention.layer_norm_rms_epsilon', Buffer.concat([u32(6), f32(1e-5)])],
    ['llama.rope.dimension_count', whole(shape.hidden / shape.heads)],
    ['llama.vocab_size', whole(tokens.length)],
    ['tokenizer.ggml.model', text('llama')],
    [
      'tokenizer.ggml.tokens',
      list(
        STRING,
        tokens.map((token) => string(token.text)),
      ),
    ],
    [
      'tokenizer.ggml.scores',
      list(
        6,
        tokens.map((token) => f32(token.score)),
      ),
    ],
    [
      'tokenizer.ggml.token_type',
      list(
        5,
        tokens.map((token) => u32(token.type)),
      ),
    ],
    ['tokenizer.ggml.bos_token_id', whole(1)],
    ['tokenizer.ggml.eos_token_id', whole(2)],
    ['tokenizer.ggml.unknown_token_id', whole(0)],
    ['tokenizer.ggml.add_bos_token', flag(true)],
    ['tokenizer.ggml.add_eos_token', flag(false)],
    ['tokenizer.chat_template', text(CHAT_TEMPLATE)],
  ];
}

/**
 * @param {[string, Buffer<ArrayBuffer>][]} pairs
 * @param {Tensor[]} tensors
 */
function encode(pairs, tensors) {
  const parts = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(pairs.length)];
  for (const [key, value] of pairs) parts.push(string(key), value);
  let offset = 0;
  for (const { name, shape, values } of tensors) {
    const dimensions = shape.map(u64);
    parts.push(string(name), u32(shape.length), ...dimensions, u32(0), u64(offset));
    offset += values.byteLength + missing(values.byteLength);
  }
  const head = Buffer.concat(parts);
  const body = tensors.flatMap(({ values }) => [
    Buffer.from(values.buffer),
    Buffer.alloc(missing(values.byteLength)),
  ]);
  return Buffer.concat([head, Buffer.alloc(missing(head.length)), ...body]);
}

/** Bytes up to the next aligned place. */
function missing(/** @type {number} */ length) {
  return (ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT;
}

function u32(/** @type {number} */ value) {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value);
  return buffer;
}

function u64(/** @type {number} */ value) {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(BigInt(value));
  return buffer;
}

function f32(/** @type {number} */ value) {
  const buffer = Buffer.alloc(4);
  buffer.writeFloatLE(value);
  return buffer;
}

function string(/** @type {string} */ value) {
  const bytes = Buffer.from(value, 'utf8');
  return Buffer.concat([u64(bytes.length), bytes]);
}

const whole = (/** @type {number} */ value) => Buffer.concat([u32(4), u32(value)]);
const flag = (/** @type {boolean} */ value) =>
  Buffer.concat([u32(7), Buffer.from([Number(value)])]);
const text = (/** @type {string} */ value) => Buffer.concat([u32(STRING), string(value)]);
const list = (/** @type {number} */ type, /** @type {Uint8Array<ArrayBuffer>[]} */ values) =>
  Buffer.concat([u32(9), u32(type), u64(values.length), ...values]);

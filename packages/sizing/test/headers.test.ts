import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AimError } from '@aim-gpu/core';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  countParameters,
  loadModelSource,
  parseGgufHeader,
  parseSafetensorsHeader,
  sizeModel,
  summariseCheckpoint,
} from '../src/index.js';
import { denseFields } from './fixtures.js';

/** A safetensors file with these tensors; data bytes are left out, `size` is what the file would have. */
function safetensors(
  tensors: Readonly<Record<string, { dtype: string; shape: number[]; bytes: number }>>,
): { bytes: Uint8Array; size: number } {
  let at = 0;
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  for (const [name, { dtype, shape, bytes }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [at, at + bytes] };
    at += bytes;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return { bytes, size: bytes.length + at };
}

class Writer {
  private readonly parts: number[] = [];
  u32(value: number): this {
    for (let shift = 0; shift < 32; shift += 8) this.parts.push((value >>> shift) & 255);
    return this;
  }
  u64(value: bigint): this {
    for (let shift = 0n; shift < 64n; shift += 8n) this.parts.push(Number((value >> shift) & 255n));
    return this;
  }
  text(value: string): this {
    const bytes = new TextEncoder().encode(value);
    this.u64(BigInt(bytes.length));
    this.parts.push(...bytes);
    return this;
  }
  bytes(): Uint8Array {
    return new Uint8Array(this.parts);
  }
}

type GgufTensor = readonly [name: string, shape: readonly number[], type: number];
const GGUF_TENSORS: readonly GgufTensor[] = [
  ['token_embd.weight', [1024, 32_000], 14],
  ['output_norm.weight', [1024], 0],
  ...Array.from({ length: 2 }, (_, layer): GgufTensor[] => [
    [`blk.${layer}.attn_q.weight`, [1024, 1024], 12],
    [`blk.${layer}.ffn_up.weight`, [1024, 4096], 12],
  ]).flat(),
];

function gguf(
  overrides: { magic?: number; version?: number; tensors?: bigint; metadata?: bigint } = {},
): Uint8Array {
  const writer = new Writer().u32(overrides.magic ?? 0x46554747).u32(overrides.version ?? 3);
  writer.u64(overrides.tensors ?? BigInt(GGUF_TENSORS.length)).u64(overrides.metadata ?? 8n);
  writer.text('general.architecture').u32(8).text('llama');
  for (const [key, value] of Object.entries({
    block_count: 2,
    embedding_length: 1024,
    feed_forward_length: 4096,
    'attention.head_count': 16,
    'attention.head_count_kv': 4,
    context_length: 8192,
  }))
    writer.text(`llama.${key}`).u32(4).u32(value);
  writer.text('tokenizer.ggml.tokens').u32(9).u32(8).u64(3n).text('a').text('b').text('c');
  for (const [name, shape, type] of GGUF_TENSORS) {
    writer.text(name).u32(shape.length);
    for (const size of shape) writer.u64(BigInt(size));
    writer.u32(type).u64(0n);
  }
  return writer.bytes();
}

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (AimError.is(error, 'ERR_CONFIG_INVALID')) return error.message;
    throw error;
  }
  throw new Error('was not refused');
}

describe('safetensors headers', () => {
  test('tensors with type, shape and bytes', () => {
    const { bytes, size } = safetensors({
      'a.weight': { dtype: 'BF16', shape: [4, 8], bytes: 64 },
      'b.weight': { dtype: 'F8_E4M3', shape: [8], bytes: 8 },
    });
    expect(parseSafetensorsHeader(bytes, size)).toEqual([
      { name: 'a.weight', type: 'BF16', shape: [4, 8], bytes: 64 },
      { name: 'b.weight', type: 'F8_E4M3', shape: [8], bytes: 8 },
    ]);
  });

  test.each([
    ['too short', new Uint8Array(4), 4],
    ['a header of 2^60 bytes', Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 16]), 100],
    ['a header longer than the file', Uint8Array.from([200, 0, 0, 0, 0, 0, 0, 0]), 100],
    ['no JSON', Uint8Array.from([2, 0, 0, 0, 0, 0, 0, 0, 123, 123]), 10],
  ])('%s is refused', (_name, bytes, size) => {
    expect(refusal(() => parseSafetensorsHeader(bytes, size))).toContain('header');
  });

  test.each([
    ['more bytes than the file has', { dtype: 'BF16', shape: [2 ** 20], bytes: 2 ** 21 }, 500],
    ['bytes that do not match the shape', { dtype: 'BF16', shape: [3], bytes: 8 }, 10_000],
    ['a negative shape', { dtype: 'BF16', shape: [-3], bytes: 8 }, 10_000],
  ])('%s is refused', (_name, tensor, size) => {
    refusal(() => parseSafetensorsHeader(safetensors({ x: tensor }).bytes, size));
  });

  test('sums: packed weights unpacked, scales not counted, prediction layers and a second head not loaded', () => {
    const facts = summariseCheckpoint(
      'safetensors',
      [
        {
          name: 'model.layers.0.mlp.up_proj.weight_packed',
          type: 'I32',
          shape: [16, 8],
          bytes: 512,
        },
        {
          name: 'model.layers.0.mlp.up_proj.weight_scale',
          type: 'BF16',
          shape: [16, 1],
          bytes: 32,
        },
        {
          name: 'model.layers.1.mlp.experts.0.up_proj.weight',
          type: 'U8',
          shape: [4, 4],
          bytes: 16,
        },
        { name: 'model.layers.2.self_attn.q_proj.weight', type: 'BF16', shape: [2, 2], bytes: 8 },
        { name: 'model.embed_tokens.weight', type: 'BF16', shape: [10, 2], bytes: 40 },
        { name: 'lm_head.weight', type: 'BF16', shape: [10, 2], bytes: 40 },
      ],
      { layers: 2, tied: true },
    );
    expect(facts).toEqual({
      format: 'safetensors',
      tensors: 6,
      storedBytes: 648,
      loadedBytes: 600,
      parameters: 1024 + 32 + 4 + 20,
    });
  });

  test('arbitrary bytes are refused, never a crash', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(1e6), (bytes, size) => {
        try {
          parseSafetensorsHeader(bytes, size);
        } catch (error) {
          if (!AimError.is(error, 'ERR_CONFIG_INVALID')) throw error;
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('GGUF headers', () => {
  test('metadata and tensors', () => {
    const result = parseGgufHeader(gguf(), 1e9);
    if (!result.ok) throw new Error(result.reason);
    expect(result.header.version).toBe(3);
    expect(result.header.metadata.get('llama.block_count')).toBe(2);
    expect(result.header.metadata.get('tokenizer.ggml.tokens')).toEqual({ length: 3, numbers: [] });
    expect(result.header.tensors[0]).toEqual({
      name: 'token_embd.weight',
      type: 'Q6_K',
      shape: [1024, 32_000],
      bytes: (1024 * 32_000 * 6.5625) / 8,
    });
  });

  test('a prefix asks for more while the file goes on, and is refused when it ends there', () => {
    const whole = gguf();
    expect(parseGgufHeader(whole.subarray(0, 100), 1e9)).toEqual({
      ok: false,
      reason: 'more bytes needed',
    });
    expect(refusal(() => parseGgufHeader(whole.subarray(0, 100), 100))).toContain('ends inside');
  });

  test.each([
    ['another format', gguf({ magic: 1 })],
    ['an old version', gguf({ version: 1 })],
    ['2^60 tensors', gguf({ tensors: 2n ** 60n })],
    ['2^60 metadata entries', gguf({ metadata: 2n ** 60n })],
  ])('%s is refused', (_name, bytes) => {
    refusal(() => parseGgufHeader(bytes, 1e9));
  });

  test('tensors larger than the file are refused', () => {
    expect(refusal(() => parseGgufHeader(gguf(), 1000))).toContain('claim');
  });

  test('mutated headers are refused or read, never a crash, never NaN', () => {
    const whole = gguf();
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        (changes) => {
          const bytes = whole.slice();
          for (const [at, value] of changes) bytes[at] = value;
          try {
            const result = parseGgufHeader(bytes, 1e9);
            if (result.ok)
              for (const tensor of result.header.tensors)
                expect(tensor.bytes).toBeGreaterThanOrEqual(0);
          } catch (error) {
            if (!AimError.is(error, 'ERR_CONFIG_INVALID')) throw error;
          }
        },
      ),
      { numRuns: 3000 },
    );
  });
});

describe('model directories', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-sizing-'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test('safetensors headers beside the config give exact parameters and weights', async () => {
    const fields = denseFields({
      num_hidden_layers: 1,
      tie_word_embeddings: true,
      vocab_size: 64,
      hidden_size: 16,
      intermediate_size: 32,
      num_attention_heads: 2,
      num_key_value_heads: 2,
    });
    writeFileSync(path.join(directory, 'config.json'), JSON.stringify(fields));
    const { bytes, size } = safetensors({
      'model.embed_tokens.weight': { dtype: 'BF16', shape: [64, 16], bytes: 2048 },
      'model.layers.0.mlp.up_proj.weight': { dtype: 'BF16', shape: [32, 16], bytes: 1024 },
    });
    const file = new Uint8Array(size);
    file.set(bytes);
    writeFileSync(path.join(directory, 'model.safetensors'), file);
    const config = await loadModelSource(directory);
    expect(config.checkpoint?.parameters).toBe(64 * 16 + 32 * 16);
    expect(sizeModel(config).parameters.total).toBe(1536);
    expect(countParameters(config).total).toBe(1536);
    const exact = sizeModel(config).perRank.weightsBytes;
    const assumed = sizeModel({ ...config, checkpoint: null }).perRank.weightsBytes;
    expect(exact).toBeLessThan(assumed);
    // Another precision than the checkpoint's is sized from the config again.
    expect(sizeModel(config, { quantization: 'fp8' }).perRank.weightsBytes).toBe(
      sizeModel({ ...config, checkpoint: null }, { quantization: 'fp8' }).perRank.weightsBytes,
    );
  });

  test('a truncated shard is refused with its path', async () => {
    writeFileSync(path.join(directory, 'model.safetensors'), new Uint8Array(5));
    await expect(loadModelSource(directory)).rejects.toMatchObject({ code: 'ERR_CONFIG_INVALID' });
  });

  test('a GGUF file is a model of its own', async () => {
    const header = gguf();
    const size = header.length + 40_000_000;
    const bytes = new Uint8Array(size);
    bytes.set(header);
    const file = path.join(directory, 'model.gguf');
    writeFileSync(file, bytes);
    const config = await loadModelSource(file);
    expect(config.layers.length).toBe(2);
    expect(config.tied).toBe(true);
    expect(config.approximate).toBe(false);
    expect(config.checkpoint?.format).toBe('gguf');
    const weights = sizeModel(config, { engine: 'llama.cpp' }).perRank.weightsBytes;
    expect(weights).toBeGreaterThan(config.checkpoint?.loadedBytes ?? 0);
    expect(weights).toBeLessThan(1.2 * (config.checkpoint?.loadedBytes ?? 0));
  });
});

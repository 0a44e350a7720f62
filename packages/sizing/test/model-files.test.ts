import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createModelLibrary, loadModelSource } from '../src/index.js';
import { denseFields } from './fixtures.js';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-models-'));
  writeFileSync(path.join(directory, 'config.json'), JSON.stringify(denseFields()));
  writeFileSync(
    path.join(directory, 'hf_quant_config.json'),
    JSON.stringify({ quantization: { quant_algo: 'FP8' } }),
  );
  writeFileSync(path.join(directory, 'binary.json'), Uint8Array.from([0xff, 0xfe, 0x00]));
  writeFileSync(path.join(directory, 'tokenizer.json'), JSON.stringify({ model: { vocab: {} } }));
  mkdirSync(path.join(directory, 'empty'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('the catalogue', () => {
  test('has the models that examples and profiles name', async () => {
    const ids = await createModelLibrary().ids();
    expect(ids).toEqual(
      expect.arrayContaining([
        'meta-llama/Llama-3.1-8B-Instruct',
        'meta-llama/Llama-3.2-1B-Instruct',
        'Qwen/Qwen3-30B-A3B-FP8',
        'Qwen/Qwen3-30B-A3B',
        'Qwen/Qwen3-32B-FP8',
        'Qwen/Qwen3-32B',
        'Qwen/Qwen3-1.7B',
        'Qwen/Qwen3-8B',
        'Qwen/Qwen2.5-7B-Instruct',
        'mistralai/Mixtral-8x7B-v0.1',
        'openai/gpt-oss-20b',
        'openai/gpt-oss-120b',
      ]),
    );
    expect(ids.length).toBeGreaterThanOrEqual(75);
  });

  test('every id loads', async () => {
    const library = createModelLibrary();
    for (const id of await library.ids()) expect((await library.load(id)).source).toBe(id);
  });

  test('ids are found whatever their case, and loaded once', async () => {
    const library = createModelLibrary();
    expect((await library.load('qwen/qwen3-8b')).source).toBe('Qwen/Qwen3-8B');
    expect(library.load('Qwen/Qwen3-8B')).toBe(library.load('Qwen/Qwen3-8B'));
  });

  test('the quantization file beside a bundled config is read', async () => {
    const config = await loadModelSource('nvidia/Llama-3.1-70B-Instruct-FP8');
    expect(config.quantization).toMatchObject({ base: { method: 'fp8' }, kvCache: 'fp8' });
  });

  test.each(['Qwen/Qwen3-8', 'qwen3-8b', 'meta-llama/Llama-3.1-8B'])(
    '%s: the nearest ids are named',
    async (id) => {
      await expect(loadModelSource(id)).rejects.toMatchObject({
        code: 'ERR_MODEL_UNKNOWN',
        kind: 'missing',
        hint: expect.stringMatching(/Qwen3-8B|Llama-3\.1-8B/),
      });
    },
  );

  test('an id like no other names none', async () => {
    await expect(loadModelSource('zzzzzzzz/qqqqqqqqqqqqqqqqqqqqqq')).rejects.toMatchObject({
      code: 'ERR_MODEL_UNKNOWN',
      details: { nearest: [] },
    });
  });
});

describe('paths', () => {
  test('a directory, with its quantization file', async () => {
    const config = await loadModelSource(directory);
    expect(config.hidden).toBe(1024);
    expect(config.quantization?.base.method).toBe('fp8');
  });

  test('a file, absolute and relative to the base directory', async () => {
    expect((await loadModelSource(path.join(directory, 'config.json'))).hidden).toBe(1024);
    const library = createModelLibrary({ baseDirectory: directory });
    expect((await library.load('./config.json')).hidden).toBe(1024);
    expect((await library.load('config.json')).hidden).toBe(1024);
  });

  test.each([
    ['a missing file', './nothing.json', 'ERR_FILE_MISSING'],
    ['a missing directory', '/nowhere/at/all', 'ERR_FILE_MISSING'],
    ['a directory without a config', './empty', 'ERR_FILE_MISSING'],
    ['a file below a file', './config.json/config.json', 'ERR_FILE_MISSING'],
    ['a file that is not text', './binary.json', 'ERR_CONFIG_INVALID'],
    ['a tokenizer', './tokenizer.json', 'ERR_CONFIG_INVALID'],
  ])('%s', async (_name, source, code) => {
    const library = createModelLibrary({ baseDirectory: directory });
    await expect(library.load(source)).rejects.toMatchObject({ code });
  });

  test('a failure is not remembered', async () => {
    const library = createModelLibrary({ baseDirectory: directory });
    await expect(library.load('./late.json')).rejects.toMatchObject({ code: 'ERR_FILE_MISSING' });
    writeFileSync(path.join(directory, 'late.json'), JSON.stringify(denseFields()));
    expect((await library.load('./late.json')).hidden).toBe(1024);
  });
});

import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { getLlamaServer } from '../get-llama-server.mjs';
import { writeMicroGguf } from '../micro-gguf.mjs';

const tool = path.resolve(import.meta.dirname, '../get-llama-server.mjs');
/** @type {string} */
let directory;
beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-llama-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('a tree that cannot be had', () => {
  test('is said in one line, with the exit code of a component that is missing', async () => {
    const running = promisify(execFile)(process.execPath, [tool, '--cache', directory], {
      env: { PATH: directory },
    });
    await expect(running).rejects.toMatchObject({
      code: 75,
      stdout: '',
      stderr: expect.stringMatching(/^llama-server cannot be had here: .+\n$/),
    });
  });

  test('leaves nothing half unpacked behind', async () => {
    const path0 = process.env['PATH'];
    process.env['PATH'] = directory;
    try {
      expect(await getLlamaServer({ cache: path.join(directory, 'cache') })).toMatchObject({
        ok: false,
      });
    } finally {
      process.env['PATH'] = path0;
    }
  });
});

describe('a model of our own', () => {
  test('is a GGUF file whose tensors end where the file ends', () => {
    const file = path.join(directory, 'model.gguf');
    const made = writeMicroGguf(file, { kind: 'random', hiddenSize: 32, layers: 1 });
    const bytes = readFileSync(file);
    expect(bytes.toString('latin1', 0, 4)).toBe('GGUF');
    expect(bytes.readUInt32LE(4)).toBe(3);
    expect(bytes.readBigUInt64LE(8)).toBe(12n);
    expect(bytes.length).toBe(made.bytes);
    expect(bytes.length).toBeGreaterThan(4 * made.parameters);
    expect(bytes.length).toBeLessThan(4 * made.parameters + 64 * 1024);
  });

  test('is the same for the same seed and another for another', () => {
    const files = [1, 1, 2].map((seed, index) => {
      const file = path.join(directory, `${index}.gguf`);
      writeMicroGguf(file, { kind: 'random', hiddenSize: 32, layers: 1, seed });
      return readFileSync(file);
    });
    expect(files[0]?.equals(/** @type {Buffer} */ (files[1]))).toBe(true);
    expect(files[0]?.equals(/** @type {Buffer} */ (files[2]))).toBe(false);
  });

  test.each([
    ['the same word the same'],
    [Array.from({ length: 64 }, (_, i) => `w${i}`).join(' ')],
  ])('refuses to say what it cannot: %s', (sentence) => {
    expect(() => writeMicroGguf(path.join(directory, 'x.gguf'), { sentence })).toThrow(/distinct/);
  });
});

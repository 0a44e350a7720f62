import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AimError } from '@aim-gpu/core';
import { parseFleet, readFleetFile } from '@aim-gpu/fleet';
import { afterAll, describe, expect, it } from 'vitest';
import { GOOD_FILE } from './broken-files.js';

const directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-fleet-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function write(name: string, content: string | Uint8Array): string {
  const file = path.join(directory, name);
  writeFileSync(file, content);
  return file;
}

async function refusal(reading: Promise<unknown>): Promise<AimError> {
  const error: unknown = await reading.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!AimError.is(error)) throw new Error(`expected an AimError, got ${String(error)}`);
  return error;
}

describe('readFleetFile', () => {
  it('reads what parseFleet parses', async () => {
    const file = write('good.yaml', GOOD_FILE);
    expect(await readFleetFile(file)).toEqual(parseFleet(GOOD_FILE, { file }));
    const { fleet } = await readFleetFile(file, { driver: 'rocm' });
    expect(fleet.nodes[0]?.driver).toBe('rocm');
  });

  it('takes relative paths from the file’s own directory', async () => {
    const file = write(
      'relative.yaml',
      GOOD_FILE.replace('meta-llama/Llama-3.1-8B-Instruct', './tiny'),
    );
    const relative = path.relative(process.cwd(), file);
    expect((await readFleetFile(relative)).fleet.models[0]?.source).toBe(
      path.join(directory, 'tiny'),
    );
  });

  it('names the file as it was given in errors', async () => {
    const file = path.relative(process.cwd(), write('bad.yaml', 'kind: Fleet\n'));
    expect((await refusal(readFleetFile(file))).at?.file).toBe(file);
  });

  it('refuses bytes that are not UTF-8', async () => {
    const error = await refusal(
      readFleetFile(write('latin1.yaml', new Uint8Array([0x61, 0x3a, 0x20, 0xe9]))),
    );
    expect([error.code, error.at?.column]).toEqual(['ERR_CONFIG_INVALID', 4]);
  });

  it.each([
    ['a file that is not there', 'nowhere.yaml', 'ERR_FILE_MISSING', 'missing'],
    ['a path through a file', 'good.yaml/fleet.yaml', 'ERR_FILE_MISSING', 'missing'],
    ['a directory', '.', 'ERR_CONFIG_INVALID', 'invalid'],
    ['a name with a NUL', 'a\0b', 'ERR_FILE_IO', 'unavailable'],
  ])('says what is wrong with %s', async (_, name, code, kind) => {
    const error = await refusal(readFleetFile(`${directory}/${name}`));
    expect([error.code, error.kind]).toEqual([code, kind]);
    expect(error.message).toContain(name);
    expect(error.hint).toMatch(/\S/);
  });

  it.skipIf(process.getuid?.() === 0)('says that a file may not be read', async () => {
    const file = write('closed.yaml', GOOD_FILE);
    chmodSync(file, 0o000);
    const error = await refusal(readFleetFile(file));
    expect([error.code, error.kind]).toEqual(['ERR_FILE_PERMISSION', 'denied']);
  });

  it('stops when told to, with the reason it was given', async () => {
    const reason = new Error('enough');
    await expect(
      readFleetFile(write('slow.yaml', GOOD_FILE), { signal: AbortSignal.abort(reason) }),
    ).rejects.toBe(reason);
  });
});

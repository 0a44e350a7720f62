/**
 * Every read of a file that this package does, with the errors of files that are not there or not text.
 * Owns no meaning: what a file says is the parsers' business.
 */
import { open, readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { AimError } from '@aim-gpu/core';
import { invalidConfig, missingFile } from './errors.js';

const DATA = fileURLToPath(new URL('../data/', import.meta.url));
const LARGEST_TEXT = 16 * 1024 * 1024;

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
}

function isMissing(error: unknown): boolean {
  return codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR';
}

/** Path of a file that ships with the package, below its data directory. */
export function bundledPath(...parts: readonly string[]): string {
  return path.join(DATA, ...parts);
}

/** Whether a path is a directory, a file, or nothing. */
export async function kindOfPath(file: string): Promise<'directory' | 'file' | null> {
  try {
    return (await stat(file)).isDirectory() ? 'directory' : 'file';
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

/** Names in a directory, sorted. */
export async function listDirectory(directory: string): Promise<readonly string[]> {
  return (await readdir(directory)).sort();
}

/** Reads UTF-8 text. Throws `ERR_FILE_MISSING` or `ERR_CONFIG_INVALID` for what is too large or not text. */
export async function readTextFile(file: string, signal?: AbortSignal): Promise<string> {
  try {
    const { size } = await stat(file);
    if (size > LARGEST_TEXT)
      throw invalidConfig(
        file,
        '',
        `${size} bytes are too many`,
        'give the config.json of the model',
      );
    const bytes = await readFile(file, signal === undefined ? {} : { signal });
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    if (AimError.is(error)) throw error;
    if (isMissing(error)) throw missingFile(file, 'file');
    if (error instanceof TypeError)
      throw invalidConfig(file, '', 'not UTF-8 text', 'give the config.json of the model', error);
    throw error;
  }
}

/** Reads text that may be absent; undefined then. */
export async function readOptionalText(
  file: string,
  signal?: AbortSignal,
): Promise<string | undefined> {
  return (await kindOfPath(file)) === 'file' ? readTextFile(file, signal) : undefined;
}

/** The first bytes of a file and its size. Throws `ERR_FILE_MISSING`. */
export async function readPrefix(
  file: string,
  length: number,
): Promise<{ bytes: Uint8Array; fileSize: number }> {
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(file, 'r');
  } catch (error) {
    if (isMissing(error)) throw missingFile(file, 'file');
    throw error;
  }
  try {
    const { size } = await handle.stat();
    const bytes = new Uint8Array(Math.min(length, size));
    let at = 0;
    while (at < bytes.length) {
      const { bytesRead } = await handle.read(bytes, at, bytes.length - at, at);
      if (bytesRead === 0) break;
      at += bytesRead;
    }
    return { bytes: bytes.subarray(0, at), fileSize: size };
  } finally {
    await handle.close();
  }
}

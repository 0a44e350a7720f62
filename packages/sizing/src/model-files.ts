/**
 * The only file of this package that reads files: bundled model configurations, a config.json, a model directory.
 * Owns the choice between catalogue id and path, and the errors of files that are not there.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { AimError, type CallOptions } from '@aim-gpu/core';
import { invalidConfig, missingFile, unknownModel } from './errors.js';
import { parseJsonText } from './json-text.js';
import type { ModelConfig } from './model-config.js';
import { nearestNames } from './nearest-names.js';
import { parseModelConfig } from './parse-config.js';

const BUNDLED = fileURLToPath(new URL('../data/configs/', import.meta.url));
const QUANTIZATION_FILE = 'hf_quant_config.json';
const QUANTIZATION_SUFFIX = '.hf_quant_config.json';
const LARGEST_CONFIG = 16 * 1024 * 1024;

/** Model configurations by catalogue id or path. Made by {@link createModelLibrary}. */
export interface ModelLibrary {
  /** Ids of the bundled configurations, sorted. */
  ids(): Promise<readonly string[]>;
  /**
   * The configuration of a catalogue id, of a config.json, or of a model directory. Loaded once, then remembered.
   * Throws `ERR_FILE_MISSING` or `ERR_MODEL_UNKNOWN` (missing, naming the nearest ids) or `ERR_CONFIG_INVALID`.
   */
  load(source: string, options?: CallOptions): Promise<ModelConfig>;
}

/** Options of {@link createModelLibrary}. */
export interface ModelLibraryOptions {
  /** What relative paths are relative to; the current directory by default. */
  readonly baseDirectory?: string;
}

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
}

function isMissing(error: unknown): boolean {
  return codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR';
}

async function readText(file: string, signal: AbortSignal | undefined): Promise<string> {
  try {
    const { size } = await stat(file);
    if (size > LARGEST_CONFIG)
      throw invalidConfig(
        file,
        '',
        `${size} bytes are too many for a model config`,
        'give the config.json of the model',
      );
    return new TextDecoder('utf-8', { fatal: true }).decode(
      await readFile(file, signal === undefined ? {} : { signal }),
    );
  } catch (error) {
    if (AimError.is(error)) throw error;
    if (isMissing(error)) throw missingFile(file, 'file');
    if (error instanceof TypeError)
      throw invalidConfig(file, '', 'not UTF-8 text', 'give the config.json of the model', error);
    throw error;
  }
}

async function optionalJson(file: string, signal: AbortSignal | undefined): Promise<unknown> {
  try {
    return parseJsonText(await readText(file, signal), file);
  } catch (error) {
    if (AimError.is(error, 'ERR_FILE_MISSING')) return undefined;
    throw error;
  }
}

async function loadDirectory(
  directory: string,
  signal: AbortSignal | undefined,
): Promise<ModelConfig> {
  const file = path.join(directory, 'config.json');
  const text = await readText(file, signal);
  const quantization = await optionalJson(path.join(directory, QUANTIZATION_FILE), signal);
  return parseModelConfig(text, {
    source: file,
    ...(quantization === undefined ? {} : { quantization }),
  });
}

async function bundledIds(): Promise<readonly string[]> {
  const files = await readdir(BUNDLED);
  return files
    .filter((file) => file.endsWith('.json') && !file.endsWith(QUANTIZATION_SUFFIX))
    .map((file) => file.slice(0, -'.json'.length).replace('__', '/'))
    .sort();
}

async function loadBundled(id: string, signal: AbortSignal | undefined): Promise<ModelConfig> {
  const stem = path.join(BUNDLED, id.replace('/', '__'));
  const text = await readText(`${stem}.json`, signal);
  const quantization = await optionalJson(`${stem}${QUANTIZATION_SUFFIX}`, signal);
  return parseModelConfig(text, {
    source: id,
    ...(quantization === undefined ? {} : { quantization }),
  });
}

function looksLikePath(source: string): boolean {
  return path.isAbsolute(source) || /^\.{1,2}(?:[/\\]|$)/.test(source) || source.endsWith('.json');
}

async function kindOf(file: string): Promise<'directory' | 'file' | null> {
  try {
    return (await stat(file)).isDirectory() ? 'directory' : 'file';
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

/**
 * Makes a library of model configurations: the bundled catalogue, files and model directories.
 * Nothing is read until the first `load`.
 */
export function createModelLibrary(options: ModelLibraryOptions = {}): ModelLibrary {
  const known = new Map<string, Promise<ModelConfig>>();
  let catalogue: Promise<readonly string[]> | undefined;
  const ids = (): Promise<readonly string[]> => {
    catalogue ??= bundledIds();
    return catalogue;
  };
  const read = async (source: string, signal: AbortSignal | undefined): Promise<ModelConfig> => {
    const file = path.resolve(options.baseDirectory ?? '.', source);
    if (!looksLikePath(source)) {
      const all = await ids();
      const id =
        all.find((one) => one === source) ??
        all.find((one) => one.toLowerCase() === source.toLowerCase());
      if (id !== undefined) return loadBundled(id, signal);
    }
    const kind = await kindOf(file);
    if (kind === 'directory') return loadDirectory(file, signal);
    if (kind === 'file') return parseModelConfig(await readText(file, signal), { source: file });
    if (looksLikePath(source)) throw missingFile(file, 'file or directory');
    throw unknownModel(source, nearestNames(source, await ids()));
  };
  return {
    ids,
    load: (source, call = {}) => {
      const before = known.get(source);
      if (before !== undefined) return before;
      const loading = read(source, call.signal);
      known.set(source, loading);
      // A failure is not remembered: the file may appear later.
      loading.catch(() => known.delete(source));
      return loading;
    },
  };
}

/** Loads one model configuration; {@link createModelLibrary} remembers several. Throws as `ModelLibrary.load` does. */
export function loadModelSource(
  source: string,
  options: ModelLibraryOptions & CallOptions = {},
): Promise<ModelConfig> {
  return createModelLibrary(options).load(source, options);
}

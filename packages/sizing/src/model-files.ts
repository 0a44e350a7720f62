/**
 * Where a model comes from: the bundled catalogue, a config.json, a model directory with safetensors files, a GGUF file.
 * Owns the choice between catalogue id and path, and what is read beside a config; file-access.ts does the reading.
 */
import path from 'node:path';
import type { CallOptions } from '@aim-gpu/core';
import { type StoredTensor, summariseCheckpoint } from './checkpoint.js';
import { invalidConfig, missingFile, unknownModel } from './errors.js';
import {
  bundledPath,
  kindOfPath,
  listDirectory,
  readOptionalText,
  readPrefix,
  readTextFile,
} from './file-access.js';
import { ggufConfigFields } from './gguf-config.js';
import { parseGgufHeader } from './gguf-header.js';
import { parseJsonText } from './json-text.js';
import type { ModelConfig } from './model-config.js';
import { nearestNames } from './nearest-names.js';
import { parseModelConfig } from './parse-config.js';
import { parseSafetensorsHeader, safetensorsHeaderLength } from './safetensors-header.js';

const CONFIGS = bundledPath('configs');
const QUANTIZATION_FILE = 'hf_quant_config.json';
const QUANTIZATION_SUFFIX = '.hf_quant_config.json';
const FIRST_GGUF_BYTES = 8 * 1024 * 1024;
const MOST_GGUF_BYTES = 512 * 1024 * 1024;

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

function ownTensors(config: ModelConfig): { layers: number; tied: boolean } {
  return { layers: config.layers.length, tied: config.tied };
}

async function safetensorsOf(
  directory: string,
  files: readonly string[],
): Promise<readonly StoredTensor[]> {
  const tensors: StoredTensor[] = [];
  for (const name of files) {
    const file = path.join(directory, name);
    const start = await readPrefix(file, 8);
    const length = safetensorsHeaderLength(start.bytes, start.fileSize, file);
    const { bytes, fileSize } = await readPrefix(file, length);
    tensors.push(...parseSafetensorsHeader(bytes, fileSize, file));
  }
  return tensors;
}

async function loadGguf(file: string): Promise<ModelConfig> {
  for (let length = FIRST_GGUF_BYTES; length <= MOST_GGUF_BYTES; length *= 4) {
    const { bytes, fileSize } = await readPrefix(file, length);
    const result = parseGgufHeader(bytes, fileSize, file);
    if (!result.ok) continue;
    const config = parseModelConfig(ggufConfigFields(result.header, file), { source: file });
    return {
      ...config,
      checkpoint: summariseCheckpoint('gguf', result.header.tensors, ownTensors(config)),
    };
  }
  throw invalidConfig(
    file,
    'header',
    `longer than ${MOST_GGUF_BYTES} bytes`,
    'give a GGUF file of a language model',
  );
}

async function loadConfig(
  text: string,
  source: string,
  quantizationFile: string,
  signal: AbortSignal | undefined,
): Promise<ModelConfig> {
  const beside = await readOptionalText(quantizationFile, signal);
  const quantization = beside === undefined ? undefined : parseJsonText(beside, quantizationFile);
  return parseModelConfig(text, {
    source,
    ...(quantization === undefined ? {} : { quantization }),
  });
}

async function loadDirectory(
  directory: string,
  signal: AbortSignal | undefined,
): Promise<ModelConfig> {
  const names = await listDirectory(directory);
  const gguf = names.filter((name) => name.endsWith('.gguf'));
  if (!names.includes('config.json') && gguf.length === 1)
    return loadGguf(path.join(directory, gguf[0] ?? ''));
  const file = path.join(directory, 'config.json');
  const config = await loadConfig(
    await readTextFile(file, signal),
    file,
    path.join(directory, QUANTIZATION_FILE),
    signal,
  );
  const shards = names.filter((name) => name.endsWith('.safetensors'));
  if (shards.length === 0) return config;
  const tensors = await safetensorsOf(directory, shards);
  return { ...config, checkpoint: summariseCheckpoint('safetensors', tensors, ownTensors(config)) };
}

async function bundledIds(): Promise<readonly string[]> {
  return (await listDirectory(CONFIGS))
    .filter((file) => file.endsWith('.json') && !file.endsWith(QUANTIZATION_SUFFIX))
    .map((file) => file.slice(0, -'.json'.length).replace('__', '/'));
}

async function loadBundled(id: string, signal: AbortSignal | undefined): Promise<ModelConfig> {
  const stem = path.join(CONFIGS, id.replace('/', '__'));
  return loadConfig(
    await readTextFile(`${stem}.json`, signal),
    id,
    `${stem}${QUANTIZATION_SUFFIX}`,
    signal,
  );
}

async function loadPath(file: string, signal: AbortSignal | undefined): Promise<ModelConfig> {
  if (file.endsWith('.gguf')) return loadGguf(file);
  return parseModelConfig(await readTextFile(file, signal), { source: file });
}

function looksLikePath(source: string): boolean {
  return (
    path.isAbsolute(source) || /^\.{1,2}(?:[/\\]|$)/.test(source) || /\.(?:json|gguf)$/.test(source)
  );
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
    const kind = await kindOfPath(file);
    if (kind === 'directory') return loadDirectory(file, signal);
    if (kind === 'file') return loadPath(file, signal);
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

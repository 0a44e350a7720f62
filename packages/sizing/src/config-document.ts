/**
 * The document as it comes: which part of it describes the language model, and what is no model config at all.
 * Owns those two questions and the error for a field of the wrong type; reads no dimension.
 */
import { invalidConfig } from './errors.js';

/** A JSON object. */
export type Fields = Readonly<Record<string, unknown>>;

/** Whether a value is a JSON object. */
export function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

interface Issues {
  readonly issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[];
}

/** The error for the first field that the schema refuses. */
export function schemaError(source: string, prefix: string, error: Issues): Error {
  const first = error.issues[0];
  const path = [prefix, ...(first?.path ?? []).map(String)].filter((part) => part !== '').join('.');
  return invalidConfig(
    source,
    path,
    first?.message ?? 'not as expected',
    'give the unchanged config.json of the model',
  );
}

/** Throws `ERR_CONFIG_INVALID` for tokenizer files and indexes, naming what they are. */
export function refuseNonModel(source: string, raw: Fields): void {
  const tokenizer = [
    'added_tokens_decoder',
    'tokenizer_class',
    'bos_token',
    'added_tokens',
    'vocab',
    'merges',
  ];
  const found = tokenizer.find(
    (name) => name in raw && !('hidden_size' in raw) && !('text_config' in raw),
  );
  if (found !== undefined && raw['model_type'] === undefined)
    throw invalidConfig(
      source,
      found,
      'this is a tokenizer file, not a model config',
      'give config.json instead',
    );
  if (isObject(raw['model']) && isObject((raw['model'] as Fields)['vocab']))
    throw invalidConfig(
      source,
      'model.vocab',
      'this is a tokenizer file, not a model config',
      'give config.json instead',
    );
  if ('weight_map' in raw)
    throw invalidConfig(
      source,
      'weight_map',
      'this is a safetensors index, not a model config',
      'give config.json instead',
    );
}

const NESTED = ['text_config', 'llm_config', 'language_config'] as const;

/** The fields of the language model, and the path to them. */
export function textFields(raw: Fields): { readonly fields: Fields; readonly prefix: string } {
  for (const name of NESTED) {
    const nested = raw[name];
    if (isObject(nested)) return { fields: nested, prefix: name };
  }
  const thinker = raw['thinker_config'];
  if (isObject(thinker)) return textFields(thinker);
  return { fields: raw, prefix: '' };
}

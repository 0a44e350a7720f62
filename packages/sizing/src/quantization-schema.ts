/**
 * The edge for quantization: the fields of `quantization_config` and hf_quant_config.json that this package reads, in
 * the dialects of transformers, compressed-tensors, modelopt and friends. Checks types only.
 */
import { z } from 'zod';
import { counts, fields, flag, type Nullish, word, words } from './schema-fields.js';

const QUANT_WORD = [
  'quant_method',
  'quant_algo',
  'moe_quant_algo',
  'format',
  'fmt',
  'bnb_4bit_quant_type',
  'scale_fmt',
  'kv_cache_quant_algo',
] as const;
const QUANT_FLAG = [
  'sym',
  'zero_point',
  'desc_act',
  'load_in_4bit',
  'load_in_8bit',
  'bnb_4bit_use_double_quant',
] as const;
const QUANT_COUNTS = ['weight_block_size'] as const;
const QUANT_WORDS = [
  'modules_to_not_convert',
  'ignored_layers',
  'ignore',
  'exclude_modules',
] as const;

/** Weights of a compressed-tensors group. */
export interface RawGroupWeights {
  readonly num_bits?: number | null | undefined;
  readonly group_size?: number | null | undefined;
  readonly block_structure?: readonly number[] | string | null | undefined;
  readonly strategy?: string | null | undefined;
  readonly symmetric?: boolean | null | undefined;
  readonly type?: string | null | undefined;
  readonly actorder?: boolean | string | null | undefined;
}

interface RawQuantizationParts {
  readonly bits?: number | null | undefined;
  readonly w_bit?: number | null | undefined;
  readonly group_size?: number | null | undefined;
  readonly q_group_size?: number | null | undefined;
  readonly kv_cache_scheme?: { readonly num_bits?: number | null | undefined } | null | undefined;
  readonly config_groups?:
    | Readonly<Record<string, { readonly weights?: RawGroupWeights | null | undefined }>>
    | null
    | undefined;
  readonly quantized_layers?:
    | Readonly<Record<string, { readonly quant_algo?: string | null | undefined }>>
    | null
    | undefined;
}

/** Quantization part of a published config, or the body of hf_quant_config.json. */
export type RawQuantization = RawQuantizationParts &
  Nullish<(typeof QUANT_WORD)[number], string> &
  Nullish<(typeof QUANT_FLAG)[number], boolean> &
  Nullish<(typeof QUANT_COUNTS)[number], readonly number[]> &
  Nullish<(typeof QUANT_WORDS)[number], readonly string[]>;

const bits = z.number().int().min(1).max(32).nullish();
const group = z.number().int().min(-1).max(1e6).nullish();

const weights = z
  .looseObject({
    num_bits: bits,
    group_size: group,
    block_structure: z
      .union([z.array(z.number().min(1).max(1e6)).max(8), z.string().max(100)])
      .nullish(),
    strategy: word,
    symmetric: flag,
    type: word,
    actorder: z.union([flag, word]),
  })
  .nullish();

/** Checks the quantization part. */
export const quantizationSchema: z.ZodType<RawQuantization> = z.looseObject({
  ...fields(QUANT_WORD, word),
  ...fields(QUANT_FLAG, flag),
  ...fields(QUANT_COUNTS, counts),
  ...fields(QUANT_WORDS, words),
  bits,
  w_bit: bits,
  group_size: group,
  q_group_size: group,
  kv_cache_scheme: z.looseObject({ num_bits: z.number().nullish() }).nullish(),
  config_groups: z.record(z.string(), z.looseObject({ weights })).nullish(),
  quantized_layers: z.record(z.string(), z.looseObject({ quant_algo: word })).nullish(),
});

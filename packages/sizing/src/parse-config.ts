/**
 * The way in: a published config.json (text or object) becomes a `ModelConfig`, or a coded error with place and fix.
 * Owns the order of reading and the checks that say "this is no model config"; formulas live in architecture/.
 */
import { buildBlocks, outerTensors } from './architecture/blocks.js';
import { familyTraits } from './architecture/families.js';
import { usualFields } from './architecture/field-aliases.js';
import { planLayers } from './architecture/layer-plan.js';
import { buildPrediction } from './architecture/prediction-layers.js';
import { assume, need, type Reading, refuse } from './architecture/reading.js';
import { rotaryTables } from './architecture/rotary.js';
import { buildVisionTower, defaultVision } from './architecture/vision-towers.js';
import {
  type Fields,
  isObject,
  refuseNonModel,
  schemaError,
  textFields,
} from './config-document.js';
import { withPlace } from './document-place.js';
import { invalidConfig } from './errors.js';
import { parseJsonText } from './json-text.js';
import type { FloatType, ModelConfig, QuantizationPlan, VisionTower } from './model-config.js';
import { unwrapPartial } from './partial-config.js';
import { planQuantization } from './quantization-config.js';
import { quantizationSchema } from './quantization-schema.js';
import { type RawText, textSchema, visionSchema } from './schema.js';

const MOST_LAYERS = 2000;
const MOST_EXPERTS = 65_536;

/** Options of {@link parseModelConfig}. */
export interface ParseConfigOptions {
  /** What the text is called in messages: a path or a catalogue id. */
  readonly source?: string;
  /** Body of hf_quant_config.json, when the model directory has one. */
  readonly quantization?: unknown;
}

const TYPES: ReadonlyMap<string, FloatType> = new Map<string, FloatType>([
  ['bfloat16', 'bf16'],
  ['float16', 'fp16'],
  ['float32', 'fp32'],
]);

function dtypeOf(reading: Reading, raw: Fields): FloatType {
  const { text } = reading;
  const outer = raw['torch_dtype'] ?? raw['dtype'];
  const name = text.torch_dtype ?? text.dtype ?? (typeof outer === 'string' ? outer : null);
  if (name === null) {
    reading.warnings.push('the config names no dtype; bf16 is taken, as engines do');
    return 'bf16';
  }
  const type = TYPES.get(name.replace('torch.', ''));
  // Engines serve fp32 checkpoints in bf16 unless told otherwise.
  if (type === 'fp32') return 'bf16';
  if (type === undefined) assume(reading, `dtype "${name}" is unknown and taken as bf16`);
  return type ?? 'bf16';
}

function visionOf(reading: Reading, raw: Fields, architecture: string): VisionTower | null {
  const given = raw['vision_config'];
  if (isObject(given)) {
    const checked = visionSchema.safeParse(given);
    if (!checked.success) throw schemaError(reading.source, 'vision_config', checked.error);
    return buildVisionTower(reading, checked.data, String(raw['model_type'] ?? ''));
  }
  const family =
    typeof raw['vision'] === 'string' ? raw['vision'] : String(raw['model_type'] ?? '');
  if (!architecture.includes('ForConditionalGeneration') && typeof raw['vision'] !== 'string')
    return null;
  const usual = defaultVision(family);
  if (usual === null) return null;
  assume(reading, `the config has no vision part; the usual tower of ${family} models is counted`);
  return buildVisionTower(reading, usual, family);
}

function quantizationOf(
  reading: Reading,
  raw: Fields,
  fields: Fields,
  extra: unknown,
): QuantizationPlan | null {
  let section =
    raw['quantization_config'] ?? fields['quantization_config'] ?? raw['compression_config'];
  if (isObject(extra)) {
    const body = isObject(extra['quantization']) ? extra['quantization'] : extra;
    if (!isObject(section)) section = body;
    else if (section['kv_cache_quant_algo'] === undefined)
      section = { ...section, kv_cache_quant_algo: body['kv_cache_quant_algo'] };
  }
  if (section === null || section === undefined) return null;
  const checked = quantizationSchema.safeParse(section);
  if (!checked.success) throw schemaError(reading.source, 'quantization_config', checked.error);
  const { plan, assumptions } = planQuantization(checked.data, reading.text.expert_dtype ?? null);
  for (const text of assumptions) assume(reading, text);
  return plan;
}

function begin(source: string, fields: Fields, prefix: string, architecture: string): Reading {
  const checked = textSchema.safeParse(usualFields(fields));
  if (!checked.success) throw schemaError(source, prefix, checked.error);
  const text: RawText = checked.data;
  const modelType = text.model_type ?? '';
  const { traits, known } = familyTraits(modelType, text.architectures?.[0] ?? architecture);
  const listed = text.layers_block_type?.length ?? text.hybrid_override_pattern?.length;
  const layerCount = text.num_hidden_layers ?? listed ?? 0;
  const partial: Reading = {
    source,
    text,
    traits,
    hidden: text.hidden_size ?? 0,
    vocab: text.vocab_size ?? 0,
    layerCount,
    assumptions: [],
    warnings: [],
  };
  need(partial, 'hidden_size', text.hidden_size);
  need(partial, 'num_hidden_layers', layerCount);
  need(partial, 'vocab_size', text.vocab_size);
  if (layerCount > MOST_LAYERS)
    refuse(
      partial,
      'num_hidden_layers',
      `${layerCount} layers`,
      `no model has more than ${MOST_LAYERS}; correct the number`,
    );
  const experts = text.num_experts ?? text.num_local_experts ?? text.n_routed_experts ?? 0;
  if (experts > MOST_EXPERTS)
    refuse(partial, 'num_experts', `${experts} experts`, `give at most ${MOST_EXPERTS}`);
  if (!known)
    assume(
      partial,
      `model type "${modelType || 'not stated'}" is unknown: read by its fields, as a plain decoder`,
    );
  return partial;
}

/**
 * Understands a published config.json: architecture, widths, quantization, vision tower, prediction layers.
 *
 * `input` is the file's text or the parsed object. An unknown `model_type` is read by the fields present and marked
 * `approximate` with what was assumed. Throws `ERR_CONFIG_INVALID` (kind invalid) naming field and fix for text that
 * is not JSON, files that are no model config, missing or impossible fields and contradicting head counts.
 */
export function parseModelConfig(input: unknown, options: ParseConfigOptions = {}): ModelConfig {
  const source = options.source ?? 'config.json';
  if (typeof input !== 'string') return readDocument(input, source, options.quantization);
  try {
    return readDocument(parseJsonText(input, source), source, options.quantization);
  } catch (error) {
    throw withPlace(error, input, source);
  }
}

function readDocument(json: unknown, source: string, quantizationFile: unknown): ModelConfig {
  if (!isObject(json))
    throw invalidConfig(
      source,
      '',
      'a model config is a JSON object',
      'give the config.json of the model',
    );
  const unwrapped = unwrapPartial(json);
  const raw = unwrapped ?? json;
  refuseNonModel(source, raw);
  const { fields, prefix } = textFields(raw);
  const names = raw['architectures'];
  const architecture = Array.isArray(names) && typeof names[0] === 'string' ? names[0] : '';
  const reading = begin(source, fields, prefix, architecture);
  if (unwrapped !== null) assume(reading, 'a partial description, not the published config.json');
  const { text, traits } = reading;
  const plans = planLayers(reading);
  const { blocks, layers } = buildBlocks(reading, plans);
  const outerTied = raw['tie_word_embeddings'];
  const tied =
    text.tie_word_embeddings ?? (typeof outerTied === 'boolean' ? outerTied : traits.tied);
  const prediction = buildPrediction(reading, plans);
  const whole = isObject(raw['thinker_config']) ? raw['thinker_config'] : raw;
  const vision = visionOf(reading, whole, architecture);
  if (isObject(whole['audio_config'])) assume(reading, 'the audio encoder is not counted');
  const quantization = quantizationOf(reading, raw, fields, quantizationFile);
  return {
    source,
    modelType: text.model_type ?? '',
    architecture,
    hidden: reading.hidden,
    vocab: reading.vocab,
    tied,
    headBias: text.lm_head_bias ?? traits.headBias,
    maxPositionEmbeddings: text.max_position_embeddings ?? null,
    dtype: dtypeOf(reading, raw),
    blocks,
    layers,
    outerTensors: outerTensors(reading, tied),
    vision,
    mtp: prediction,
    rotary: rotaryTables(
      reading,
      blocks.map((block) => block.mixer),
    ),
    quantization,
    checkpoint: null,
    logitSoftcap: traits.logitSoftcap,
    paddedExperts: traits.expertBias,
    approximate: reading.assumptions.length > 0,
    assumptions: reading.assumptions,
    warnings: reading.warnings,
  };
}

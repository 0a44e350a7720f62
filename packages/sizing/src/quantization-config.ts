/**
 * Reads what a checkpoint says about its quantization: `quantization_config` of config.json in the dialects of
 * transformers, compressed-tensors, modelopt and friends, or the body of hf_quant_config.json.
 * Owns the translation into a plan (scheme, exclusions, overrides); knows no byte sizes.
 */
import type {
  ModuleRule,
  QuantizationMethod,
  QuantizationPlan,
  QuantizationScheme,
} from './model-config.js';
import type { RawGroupWeights, RawQuantization } from './quantization-schema.js';
import { ggufBits, quantizationScheme, UNQUANTIZED } from './quantization-schemes.js';

/** A plan, and what had to be assumed to make it. */
export interface QuantizationReading {
  readonly plan: QuantizationPlan | null;
  readonly assumptions: readonly string[];
}

const LAYER = /^(.*\blayers)\.(\d+|\*)\.?/;

function literal(text: string): string {
  return text.replace(/[.+^${}()|[\]\\?]/g, '\\$&');
}

/** A pattern over module paths without layer numbers, from a plain name, a glob, or `re:` expression. */
function patternOf(name: string): RegExp | null {
  if (name.startsWith('re:')) {
    try {
      return new RegExp(name.slice(3));
    } catch {
      return null;
    }
  }
  const body = name.split('*').map(literal).join('.*');
  return new RegExp(name.includes('*') ? `(?:^|\\.)${body}$` : `(?:^|\\.)${body}(?:\\.|$)`);
}

/** Folds thousands of per-layer names into a few rules with layer sets. */
function rulesOf(names: readonly string[]): ModuleRule[] {
  const layers = new Map<string, Set<number> | null>();
  for (const name of names) {
    const found = name.startsWith('re:') ? null : LAYER.exec(name);
    if (found === null) {
      layers.set(name, null);
      continue;
    }
    const suffix = name.slice(found[0].length) || '*';
    // A prediction layer's own numbering must not hide a layer of the model.
    const key = (found[1] ?? '').includes('mtp') ? `mtp.${suffix}` : suffix;
    const known = layers.get(key);
    if (found[2] === '*') layers.set(key, null);
    else if (known === undefined) layers.set(key, new Set([Number(found[2])]));
    else known?.add(Number(found[2]));
  }
  return [...layers].flatMap(([name, set]) => {
    const pattern = patternOf(name);
    return pattern === null ? [] : [{ pattern, layers: set }];
  });
}

const ALGORITHMS: ReadonlyMap<string, QuantizationScheme> = new Map([
  ['FP8', quantizationScheme('fp8')],
  ['FP8_PB_WO', quantizationScheme('fp8-block', { groupSize: 16_384 })],
  ['NVFP4', quantizationScheme('nvfp4', { groupSize: 16 })],
  ['W4A16_NVFP4', quantizationScheme('nvfp4', { groupSize: 16 })],
  ['NVFP4_AWQ', quantizationScheme('nvfp4', { groupSize: 16 })],
  ['W4A8_MXFP4_FP8', quantizationScheme('mxfp4', { groupSize: 32 })],
  ['MXFP4', quantizationScheme('mxfp4', { groupSize: 32 })],
  ['W4A16_AWQ', quantizationScheme('awq', { groupSize: 128 })],
  ['INT4_AWQ', quantizationScheme('awq', { groupSize: 128 })],
  ['W8A8_SQ_PER_CHANNEL', quantizationScheme('int8')],
  ['INT8', quantizationScheme('int8')],
]);

function groupScheme(weights: RawGroupWeights): QuantizationScheme {
  const bits = weights.num_bits ?? 8;
  const size = weights.group_size && weights.group_size > 0 ? weights.group_size : null;
  if (bits === 8 && weights.type === 'float') {
    const block = Array.isArray(weights.block_structure) ? weights.block_structure : null;
    if (weights.strategy === 'block' || block !== null)
      return quantizationScheme('fp8-block', {
        groupSize: (block?.[0] ?? 128) * (block?.[1] ?? 128),
      });
    return quantizationScheme('fp8');
  }
  if (bits === 4 && weights.type === 'float')
    return size === 32
      ? quantizationScheme('mxfp4', { groupSize: 32 })
      : quantizationScheme('nvfp4', { groupSize: size ?? 16 });
  if (bits === 8 && size === null) return quantizationScheme('int8');
  return quantizationScheme('int4', {
    bits,
    groupSize: size,
    symmetric: weights.symmetric !== false,
    actOrder: weights.actorder === true || weights.actorder === 'group',
  });
}

const METHODS: ReadonlyMap<string, QuantizationMethod> = new Map<string, QuantizationMethod>([
  ['fp8', 'fp8'],
  ['fbgemm_fp8', 'fp8'],
  ['gptq', 'gptq'],
  ['gptq_marlin', 'gptq'],
  ['awq', 'awq'],
  ['awq_marlin', 'awq'],
  ['mxfp4', 'mxfp4'],
  ['nvfp4', 'nvfp4'],
  ['int8', 'int8'],
  ['int4', 'int4'],
]);

function schemeOf(raw: RawQuantization, assumptions: string[]): QuantizationScheme | null {
  const group = Object.values(raw.config_groups ?? {}).find((one) => one.weights)?.weights;
  if (raw.moe_quant_algo && raw.quant_method === 'fp8') return fp8Scheme(raw);
  if (group) return groupScheme(group);
  const algorithm = raw.quant_algo ? ALGORITHMS.get(raw.quant_algo.toUpperCase()) : undefined;
  if (algorithm) return algorithm;
  const method = raw.quant_method ?? '';
  if (method === 'bitsandbytes') {
    return raw.load_in_8bit === true
      ? quantizationScheme('int8')
      : quantizationScheme('bnb-nf4', { groupSize: raw.bnb_4bit_use_double_quant ? 256 : 64 });
  }
  const known = METHODS.get(method);
  if (known === 'fp8') return fp8Scheme(raw);
  const bits = raw.bits ?? raw.w_bit;
  if (known === undefined && !bits) {
    assumptions.push(
      `quantization "${method || raw.quant_algo || 'unnamed'}" is unknown: weights are sized unquantized`,
    );
    return null;
  }
  const size = raw.group_size ?? raw.q_group_size;
  return quantizationScheme(known ?? 'int4', {
    ...(bits ? { bits } : {}),
    groupSize:
      known === 'mxfp4'
        ? 32
        : known === 'nvfp4'
          ? 16
          : size && size > 0
            ? size
            : known === 'int8'
              ? null
              : 128,
    symmetric: raw.zero_point !== true && raw.sym !== false,
    actOrder: raw.desc_act === true,
  });
}

function fp8Scheme(raw: RawQuantization): QuantizationScheme {
  const [rows, columns] = raw.weight_block_size ?? [];
  return rows && columns
    ? quantizationScheme('fp8-block', { groupSize: rows * columns })
    : quantizationScheme('fp8');
}

function kvCacheOf(raw: RawQuantization): 'fp8' | 'nvfp4' | null {
  const name = raw.kv_cache_quant_algo?.toUpperCase();
  if (name === 'NVFP4') return 'nvfp4';
  if (name === 'FP8' || raw.kv_cache_scheme?.num_bits === 8) return 'fp8';
  return null;
}

/** Turns a checked quantization section into a plan. */
export function planQuantization(
  raw: RawQuantization,
  expertType: string | null,
): QuantizationReading {
  const assumptions: string[] = [];
  const mixed = raw.quantized_layers ?? null;
  const base = mixed && raw.quant_method !== 'fp8' ? UNQUANTIZED : schemeOf(raw, assumptions);
  if (base === null) return { plan: null, assumptions };
  const excluded = rulesOf([
    ...(raw.modules_to_not_convert ?? []),
    ...(raw.ignored_layers ?? []),
    ...(raw.ignore ?? []),
    ...(raw.exclude_modules ?? []),
  ]);
  const overrides: (ModuleRule & { scheme: QuantizationScheme })[] = [];
  if (mixed) {
    const byAlgorithm = new Map<string, string[]>();
    for (const [name, entry] of Object.entries(mixed)) {
      const algorithm = (entry.quant_algo ?? '').toUpperCase();
      const names = byAlgorithm.get(algorithm);
      if (names === undefined) byAlgorithm.set(algorithm, [name]);
      else names.push(name);
    }
    for (const [algorithm, names] of byAlgorithm) {
      const scheme = ALGORITHMS.get(algorithm);
      if (scheme === undefined)
        assumptions.push(
          `quantization "${algorithm}" is unknown: its layers are sized unquantized`,
        );
      else overrides.push(...rulesOf(names).map((rule) => ({ ...rule, scheme })));
    }
  } else if (expertType === 'fp4') {
    const scheme =
      raw.moe_quant_algo === 'NVFP4' ? quantizationScheme('nvfp4') : quantizationScheme('mxfp4');
    overrides.push({ pattern: /(?:^|\.)experts(?:\.|$)/, layers: null, scheme });
  }
  const label = raw.quant_algo ?? raw.quant_method ?? 'quantized';
  return { plan: { base, excluded, overrides, kvCache: kvCacheOf(raw), label }, assumptions };
}

/** Modules that every run-time quantization leaves alone. */
const RUNTIME_EXCLUDED: readonly ModuleRule[] = rulesOf([
  'lm_head',
  'embed_tokens',
  'mlp.gate',
  'visual',
  'vision',
]);

function runtimePlan(
  label: string,
  scheme: QuantizationScheme,
): readonly [string, QuantizationPlan] {
  return [label, { base: scheme, excluded: RUNTIME_EXCLUDED, overrides: [], kvCache: null, label }];
}

const RUNTIME: ReadonlyMap<string, QuantizationPlan | null> = new Map<
  string,
  QuantizationPlan | null
>([
  ['none', null],
  runtimePlan('fp8', quantizationScheme('fp8')),
  runtimePlan('fp8-block', quantizationScheme('fp8-block', { groupSize: 16_384 })),
  runtimePlan('int8', quantizationScheme('int8')),
  runtimePlan('w8a8', quantizationScheme('int8')),
  runtimePlan('int4', quantizationScheme('int4', { groupSize: 128 })),
  runtimePlan('gptq', quantizationScheme('gptq', { groupSize: 128 })),
  runtimePlan('awq', quantizationScheme('awq', { groupSize: 128, symmetric: false })),
  runtimePlan('mxfp4', quantizationScheme('mxfp4', { groupSize: 32 })),
  runtimePlan('nvfp4', quantizationScheme('nvfp4', { groupSize: 16 })),
  runtimePlan('bitsandbytes', quantizationScheme('bnb-nf4', { groupSize: 64 })),
]);

/** Names `planNamedQuantization` takes, `gguf:<type>` aside. */
export function quantizationNames(): readonly string[] {
  return [...RUNTIME.keys()];
}

/**
 * The plan a user asks for by name (`fp8`, `awq`, `gguf:Q4_K_M` …); `undefined` when the name is unknown, `null` for none.
 * A name that matches what the checkpoint already is keeps the checkpoint's own, more exact plan.
 */
export function planNamedQuantization(
  name: string,
  own: QuantizationPlan | null,
): QuantizationPlan | null | undefined {
  const wanted = name
    .toLowerCase()
    .replace('_marlin', '')
    .replace('compressed-tensors', 'auto')
    .replace('modelopt', 'auto');
  if (wanted === 'auto') return own;
  if (wanted.startsWith('gguf:')) {
    const type = name.slice(5).toUpperCase();
    if (ggufBits(type) === null) return undefined;
    const label = `gguf:${type}` as const;
    return { base: quantizationScheme(label), excluded: [], overrides: [], kvCache: null, label };
  }
  const plan = RUNTIME.get(wanted);
  if (plan === undefined || plan === null || own === null) return plan;
  return isSameMethod(own, plan.base.method) ? own : plan;
}

/** Whether a checkpoint already is what a name asks for; int4 checkpoints go by several names. */
function isSameMethod(own: QuantizationPlan, wanted: QuantizationMethod): boolean {
  const methods = [own.base.method, ...own.overrides.map((rule) => rule.scheme.method)];
  return methods.some(
    (method) =>
      method === wanted ||
      (method === 'fp8-block' && wanted === 'fp8') ||
      (method === 'int4' && (wanted === 'awq' || wanted === 'gptq')),
  );
}

import { AimError } from '@aim-gpu/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  countParameters,
  fitModel,
  parseModelConfig,
  type Sizing,
  sizeModel,
} from '../src/index.js';
import { configFiles, configText } from './model-data.js';

type Fields = Record<string, unknown>;

const originals = [...configFiles.keys()].map((file) => {
  const raw = JSON.parse(configText(file).replaceAll('Infinity', 'null')) as Fields;
  // The longest quantization lists say nothing new to a mutation, and cost most of the time.
  return {
    file,
    raw:
      Object.keys(raw).includes('quantization_config') && configText(file).length > 9000
        ? { ...raw, quantization_config: { quant_method: 'fp8' } }
        : raw,
  };
});

const junk = fc.oneof(
  fc.constantFrom(
    null,
    undefined,
    true,
    false,
    '',
    'auto',
    'NaN',
    [],
    {},
    [[]],
    0,
    -1,
    1,
    2,
    3,
    1e9,
    1e15,
    -1e9,
    0.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
  ),
  fc.integer({ min: 0, max: 1_000_000 }),
  fc.double(),
  fc.string({ maxLength: 8 }),
  fc.array(fc.integer({ min: -3, max: 99 }), { maxLength: 6 }),
);

const mutation = fc.record({
  where: fc.constantFrom('top', 'nested'),
  field: fc.nat(400),
  how: fc.constantFrom('replace', 'delete', 'double', 'negate', 'swap', 'add'),
  value: junk,
  other: fc.nat(400),
});

const EXTRA = [
  'num_experts',
  'kv_lora_rank',
  'layer_types',
  'compress_ratios',
  'hc_mult',
  'rope_scaling',
  'sliding_window',
  'num_nextn_predict_layers',
  'linear_num_value_heads',
  'full_attention_interval',
  'mamba_num_heads',
  'vision_config',
  'quantization_config',
  'q_lora_rank',
  'index_n_heads',
  'attn_layer_period',
];

function mutate(
  raw: Fields,
  change: { where: string; field: number; how: string; value: unknown; other: number },
): Fields {
  const nested = ['text_config', 'vision_config', 'facts'].find(
    (name) => typeof raw[name] === 'object' && raw[name] !== null,
  );
  if (change.where === 'nested' && nested !== undefined)
    return { ...raw, [nested]: mutate(raw[nested] as Fields, { ...change, where: 'top' }) };
  const keys = Object.keys(raw);
  const key = keys[change.field % Math.max(1, keys.length)] ?? 'hidden_size';
  const copy: Fields = { ...raw };
  switch (change.how) {
    case 'delete':
      delete copy[key];
      break;
    case 'double':
      copy[key] = typeof raw[key] === 'number' ? (raw[key] as number) * 2 : change.value;
      break;
    case 'negate':
      copy[key] = typeof raw[key] === 'number' ? -(raw[key] as number) : change.value;
      break;
    case 'swap': {
      const other = keys[change.other % Math.max(1, keys.length)] ?? key;
      copy[key] = raw[other];
      copy[other] = raw[key];
      break;
    }
    case 'add':
      copy[EXTRA[change.field % EXTRA.length] ?? 'x'] = change.value;
      break;
    default:
      copy[key] = change.value;
  }
  return copy;
}

function numbersIn(value: unknown, path = ''): readonly (readonly [string, number])[] {
  if (typeof value === 'number') return [[path, value]];
  if (Array.isArray(value))
    return value.slice(0, 8).flatMap((one, index) => numbersIn(one, `${path}.${index}`));
  if (typeof value === 'object' && value !== null)
    return Object.entries(value).flatMap(([key, one]) => numbersIn(one, `${path}.${key}`));
  return [];
}

function assertSane(sizing: Sizing): void {
  for (const [path, value] of numbersIn(sizing)) {
    expect(Number.isFinite(value), path).toBe(true);
    expect(value, path).toBeGreaterThanOrEqual(0);
  }
}

describe('mutated real configs', () => {
  test('10,000 mutations: a coded refusal or finite sizes of at least 0', () => {
    let accepted = 0;
    fc.assert(
      fc.property(
        fc.nat(originals.length - 1),
        fc.array(mutation, { minLength: 1, maxLength: 4 }),
        fc.constantFrom(1, 2, 3, 8),
        fc.constantFrom(null, 2 ** 28, 24 * 2 ** 30, 192 * 2 ** 30),
        (which, changes, tensor, totalMemoryBytes) => {
          const original = originals[which]?.raw ?? {};
          const raw = changes.reduce(mutate, original);
          try {
            const config = parseModelConfig(raw, { source: 'mutated' });
            const count = countParameters(config);
            expect(Number.isFinite(count.total)).toBe(true);
            expect(count.total).toBeGreaterThan(0);
            assertSane(
              sizeModel(config, { parallel: { tensor }, totalMemoryBytes, maxModelLen: 4096 }),
            );
            if (totalMemoryBytes !== null) {
              const fit = fitModel(config, {
                parallel: { tensor },
                totalMemoryBytes,
                maxModelLen: 4096,
              });
              expect(fit.reasons.length > 0).toBe(!fit.fits);
            }
            accepted += 1;
          } catch (error) {
            if (!AimError.is(error, 'ERR_CONFIG_INVALID')) throw error;
            expect(error.hint).toMatch(/\S/);
          }
        },
      ),
      { numRuns: 10_000, seed: 20_261_125 },
    );
    // The mutations must reach both sides.
    expect(accepted).toBeGreaterThan(2000);
    expect(accepted).toBeLessThan(9500);
  }, 60_000);

  test('arbitrary text and values never crash', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), fc.anything()), (input) => {
        try {
          parseModelConfig(input);
        } catch (error) {
          if (!AimError.is(error, 'ERR_CONFIG_INVALID')) throw error;
        }
      }),
      { numRuns: 2000, seed: 7 },
    );
  });
});

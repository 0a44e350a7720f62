/**
 * The schema of one model of a fleet file. Owns its keys and the defaults that stand alone; those of the band are in
 * slo-presets.ts, and names that must exist in references.ts.
 */
import { z } from 'zod';
import * as field from './fields.js';
import { limits } from './limits-schema.js';
import type { ModelShape } from './shape.js';
import { bandName, product } from './shared-words.js';

/** Short spellings of number formats by every spelling that is taken; the long ones are vLLM's. */
const DTYPES: Readonly<Record<string, string>> = {
  auto: 'auto',
  bf16: 'bf16',
  bfloat16: 'bf16',
  fp16: 'fp16',
  float16: 'fp16',
  half: 'fp16',
  fp32: 'fp32',
  float32: 'fp32',
  float: 'fp32',
};

/** What sizing can size; a model whose own config says more uses `auto`. */
const QUANTIZATIONS = [
  'auto',
  'none',
  'fp8',
  'fp8-block',
  'int8',
  'w8a8',
  'int4',
  'awq',
  'awq_marlin',
  'gptq',
  'gptq_marlin',
  'mxfp4',
  'nvfp4',
  'compressed-tensors',
  'modelopt',
  'bitsandbytes',
];

const KV_CACHE_DTYPES = [
  'auto',
  'bf16',
  'bfloat16',
  'fp16',
  'float16',
  'fp8',
  'fp8_e4m3',
  'fp8_e5m2',
  'int8',
  'nvfp4',
];

const ENGINES = ['auto', 'vllm', 'sglang', 'llama.cpp', 'simulated'];

const load = field.section(
  'Traffic that is expected; without it the planner takes the model as busy 10 % of the time.',
  '{ requestsPerSecond: 0.5, promptTokens: 600, outputTokens: 150 }',
  {
    requestsPerSecond: field.decimal(
      'Requests that arrive in a second, on average.',
      '0.5',
      0,
      1e6,
    ),
    promptTokens: field.count('Tokens of a prompt, on average.', '600'),
    outputTokens: field.count('Tokens of an answer, on average.', '150'),
  },
);

const idle = field.time(
  'Replicas above min are parked after this long without a request; 10m when min is 0.',
  '10m',
  's',
);

const replicas = z
  .union([
    z.int().min(0).max(1000),
    z
      .strictObject({
        min: field.whole('Replicas that always run.', '0', 0, 1000),
        max: field.whole('Most replicas.', '4', 0, 1000),
        idle: idle.nullable().optional(),
      })
      .refine((value) => value.min <= value.max, {
        path: ['max'],
        params: { problem: 'below-min' },
      }),
  ])
  .transform((value) =>
    typeof value === 'number' ? { min: value, max: value, idle: null } : value,
  );

const slo = field.section(
  'Latency targets; a missing one is the preset of the band, null is none.',
  '{ ttft: 1s, tpot: 50ms, objective: 99% }',
  {
    ttft: field.time('Time to the first token.', '1s', 'ms').nullable().optional(),
    tpot: field.time('Time per output token after the first.', '50ms', 'ms').nullable().optional(),
    e2e: field.time('Time to the end of the answer.', '1h', 's').nullable().optional(),
    objective: field
      .share('Share of requests that must meet the targets.', '99%', 1, 99.999)
      .optional(),
  },
);

const argument = z.union([
  z.string(),
  z.number(),
  z.boolean(),
  z.null(),
  z.array(z.union([z.string(), z.number(), z.boolean()])),
]);

const engine = z
  .union([
    z.enum(ENGINES),
    field.section('Engine, version and flags.', '{ name: vllm }', {
      name: field.word('Engine.', ENGINES, 'vllm').prefault('auto'),
      version: field
        .text('Version, as the engine prints it.', /^\S+$/, 'a version in text', '0.19.0')
        .nullable()
        .prefault(null),
      args: z
        .record(
          field.text(
            'Long flag without its dashes.',
            /^[a-z][a-z0-9_.-]*$/,
            'a long flag without its dashes',
            'swap-space',
          ),
          field.described(argument, 'Value of the flag; null for a flag without one.', {
            allowed: 'text, a number, true, false, null or a list of them',
            example: '64',
          }),
        )
        .meta({
          description: 'Further flags of the engine: long flag without its dashes, and its value.',
        })
        .prefault({}),
    }),
  ])
  .transform((value) =>
    typeof value === 'string' ? { name: value, version: null, args: {} } : value,
  );

const TOPOLOGIES = ['node', 'card', 'hive'] as const;

const spread = z
  .union([
    z.enum(TOPOLOGIES),
    field.section('Over what, and how evenly.', '{ over: node, maxSkew: 1 }', {
      over: field.word('What they are spread over.', TOPOLOGIES, 'node'),
      maxSkew: field
        .whole('Most that one may have more of them than another.', '1', 1, 1000)
        .prefault(1),
    }),
  ])
  .transform((value) => (typeof value === 'string' ? { over: value, maxSkew: 1 } : value));

const WITHIN = ['card', 'node'] as const;

const guarded = field
  .described(
    z.union([
      z
        .string()
        .max(128)
        .regex(/^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/),
      field.section('Which model, and how close.', '{ model: assistant, within: card }', {
        model: field.name('Name of a model.', 'assistant'),
        within: field.word('Where an instance of it must be.', WITHIN, 'card').prefault('card'),
      }),
    ]),
    'Of a guardrail: the model it guards; an instance of it must be on the same card, or node.',
    { allowed: 'the name of a model, or { model, within: card | node }', example: 'assistant' },
  )
  .transform((value) =>
    typeof value === 'string' ? { model: value, within: 'card' as const } : value,
  );

const placement = field.section('Where it may, should or must run.', '{ exclusive: true }', {
  exclusive: field.flag('A partition (or card) of its own.').prefault(false),
  products: field.list(product(), 'Products it may run on; empty is any.', '[MI300X]').prefault([]),
  nodes: field
    .list(field.name('Name of a node.', 'node-a'), 'Nodes it may run on; empty is any.', '[node-a]')
    .prefault([]),
  near: field
    .list(
      field.name('Name of a model.', 'assistant'),
      'Models to be on the same card if possible.',
      '[guard]',
    )
    .prefault([]),
  apart: field
    .list(
      field.name('Name of a model.', 'assistant'),
      'Models never to be on the same card.',
      '[guard]',
    )
    .prefault([]),
  pin: field
    .section('The very card, and partition, to run on.', '{ node: node-a, card: "0000:0c:00.0" }', {
      node: field.name('Node.', 'node-a'),
      card: field.cardAddress('PCI address of the card.'),
      partition: field
        .whole('Index of the partition; null is any.', '0', 0, 7)
        .nullable()
        .prefault(null),
    })
    .nullable()
    .prefault(null),
  minShare: field.size('Never less memory than this.', '20GiB').nullable().prefault(null),
  spread: field
    .described(spread, 'Over what its instances are spread evenly; null is anywhere.', {
      allowed: `one of ${TOPOLOGIES.join(', ')}, or { over, maxSkew }`,
      example: 'node',
    })
    .nullable()
    .prefault(null),
  protected: field.flag('Once it runs it stays exactly where it is.').prefault(false),
});

/** One model; its quantities are numbers once read. */
export const modelSchema: z.ZodType<ModelShape<number, number, number>> = field.section(
  'One model.',
  '{ name: assistant, source: meta-llama/Llama-3.1-8B-Instruct }',
  {
    name: field.name('What clients put into "model".', 'assistant'),
    aliases: field
      .list(
        field.text(
          'Another name clients may use.',
          /^[\x21-\x7e]{1,256}$/,
          'a name without spaces',
          'gpt-4o-mini',
        ),
        'Other names clients may use.',
        '[gpt-4o-mini]',
      )
      .prefault([]),
    source: field.filePath(
      'Catalogue id, path of a config.json, or path of a model directory (begin it with ./ or /).',
      'meta-llama/Llama-3.1-8B-Instruct',
      'a catalogue id, or the path of a config.json or model directory, which begins with ./ or /',
    ),
    kind: field
      .word('What the model does.', ['inference', 'guardrail', 'finetune'], 'inference')
      .prefault('inference'),
    dtype: field
      .described(
        z.enum(Object.keys(DTYPES)).transform((spelling) => DTYPES[spelling] ?? spelling),
        'Number format of the weights that are not quantized.',
        { allowed: `one of ${Object.keys(DTYPES).join(', ')}`, example: 'bf16' },
      )
      .prefault('auto'),
    quantization: field
      .described(
        z.union([z.enum(QUANTIZATIONS), z.string().regex(/^gguf:[A-Za-z0-9_]+$/)]),
        'How the weights are quantized; auto is what the config says, else none.',
        { allowed: `one of ${QUANTIZATIONS.join(', ')}, or gguf:<type>`, example: 'fp8' },
      )
      .prefault('auto'),
    kvCacheDtype: field
      .word(
        'Number format of the KV cache; auto is the dtype of the model.',
        KV_CACHE_DTYPES,
        'auto',
      )
      .prefault('auto'),
    maxModelLen: field
      .count(
        'Tokens of one sequence, prompt and answer; null is the smaller of the model’s own limit and 32768.',
        '32768',
      )
      .nullable()
      .prefault(null),
    concurrency: field
      .count('Sequences that must fit at maxModelLen × expectedFill.', '32')
      .prefault(16),
    expectedFill: field
      .described(
        z.union([z.number().gt(0).max(1), field.share('Share.', '25%', 0.001, 100)]),
        'Share of maxModelLen that a sequence uses on average.',
        { allowed: 'a number above 0 and at most 1, or a share such as 25%', example: '0.25' },
      )
      .prefault(1),
    load: load.nullable().prefault(null),
    replicas: field
      .described(replicas, 'How many engines run this model.', {
        allowed: 'a whole number from 0 to 1000, or { min, max, idle }',
        example: '1',
      })
      .prefault(1),
    band: bandName().prefault('standard'),
    slo: slo.prefault({}),
    engine: field
      .described(
        engine,
        'Which engine runs the model; auto is simulated on a simulated node, else vllm.',
        {
          allowed: `one of ${ENGINES.join(', ')}, or { name, version, args }`,
          example: 'auto',
        },
      )
      .prefault('auto'),
    parallel: field
      .section('Over how many partitions one engine spreads.', '{ tensor: 1 }', {
        tensor: field.whole('Partitions each layer is split over.', '1', 1, 64).prefault(1),
        pipeline: field.whole('Stages the layers are split into.', '1', 1, 64).prefault(1),
      })
      .prefault({}),
    fallback: field
      .name('Model that answers when this one cannot.', 'assistant')
      .nullable()
      .prefault(null),
    adapters: field
      .list(
        field.section('One adapter.', '{ name: assistant-legal, path: ./lora/legal }', {
          name: field.text(
            'What clients put into "model".',
            /^[\x21-\x7e]{1,256}$/,
            'a name without spaces',
            'assistant-legal',
          ),
          path: field.filePath('Directory of the adapter.', './lora/legal'),
        }),
        'LoRA adapters served beside the model.',
        '[]',
      )
      .prefault([]),
    placement: placement.prefault({}),
    tenant: field
      .name('Tenant whose quota its instances count against; null is nobody’s.', 'team-a')
      .nullable()
      .prefault(null),
    gang: field
      .name('Models of one gang are all placed, or none is.', 'training')
      .nullable()
      .prefault(null),
    of: guarded.nullable().prefault(null),
    duration: field
      .time('How long it runs at most once it has started; null is without end.', '4h', 's')
      .nullable()
      .prefault(null),
    limits: limits('What it gives all tenants together.').prefault({}),
  },
);

/**
 * The edge: the strict schema of a fleet file, from which the check, the defaults and the editor's JSON Schema all
 * come. Owns each key, its kind and its default. What spans several places (names, cycles) is in references.ts.
 */
import { BANDS, type Band } from '@aim-gpu/core';
import { PRODUCTS } from '@aim-gpu/core/products';
import { z } from 'zod';
import * as field from './fields.js';
import type { FleetFile } from './shape.js';

/** The one version of the file format this package reads. */
export const API_VERSION: FleetFile['apiVersion'] = 'aim-gpu/v1alpha1';

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

const QUANTIZATIONS = [
  'auto',
  'none',
  'fp8',
  'int8',
  'int4',
  'awq',
  'gptq',
  'mxfp4',
  'nvfp4',
  'compressed-tensors',
  'modelopt',
  'quark',
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

const modelName = (description: string): z.ZodType<string> => field.name(description, 'assistant');
const nodeName = (description: string): z.ZodType<string> => field.name(description, 'node-a');

const product: z.ZodType<string> = field.word(
  'Product name of the card.',
  PRODUCTS.map((entry) => entry.name),
  'MI300X',
);

const PATH = /^[^~\s]([^\0]*\S)?$/;
const path = (description: string, example: string): z.ZodType<string> =>
  field.text(
    description,
    PATH,
    'a path, relative to this file or absolute ("~" is not expanded)',
    example,
  );

const band: z.ZodType<Band> = field.word(
  'Request priority class, most urgent first.',
  BANDS,
  'standard',
);

function list<T>(item: z.ZodType<T>, description: string, example: string): z.ZodType<T[]> {
  return field.described(z.array(item), description, { allowed: 'a list', example });
}

const cards = z
  .union([
    field.section('Cards of one product.', '{ product: MI300X, count: 1 }', {
      product: product.prefault('MI300X'),
      count: field.whole('How many of them.', '1', 1, 8).prefault(1),
    }),
    z
      .array(
        field.section('One card.', '{ product: MI300X }', {
          id: field.cardAddress('PCI address; made up when missing.').nullable().prefault(null),
          product: product.prefault('MI300X'),
          hive: field
            .text(
              'XGMI group; cards of one hive have one memory mode.',
              /^\S+$/,
              'a word',
              'node-a-hive-0',
            )
            .nullable()
            .prefault(null),
        }),
      )
      .min(1)
      .max(8),
  ])
  .transform((value) =>
    Array.isArray(value)
      ? value
      : Array.from({ length: value.count }, () => ({
          id: null,
          product: value.product,
          hive: null,
        })),
  );

const node = field.section('One machine.', '{ name: node-a, driver: simulated }', {
  name: nodeName(
    'Name of the node; `up` takes the one named like its host when there are several.',
  ),
  driver: field
    .word(
      'How the cards are driven; `--driver` on the command line wins.',
      ['simulated', 'rocm'],
      'simulated',
    )
    .prefault('rocm'),
  cards: field
    .described(
      cards,
      'Cards of a simulated node; rocm discovers its own. One MI300X when missing.',
      {
        allowed: '{ product, count } or a list of 1 to 8 cards { id, product, hive }',
        example: '{ product: MI300X, count: 1 }',
      },
    )
    .nullable()
    .prefault(null),
});

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

const placement = field.section('Where it may, should or must run.', '{ exclusive: true }', {
  exclusive: field.flag('A partition (or card) of its own.').prefault(false),
  products: list(product, 'Products it may run on; empty is any.', '[MI300X]').prefault([]),
  nodes: list(
    nodeName('Name of a node.'),
    'Nodes it may run on; empty is any.',
    '[node-a]',
  ).prefault([]),
  near: list(
    modelName('Name of a model.'),
    'Models to be on the same card if possible.',
    '[guard]',
  ).prefault([]),
  apart: list(
    modelName('Name of a model.'),
    'Models never to be on the same card.',
    '[guard]',
  ).prefault([]),
  pin: field
    .section('The very card, and partition, to run on.', '{ node: node-a, card: "0000:0c:00.0" }', {
      node: nodeName('Node.'),
      card: field.cardAddress('PCI address of the card.'),
      partition: field
        .whole('Index of the partition; null is any.', '0', 0, 7)
        .nullable()
        .prefault(null),
    })
    .nullable()
    .prefault(null),
  minShare: field.size('Never less memory than this.', '20GiB').nullable().prefault(null),
});

const model = field.section(
  'One model.',
  '{ name: assistant, source: meta-llama/Llama-3.1-8B-Instruct }',
  {
    name: modelName('What clients put into "model".'),
    aliases: list(
      field.text(
        'Another name clients may use.',
        /^[\x21-\x7e]{1,256}$/,
        'a name without spaces',
        'gpt-4o-mini',
      ),
      'Other names clients may use.',
      '[gpt-4o-mini]',
    ).prefault([]),
    source: field.text(
      'Catalogue id, path of a config.json, or path of a model directory (begin it with ./ or /).',
      PATH,
      'a catalogue id, or the path of a config.json or model directory, which begins with ./ or /',
      'meta-llama/Llama-3.1-8B-Instruct',
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
    band: band.prefault('standard'),
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
    fallback: modelName('Model that answers when this one cannot.').nullable().prefault(null),
    adapters: list(
      field.section('One adapter.', '{ name: assistant-legal, path: ./lora/legal }', {
        name: field.text(
          'What clients put into "model".',
          /^[\x21-\x7e]{1,256}$/,
          'a name without spaces',
          'assistant-legal',
        ),
        path: path('Directory of the adapter.', './lora/legal'),
      }),
      'LoRA adapters served beside the model.',
      '[]',
    ).prefault([]),
    placement: placement.prefault({}),
  },
);

const HIDE_KEY = 'put the key into an environment variable and write { env: ITS_NAME }';

const keySource = {
  env: field
    .text(
      'Environment variable that holds the key.',
      /^[A-Za-z_][A-Za-z0-9_]*$/,
      'the name of an environment variable',
      'TEAM_A_KEY',
      'put the key into an environment variable and write its name here',
    )
    .optional(),
  file: path('File that holds the key.', './keys/team-a').optional(),
  sha256: field
    .text(
      'SHA-256 of the key, in hexadecimal.',
      /^[0-9a-fA-F]{64}$/,
      'the SHA-256 of the key, 64 hexadecimal digits',
      `"${'0'.repeat(64)}"`,
      'write what `printf %s "$KEY" | sha256sum` prints',
    )
    .optional(),
};

const key = field
  .section(
    'Where a key comes from: exactly one of env, file, sha256.',
    '{ env: TEAM_A_KEY }',
    keySource,
    HIDE_KEY,
  )
  .refine((value) => Object.values(value).filter((entry) => entry !== undefined).length === 1, {
    params: { problem: 'one-key-source' },
  })
  .meta({ minProperties: 1, maxProperties: 1 });

const limit = (description: string) => field.count(description, '600').nullable().prefault(null);

const tenant = field.section('One tenant.', '{ name: team-a, keys: [{ env: TEAM_A_KEY }] }', {
  name: field.name('Name of the tenant.', 'team-a'),
  keys: list(
    key,
    'API keys, each by where it comes from; a key itself never stands here.',
    '[{ env: TEAM_A_KEY }]',
  ).prefault([]),
  weight: field
    .decimal('Share of what is left, against the other tenants’ weights.', '2', 0, 1000)
    .prefault(1),
  bands: field
    .described(z.array(band).min(1), 'Bands the tenant may use.', {
      allowed: `a list of at least one of ${BANDS.join(', ')}`,
      example: '[interactive, standard]',
    })
    .prefault(BANDS.slice(BANDS.indexOf('standard'))),
  limits: field
    .section('Limits of the tenant.', '{ requestsPerMinute: 600 }', {
      requestsPerMinute: limit('Requests in a minute; null is unlimited.'),
      inputTokensPerMinute: limit('Prompt tokens in a minute; null is unlimited.'),
      outputTokensPerMinute: limit('Answer tokens in a minute; null is unlimited.'),
      concurrent: limit('Requests at the same time; null is unlimited.'),
    })
    .prefault({}),
});

const policy = field.section('What the planner may do and must keep.', '{ objective: stable }', {
  objective: field
    .word('What the planner prefers.', ['pack', 'spread', 'latency', 'stable'], 'stable')
    .prefault('stable'),
  repartition: field
    .section('Whether and how long cards may be repartitioned.', '{ allow: true }', {
      allow: field.flag('Whether layouts may change.').prefault(true),
      maxDowntime: field
        .time('Longest time a change may stop an instance.', '2m', 's')
        .prefault('2m'),
    })
    .prefault({}),
  memoryReserve: field.share('Of each partition, never handed out.', '2%', 0, 50).prefault('2%'),
  slowdown: field
    .share(
      'Most that co-tenants of a partition may cost a critical or interactive model at the expected loads.',
      '10%',
      0,
      100,
    )
    .prefault('10%'),
});

/** The strict schema of a fleet file: what it yields has every default that does not depend on another value. */
export const fleetSchema: z.ZodType<FleetFile> = field
  .section('Nodes, models, tenants and policy of a fleet.', `apiVersion: ${API_VERSION}`, {
    apiVersion: field.word('Version of this file format.', [API_VERSION], API_VERSION),
    kind: field.word('What this file is.', ['Fleet'], 'Fleet'),
    metadata: field
      .section('About the fleet.', '{ name: quickstart }', {
        name: field.name('Name of the fleet.', 'quickstart').prefault('fleet'),
      })
      .prefault({}),
    nodes: field.described(z.array(node).min(1), 'Machines with cards.', {
      allowed: 'a list of at least one node',
      example: '[{ name: node-a }]',
    }),
    models: field.described(z.array(model).min(1), 'Models to run.', {
      allowed: 'a list of at least one model',
      example: '[{ name: assistant, source: meta-llama/Llama-3.1-8B-Instruct }]',
    }),
    tenants: list(
      tenant,
      'Who may send requests; none is everybody, on loopback only.',
      '[]',
    ).prefault([]),
    policy: policy.prefault({}),
  })
  .meta({ title: 'AIM GPU Sharing fleet' });

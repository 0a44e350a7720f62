import { readFileSync } from 'node:fs';
import path from 'node:path';
import { DEFAULT_GATEWAY_POLICY, type Fleet } from '@aim-gpu/core';
import { type ParsedFleet, parseFleet, SLO_PRESETS } from '@aim-gpu/fleet';
import { describe, expect, it } from 'vitest';

const NO_LIMITS = {
  requestsPerMinute: null,
  inputTokensPerMinute: null,
  outputTokensPerMinute: null,
  concurrent: null,
};
const COMPLETE = path.join(import.meta.dirname, 'fixtures/complete.yaml');

function parsed(text: string, driver?: 'simulated' | 'rocm'): ParsedFleet {
  return parseFleet(text, {
    file: '/fleets/fleet.yaml',
    ...(driver === undefined ? {} : { driver }),
  });
}

function fleetWith(model: string, node = 'driver: simulated, cards: {}'): Fleet {
  return parsed(`
apiVersion: aim-gpu/v1alpha1
kind: Fleet
nodes: [{ name: node-a, ${node} }]
models: [{ name: m, source: a/b, ${model} }]
`).fleet;
}

describe('the complete example of the format', () => {
  const { fleet, warnings } = parseFleet(readFileSync(COMPLETE), { file: '/fleets/complete.yaml' });

  it('parses without a warning', () => {
    expect(warnings).toEqual([]);
  });

  it('says exactly this', () => {
    const [assistant] = fleet.models;
    expect(fleet.name).toBe('quickstart');
    expect(fleet.nodes).toEqual([
      {
        name: 'node-a',
        driver: 'simulated',
        cards: [{ id: '0000:0c:00.0', product: 'MI300X', hive: 'node-a-hive-0' }],
        cordoned: [],
        cardPricePerHour: null,
      },
    ]);
    expect(assistant).toEqual({
      name: 'assistant',
      aliases: ['gpt-4o-mini'],
      source: 'meta-llama/Llama-3.1-8B-Instruct',
      kind: 'inference',
      dtype: 'bf16',
      quantization: 'none',
      kvCacheDtype: 'auto',
      maxModelLen: 32768,
      concurrency: 32,
      expectedFill: 0.25,
      load: { requestsPerSecond: 0.5, promptTokens: 600, outputTokens: 150 },
      replicas: { min: 1, max: 1, idleMs: null },
      band: 'interactive',
      slo: { ttftMs: 1000, tpotMs: 50, e2eMs: null, objective: 0.99 },
      engine: { name: 'auto', version: null, args: {} },
      parallel: { tensor: 1, pipeline: 1 },
      fallback: 'small',
      adapters: [{ name: 'assistant-legal', path: '/fleets/lora/legal' }],
      placement: {
        exclusive: false,
        products: ['MI300X'],
        nodes: [],
        near: ['guard'],
        apart: [],
        pin: { node: 'node-a', card: '0000:0c:00.0', partition: 0 },
        minShareBytes: 20 * 2 ** 30,
        spread: null,
        protected: false,
      },
      tenant: null,
      gang: null,
      of: null,
      durationMs: null,
      limits: {
        requestsPerMinute: 6000,
        inputTokensPerMinute: null,
        outputTokensPerMinute: 2_000_000,
        concurrent: 256,
      },
    });
    expect(fleet.tenants).toEqual([
      {
        name: 'team-a',
        keys: [{ kind: 'env', name: 'TEAM_A_KEY' }],
        weight: 2,
        bands: ['interactive', 'standard', 'batch'],
        limits: {
          requestsPerMinute: 600,
          inputTokensPerMinute: 2_000_000,
          outputTokensPerMinute: 200_000,
          concurrent: 64,
        },
        modelLimits: {
          small: {
            requestsPerMinute: 60,
            inputTokensPerMinute: null,
            outputTokensPerMinute: null,
            concurrent: null,
          },
        },
        quota: null,
      },
    ]);
    expect(fleet.policy).toEqual({
      objective: 'stable',
      repartition: { allow: true, maxDowntimeMs: 120_000 },
      memoryReserve: 0.02,
      slowdown: 0.1,
      gateway: {
        ...DEFAULT_GATEWAY_POLICY,
        maxBodyBytes: 8 * 2 ** 20,
        holdMs: 20_000,
        timeouts: {
          ...DEFAULT_GATEWAY_POLICY.timeouts,
          batch: { ...DEFAULT_GATEWAY_POLICY.timeouts.batch, totalMs: 7_200_000 },
        },
      },
    });
  });
});

describe('what a file need not say', () => {
  const { fleet, warnings } = parsed(`
apiVersion: aim-gpu/v1alpha1
kind: Fleet
nodes: [{ name: node-a }]
models: [{ name: m, source: a/b }]
tenants: [{ name: t }]
`);

  it('is filled in as the format promises', () => {
    expect(fleet.name).toBe('fleet');
    expect(fleet.nodes).toEqual([
      { name: 'node-a', driver: 'rocm', cards: [], cordoned: [], cardPricePerHour: null },
    ]);
    expect(fleet.models).toEqual([
      {
        name: 'm',
        aliases: [],
        source: 'a/b',
        kind: 'inference',
        dtype: 'auto',
        quantization: 'auto',
        kvCacheDtype: 'auto',
        maxModelLen: null,
        concurrency: 16,
        expectedFill: 1,
        load: null,
        replicas: { min: 1, max: 1, idleMs: null },
        band: 'standard',
        slo: { ttftMs: 2000, tpotMs: 100, e2eMs: null, objective: 0.95 },
        engine: { name: 'auto', version: null, args: {} },
        parallel: { tensor: 1, pipeline: 1 },
        fallback: null,
        adapters: [],
        placement: {
          exclusive: false,
          products: [],
          nodes: [],
          near: [],
          apart: [],
          pin: null,
          minShareBytes: null,
          spread: null,
          protected: false,
        },
        tenant: null,
        gang: null,
        of: null,
        durationMs: null,
        limits: NO_LIMITS,
      },
    ]);
    expect(fleet.tenants).toEqual([
      {
        name: 't',
        keys: [],
        weight: 1,
        bands: ['standard', 'batch', 'best_effort'],
        limits: NO_LIMITS,
        modelLimits: {},
        quota: null,
      },
    ]);
    expect(fleet.policy).toEqual({
      objective: 'stable',
      repartition: { allow: true, maxDowntimeMs: 120_000 },
      memoryReserve: 0.02,
      slowdown: 0.1,
      gateway: DEFAULT_GATEWAY_POLICY,
    });
  });

  it('is warned of where its author may want to know', () => {
    expect(warnings.map(({ code }) => code)).toEqual(['tenant-without-key']);
    const simulated = parsed(
      'apiVersion: aim-gpu/v1alpha1\nkind: Fleet\nnodes: [{ name: n, driver: simulated }]\nmodels: [{ name: m, source: a/b }]\n',
    );
    expect(simulated.warnings).toEqual([
      {
        code: 'cards-assumed',
        message: 'node n is simulated and says no cards: one MI300X is assumed',
      },
    ]);
    expect(simulated.fleet.nodes[0]?.cards).toHaveLength(1);
  });
});

describe('forms of a value', () => {
  it.each([
    ['replicas: 3', { min: 3, max: 3, idleMs: null }],
    ['replicas: 0', { min: 0, max: 0, idleMs: null }],
    ['replicas: { min: 0, max: 4 }', { min: 0, max: 4, idleMs: 600_000 }],
    ['replicas: { min: 0, max: 4, idle: 90s }', { min: 0, max: 4, idleMs: 90_000 }],
    ['replicas: { min: 0, max: 4, idle: null }', { min: 0, max: 4, idleMs: null }],
    ['replicas: { min: 1, max: 4 }', { min: 1, max: 4, idleMs: null }],
  ])('%s', (model, replicas) => {
    expect(fleetWith(model).models[0]?.replicas).toEqual(replicas);
  });

  it.each(Object.entries(SLO_PRESETS))('band %s brings its targets', (band, preset) => {
    expect(fleetWith(`band: ${band}`).models[0]?.slo).toEqual(preset);
  });

  it('a target the file sets or removes leaves the others to the band', () => {
    expect(fleetWith('band: interactive, slo: { ttft: 300ms, tpot: null }').models[0]?.slo).toEqual(
      {
        ttftMs: 300,
        tpotMs: null,
        e2eMs: null,
        objective: 0.99,
      },
    );
    expect(fleetWith('band: batch, slo: { e2e: 2h, objective: 99.5% }').models[0]?.slo).toEqual({
      ttftMs: null,
      tpotMs: null,
      e2eMs: 7_200_000,
      objective: 0.995,
    });
  });

  it.each([
    ['bfloat16', 'bf16'],
    ['half', 'fp16'],
    ['float', 'fp32'],
    ['auto', 'auto'],
  ])('dtype %s is %s', (written, dtype) => {
    expect(fleetWith(`dtype: ${written}`).models[0]?.dtype).toBe(dtype);
  });

  it('engines may be said in short or in full', () => {
    expect(fleetWith('engine: sglang').models[0]?.engine).toEqual({
      name: 'sglang',
      version: null,
      args: {},
    });
    const full =
      'engine: { name: vllm, version: 0.19.0, args: { swap-space: 4, enforce-eager: null, tags: [a, b] } }';
    expect(fleetWith(full).models[0]?.engine).toEqual({
      name: 'vllm',
      version: '0.19.0',
      args: { 'swap-space': 4, 'enforce-eager': null, tags: ['a', 'b'] },
    });
  });

  it.each([
    ['./models/tiny', '/fleets/models/tiny'],
    ['../tiny/config.json', '/tiny/config.json'],
    ['tiny.json', '/fleets/tiny.json'],
    ['/models/tiny', '/models/tiny'],
    ['org/model', 'org/model'],
  ])('source %s is %s', (source, absolute) => {
    expect(
      parsed(`
apiVersion: aim-gpu/v1alpha1
kind: Fleet
nodes: [{ name: n }]
models: [{ name: m, source: ${source} }]
`).fleet.models[0]?.source,
    ).toBe(absolute);
  });

  it('keys come from the environment, a file or a digest', () => {
    const digest = 'AB'.repeat(32);
    const { fleet } = parsed(`
apiVersion: aim-gpu/v1alpha1
kind: Fleet
nodes: [{ name: n }]
models: [{ name: m, source: a/b }]
tenants: [{ name: t, keys: [{ env: A_KEY }, { file: ./a.key }, { sha256: ${digest} }] }]
`);
    expect(fleet.tenants[0]?.keys).toEqual([
      { kind: 'env', name: 'A_KEY' },
      { kind: 'file', path: '/fleets/a.key' },
      { kind: 'sha256', digest: digest.toLowerCase() },
    ]);
  });

  it('aliases of YAML stand for whole values, and JSON is YAML', () => {
    const { fleet } = parsed(`
apiVersion: aim-gpu/v1alpha1
kind: Fleet
nodes: [{ name: n }]
models:
  - { name: a, source: a/b, load: &load { requestsPerSecond: 1, promptTokens: 2k, outputTokens: 100 } }
  - { name: b, source: a/b, load: *load }
`);
    expect(fleet.models[1]?.load).toEqual({
      requestsPerSecond: 1,
      promptTokens: 2000,
      outputTokens: 100,
    });
    const json = {
      apiVersion: 'aim-gpu/v1alpha1',
      kind: 'Fleet',
      nodes: [{ name: 'n' }],
      models: [{ name: 'm', source: 'a/b' }],
    };
    expect(parsed(JSON.stringify(json)).fleet.models).toHaveLength(1);
  });
});

describe('cards of a simulated node', () => {
  const cards = (node: string): unknown =>
    fleetWith('', node).nodes[0]?.cards.map(({ id, product, hive }) => [id, product, hive]);

  it('have the addresses of a real server and one hive', () => {
    expect(cards('driver: simulated, cards: { count: 8 }')).toEqual(
      ['0c', '22', '38', '5c', '9f', 'af', 'bf', 'df'].map((bus) => [
        `0000:${bus}:00.0`,
        'MI300X',
        'node-a-hive-0',
      ]),
    );
  });

  it('keep what the file says of them and fill in the rest', () => {
    expect(
      cards(
        'driver: simulated, cards: [{ id: 0000:22:00.0 }, {}, { product: MI355X }, { id: 0001:0C:00.3, hive: h }]',
      ),
    ).toEqual([
      ['0000:22:00.0', 'MI300X', 'node-a-hive-0'],
      ['0000:0c:00.0', 'MI300X', 'node-a-hive-0'],
      ['0000:38:00.0', 'MI355X', 'node-a-hive-1'],
      ['0001:0c:00.0', 'MI300X', 'h'],
    ]);
  });

  it('are made up beside a full set of the usual addresses', () => {
    const usual = ['22', '38', '5c', '9f', 'af', 'bf', 'df'].map(
      (bus) => `{ id: 0000:${bus}:00.0 }`,
    );
    const taken = [...usual, '{ id: 0000:0c:00.0 }'];
    expect(cards(`driver: simulated, cards: [${usual.join(', ')}, {}]`)).toContainEqual([
      '0000:0c:00.0',
      'MI300X',
      'node-a-hive-0',
    ]);
    expect(taken).toHaveLength(8);
  });

  it('are kept on a rocm node that the command line may simulate', () => {
    const text =
      'apiVersion: aim-gpu/v1alpha1\nkind: Fleet\nnodes: [{ name: a, cards: { count: 2 } }, { name: b }]\nmodels: [{ name: m, source: a/b }]\n';
    expect(
      parsed(text).fleet.nodes.map(({ driver, cards: list }) => [driver, list.length]),
    ).toEqual([
      ['rocm', 2],
      ['rocm', 0],
    ]);
    const simulated = parsed(text, 'simulated');
    expect(simulated.fleet.nodes.map(({ driver, cards: list }) => [driver, list.length])).toEqual([
      ['simulated', 2],
      ['simulated', 1],
    ]);
    expect(simulated.warnings.map(({ code }) => code)).toEqual(['cards-assumed']);
  });
});

describe('a large fleet', () => {
  const models = Array.from(
    { length: 1000 },
    (_, index) => `  - { name: m-${index}, source: a/b }\n`,
  ).join('');
  const text = `apiVersion: aim-gpu/v1alpha1\nkind: Fleet\nnodes: [{ name: n }]\nmodels:\n${models}`;

  it('parses', () => {
    expect(parsed(text).fleet.models).toHaveLength(1000);
  });

  it('does not fill the screen with its names', () => {
    expect(() => parsed(`${text}    fallback: nobody\n`)).toThrow();
    expect(() => parsed(`${text}  - { name: last, source: a/b, fallback: nobody }\n`)).toThrow(
      /; there is m-0, .*m-19, …$/,
    );
  });
});

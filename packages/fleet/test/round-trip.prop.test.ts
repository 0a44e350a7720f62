import { readFileSync } from 'node:fs';
import path from 'node:path';
import { AimError, BANDS } from '@aim-gpu/core';
import { PRODUCTS } from '@aim-gpu/core/products';
import { parseFleet, toFleetDocument } from '@aim-gpu/fleet';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { GOOD_FILE } from './broken-files.js';

const amount = fc.oneof(
  fc.integer({ min: 1, max: 9999 }),
  fc.double({ min: 0.001, max: 999, noNaN: true }).map((n) => Number(n.toFixed(3))),
);
const time = fc
  .tuple(amount, fc.constantFrom('us', 'ms', 's', 'm', 'min', 'h', 'd', ' MS'))
  .map(([n, unit]) => `${n}${unit}`);
const size = fc
  .tuple(
    fc.integer({ min: 1, max: 5000 }),
    fc.constantFrom('MiB', 'GiB', 'GB', 'MB', 'KiB', 'b', ' gib'),
  )
  .map(([n, unit]) => `${n}${unit}`);
const percent = (max: number): fc.Arbitrary<string> =>
  fc.double({ min: 1, max, noNaN: true }).map((n) => `${Number(n.toFixed(4))}%`);
const count = fc.oneof(
  fc.integer({ min: 1, max: 1e9 }),
  fc.integer({ min: 1, max: 900 }).map((n) => `${n}k`),
  fc.constant('1.5M'),
);
const product = fc.constantFrom(...PRODUCTS.map(({ name }) => name));
const band = fc.constantFrom(...BANDS);
const optional = { requiredKeys: [] };
const orNull = <T>(arb: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(arb, { nil: null });

const limits = fc.record(
  {
    requestsPerMinute: orNull(count),
    inputTokensPerMinute: orNull(count),
    concurrent: orNull(count),
  },
  optional,
);

const timeouts = fc.record({ firstByte: time, idle: time, total: time }, optional);

const gateway = fc.record(
  {
    maxBody: fc.constantFrom('1KiB', '1500b', '8MiB', '256MiB'),
    hold: fc.constantFrom('1ms', '12.5s', '1h'),
    openPerTenant: count,
    timeouts: fc.record({ critical: timeouts, batch: timeouts, best_effort: timeouts }, optional),
  },
  optional,
);

const model = fc.record(
  {
    kind: fc.constantFrom('inference', 'guardrail', 'finetune'),
    dtype: fc.constantFrom('auto', 'bf16', 'bfloat16', 'half', 'fp32'),
    quantization: fc.constantFrom('auto', 'none', 'fp8', 'gguf:Q4_K'),
    maxModelLen: orNull(fc.integer({ min: 4096, max: 1e6 })),
    concurrency: count,
    expectedFill: fc.oneof(fc.double({ min: 0.001, max: 1, noNaN: true }), percent(100)),
    load: orNull(
      fc.record({
        requestsPerSecond: fc.double({ min: 1e-6, max: 1000, noNaN: true }),
        promptTokens: fc.integer({ min: 1, max: 2000 }),
        outputTokens: fc.integer({ min: 1, max: 2000 }),
      }),
    ),
    replicas: fc.oneof(
      fc.integer({ min: 0, max: 8 }),
      fc
        .tuple(fc.nat(4), fc.nat(4), orNull(time))
        .map(([min, more, idle]) => ({ min, max: min + more, idle })),
      fc.tuple(fc.nat(4), fc.nat(4)).map(([min, more]) => ({ min, max: min + more })),
    ),
    band,
    slo: fc.record(
      { ttft: orNull(time), tpot: orNull(time), e2e: orNull(time), objective: percent(99) },
      optional,
    ),
    engine: fc.oneof(
      fc.constantFrom('auto', 'vllm', 'sglang', 'llama.cpp', 'simulated'),
      fc.record(
        {
          name: fc.constantFrom('vllm', 'sglang'),
          version: orNull(fc.constantFrom('0.19.0', '0.5')),
          args: fc.dictionary(
            fc.stringMatching(/^[a-z][a-z0-9-]{0,12}$/),
            fc.oneof(fc.integer(), fc.boolean(), fc.string(), fc.constant(null)),
          ),
        },
        optional,
      ),
    ),
    parallel: fc.record(
      { tensor: fc.integer({ min: 1, max: 8 }), pipeline: fc.integer({ min: 1, max: 4 }) },
      optional,
    ),
    placement: fc.record(
      {
        exclusive: fc.boolean(),
        products: fc.uniqueArray(product),
        nodes: fc.constantFrom([], ['n-0']),
        minShare: orNull(size),
        spread: orNull(
          fc.oneof(
            fc.constantFrom('node', 'card', 'hive'),
            fc.record({
              over: fc.constantFrom('node', 'hive'),
              maxSkew: fc.integer({ min: 1, max: 9 }),
            }),
          ),
        ),
        protected: fc.boolean(),
      },
      optional,
    ),
    gang: orNull(fc.constantFrom('training', 'g-2')),
    duration: orNull(time),
    limits,
  },
  optional,
);

const quota = fc.record(
  {
    memory: fc.integer({ min: 500, max: 5000 }).map((n) => `${n}GiB`),
    borrow: fc.oneof(orNull(size), fc.constantFrom(0, '0')),
    guaranteed: fc.oneof(
      fc.integer({ min: 1, max: 400 }).map((n) => `${n}GiB`),
      fc.constantFrom(0, '0'),
    ),
  },
  { requiredKeys: ['memory'] },
);

const tenant = fc.record(
  {
    weight: fc.double({ min: 0.001, max: 1000, noNaN: true }),
    bands: fc.uniqueArray(band, { minLength: 1 }),
    limits,
    modelLimits: fc.oneof(
      fc.constant({}),
      limits.map((own) => ({ 'm-0': own })),
    ),
    quota: orNull(quota),
  },
  optional,
);

const file = fc
  .record({
    drivers: fc.array(fc.constantFrom('simulated', 'rocm'), { minLength: 1, maxLength: 3 }),
    cards: fc.oneof(
      fc.record({ product, count: fc.integer({ min: 1, max: 8 }) }, optional),
      fc.array(fc.record({ product }, optional), { minLength: 1, maxLength: 8 }),
    ),
    models: fc.array(model, { minLength: 1, maxLength: 4 }),
    tenants: fc.array(tenant, { maxLength: 3 }),
    policy: fc.record(
      {
        objective: fc.constantFrom('pack', 'spread', 'latency', 'stable'),
        repartition: fc.record({ allow: fc.boolean(), maxDowntime: time }, optional),
        memoryReserve: percent(50),
        slowdown: percent(100),
        gateway,
      },
      optional,
    ),
  })
  .map(({ drivers, cards, models, tenants, policy }) => ({
    apiVersion: 'aim-gpu/v1alpha1',
    kind: 'Fleet',
    nodes: drivers.map((driver, index) => ({
      name: `n-${index}`,
      driver,
      ...(driver === 'simulated' ? { cards, cordon: 'all' } : { cordon: ['0000:0C:00.0'] }),
      ...(index === 0 ? { cardPricePerHour: 2.5 } : {}),
    })),
    models: models.map((entry, index) => ({
      name: `m-${index}`,
      source: index % 2 === 0 ? 'org/model' : './model',
      ...entry,
      ...(index > 0 ? { fallback: `m-${index - 1}` } : {}),
      ...(index > 0 && entry.kind === 'guardrail'
        ? { of: index > 1 ? { model: 'm-0', within: 'node' } : 'm-0' }
        : {}),
      ...(tenants.length > 0 && index % 2 === 0 ? { tenant: 't-0' } : {}),
    })),
    tenants: tenants.map((entry, index) => ({
      name: `t-${index}`,
      keys: [
        { env: `KEY_${index}` },
        { file: `./${index}.key` },
        { sha256: String(index).repeat(64) },
      ],
      ...entry,
    })),
    policy,
  }));

describe('a fleet written out with every default', { timeout: 60_000 }, () => {
  it('parses to the same fleet, as YAML and as JSON', () => {
    fc.assert(
      fc.property(file, (content) => {
        const { fleet } = parseFleet(stringify(content), { file: '/fleets/fleet.yaml' });
        const document = toFleetDocument(fleet);
        for (const text of [stringify(document), JSON.stringify(document)]) {
          const again = parseFleet(text, { file: '/elsewhere/other.yaml' });
          expect(again.fleet).toEqual(fleet);
          expect(toFleetDocument(again.fleet)).toEqual(document);
        }
      }),
      { numRuns: 100 },
    );
  });

  it('says everything in the vocabulary of the file', () => {
    const text = readFileSync(path.join(import.meta.dirname, 'fixtures/complete.yaml'));
    const document = toFleetDocument(parseFleet(text, { file: '/fleets/complete.yaml' }).fleet);
    expect(document.models[0]).toMatchObject({
      slo: { ttft: '1s', tpot: '50ms', e2e: null, objective: '99%' },
      replicas: { min: 1, max: 1, idle: null },
      placement: { minShare: '20GiB' },
    });
    expect(document.policy).toEqual({
      objective: 'stable',
      repartition: { allow: true, maxDowntime: '2m' },
      memoryReserve: '2%',
      slowdown: '10%',
      gateway: {
        maxBody: '8MiB',
        hold: '20s',
        openPerTenant: 4096,
        timeouts: {
          critical: { firstByte: '10m', idle: '2m', total: '30m' },
          interactive: { firstByte: '10m', idle: '2m', total: '30m' },
          standard: { firstByte: '15m', idle: '5m', total: '1h' },
          batch: { firstByte: '1h', idle: '10m', total: '2h' },
          best_effort: { firstByte: '1h', idle: '10m', total: '4h' },
        },
      },
    });
    expect(JSON.parse(JSON.stringify(document))).toEqual(document);
  });
});

/** Whether parsing gives a fleet or the one error; anything else is a defect. */
function answersWell(input: string | Uint8Array): void {
  try {
    parseFleet(input, { file: 'f.yaml' });
  } catch (error) {
    if (!AimError.is(error, 'ERR_CONFIG_INVALID')) throw error;
    expect(error.at?.line).toBeGreaterThan(0);
    expect(error.at?.column).toBeGreaterThan(0);
    expect(error.excerpt).toMatch(/\n[ \t]*\^+$/);
    expect(error.hint).toMatch(/\S/);
  }
}

describe('whatever stands in a file', { timeout: 60_000 }, () => {
  const complete = readFileSync(path.join(import.meta.dirname, 'fixtures/complete.yaml'), 'utf8');

  it('cut off anywhere is a place, a line and a fix, or still a fleet', () => {
    for (let length = 0; length < complete.length; length += 7)
      answersWell(complete.slice(0, length));
    for (let length = 0; length < GOOD_FILE.length; length += 1)
      answersWell(GOOD_FILE.slice(0, length));
  });

  it('cut off before its models is never a fleet', () => {
    const models = complete.indexOf('  - name: assistant');
    for (let length = 0; length <= models; length += 5)
      expect(() => parseFleet(complete.slice(0, length), { file: 'f.yaml' })).toThrow();
  });

  it('with a few characters changed never breaks the parser', () => {
    fc.assert(
      fc.property(
        fc.nat(complete.length - 1),
        fc.nat(20),
        fc.oneof(
          fc.string({ maxLength: 10 }),
          fc.constantFrom('\t', '\n', '{', '[', '&a ', '*a', '!x ', '? ', '---\n', '"', ': '),
        ),
        (at, cut, insert) => {
          answersWell(complete.slice(0, at) + insert + complete.slice(at + cut));
        },
      ),
      { numRuns: 300 },
    );
  });

  it('be it any bytes never breaks the parser', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), answersWell), { numRuns: 300 });
    fc.assert(fc.property(fc.string({ maxLength: 200, unit: 'binary' }), answersWell), {
      numRuns: 300,
    });
  });

  it('be it any value for any key never breaks the parser', () => {
    const paths = fc.constantFrom('nodes', 'models', 'tenants', 'policy', 'metadata', 'kind');
    fc.assert(
      fc.property(paths, fc.jsonValue({ maxDepth: 4 }), (key, value) => {
        answersWell(
          JSON.stringify(
            {
              apiVersion: 'aim-gpu/v1alpha1',
              kind: 'Fleet',
              nodes: [{ name: 'n' }],
              models: [{ name: 'm', source: 'a/b' }],
              [key]: value,
            },
            null,
            2,
          ),
        );
      }),
      { numRuns: 300 },
    );
  });
});

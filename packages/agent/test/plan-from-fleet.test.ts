import { AimError, workloadName } from '@aim-gpu/core';
import { aFleet, anInventory, aWorkload } from '@aim-gpu/core/testing';
import { createModelLibrary } from '@aim-gpu/sizing';
import { describe, expect, test } from 'vitest';
import { planFromFleet, sizeFleet } from '../src/index.js';
import { toServedModels } from '../src/served-models.js';

const models = createModelLibrary();
const CODE = workloadName('code');

describe('from a fleet to a plan', () => {
  test('sizes every model in the order of the fleet and places it', async () => {
    const fleet = aFleet({ models: [aWorkload({ name: CODE }), aWorkload()] });
    const { plan, demands } = await planFromFleet({ fleet, models, inventories: [anInventory()] });
    expect([...demands.keys()]).toEqual(['code', 'chat']);
    expect(plan.placements.map(({ instance }) => instance)).toEqual(['code-0', 'chat-0']);
    expect(plan.observed.generation).toBe('g1');
  });

  test.each([
    ['an unknown source', aWorkload({ name: CODE, source: 'nobody/nothing' }), 'ERR_MODEL_UNKNOWN'],
    ['a missing file', aWorkload({ name: CODE, source: '/no/config.json' }), 'ERR_FILE_MISSING'],
    [
      'an argument that is no number',
      aWorkload({
        name: CODE,
        engine: { name: 'auto', version: null, args: { 'max-num-seqs': 'x' } },
      }),
      'ERR_CONFIG_INVALID',
    ],
  ])('%s is told with the name of the model, once', async (_, workload, code) => {
    const fleet = aFleet({ models: [aWorkload(), workload] });
    const failure = await sizeFleet({ fleet, models }).catch((error: unknown) => error);
    if (!AimError.is(failure)) throw failure;
    expect(failure.code).toBe(code);
    expect(failure.message.match(/model code: /g)).toHaveLength(1);
    expect(failure.message.startsWith('model code: ')).toBe(true);
    expect(failure.details).toMatchObject({ model: 'code' });
    expect(AimError.is(failure.cause)).toBe(true);
  });

  test('place and excerpt in a file of the user are kept; what is no error of ours stays itself', async () => {
    const at = { file: 'config.json', line: 3, column: 7 };
    const source = (error: Error) => ({ load: () => Promise.reject(error) });
    const broken = new AimError({
      code: 'ERR_CONFIG_INVALID',
      kind: 'invalid',
      message: 'no layers',
      hint: 'give some',
      at,
      excerpt: '  "layers": 0',
    });
    await expect(sizeFleet({ fleet: aFleet(), models: source(broken) })).rejects.toMatchObject({
      message: 'model chat: no layers',
      hint: 'give some',
      at,
      excerpt: '  "layers": 0',
    });
    const mistake = new TypeError('a mistake');
    await expect(sizeFleet({ fleet: aFleet(), models: source(mistake) })).rejects.toBe(mistake);
  });

  test('an abort ends it with the reason', async () => {
    const signal = AbortSignal.abort(new Error('Ctrl-C'));
    await expect(sizeFleet({ fleet: aFleet(), models, signal })).rejects.toThrow('Ctrl-C');
  });
});

test('clients see aliases, adapters, band, fallback, SLO and limits as the fleet has them', () => {
  const limits = {
    requestsPerMinute: 600,
    inputTokensPerMinute: null,
    outputTokensPerMinute: null,
    concurrent: 8,
  };
  const adapter = { name: 'legal', path: './legal' } as const;
  const workload = aWorkload({
    aliases: ['gpt'],
    adapters: [adapter],
    fallback: CODE,
    band: 'batch',
    limits,
  });
  expect(toServedModels(aFleet({ models: [workload] }), new Map())).toEqual([
    {
      workload: 'chat',
      aliases: ['gpt'],
      adapters: ['legal'],
      band: 'batch',
      fallback: 'code',
      slo: workload.slo,
      limits,
      parked: false,
      maxModelLen: 8192,
    },
  ]);
});

import {
  bytes,
  cardId,
  gib,
  type Inventory,
  mib,
  nodeName,
  ratio,
  workloadName,
} from '@aim-gpu/core';
import {
  aCard,
  aDemand,
  anInventory,
  aPlacement,
  aShare,
  aWorkload,
  someCards,
} from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import {
  assertShares,
  BARE_HOST,
  explainEnvelope,
  type PlanEnvelopeOptions,
  planEnvelope,
} from '../src/index.js';

const policy = { memoryReserve: ratio(0.02) };
const base: PlanEnvelopeOptions = {
  placement: aPlacement(),
  workload: aWorkload(),
  demand: aDemand(),
  inventory: anInventory({ driver: 'rocm' }),
  policy,
  host: BARE_HOST,
};
const on = (
  inventory: Inventory,
  ...places: readonly (readonly [number, number])[]
): PlanEnvelopeOptions => ({
  ...base,
  inventory,
  placement: aPlacement({
    shares: places.map(([card, partition]) =>
      aShare({ card: inventory.cards[card]?.id as never, partition, memoryBytes: gib(22) }),
    ),
  }),
  demand: aDemand({ memory: { kvBytes: gib(2) } }),
});
const strengths = (options: PlanEnvelopeOptions): Record<string, string> =>
  Object.fromEntries(
    planEnvelope(options).measures.map((measure) => [measure.name, measure.strength]),
  );

describe('visible devices', () => {
  const cpx = { layout: { compute: 'CPX', memory: 'NPS1' } } as const;

  it('are counted in KFD order, and again from 0 above', () => {
    const inventory = anInventory({ driver: 'rocm', cards: someCards(2, cpx) });
    const envelope = planEnvelope(on(inventory, [1, 2], [0, 3]));
    expect(envelope.env).toEqual({
      ROCR_VISIBLE_DEVICES: '10,3',
      HIP_VISIBLE_DEVICES: '0,1',
      CUDA_VISIBLE_DEVICES: '0,1',
    });
    expect(envelope.deviceFiles).toEqual([
      '/dev/kfd',
      '/dev/dri/renderD138',
      '/dev/dri/renderD131',
    ]);
  });

  it('put whole cards before partitions, whether KFD says so or nothing does', () => {
    const [first, second] = someCards(2, cpx);
    const [whole] = someCards(1);
    if (first === undefined || second === undefined || whole === undefined)
      throw new Error('cards');
    const unread = first.partitions.map((partition) => ({ ...partition, kfdNode: null }));
    const other = { ...whole, id: cardId('0000:f0:00.0') };
    const inventory = anInventory({
      driver: 'rocm',
      cards: [{ ...first, partitions: unread }, other],
    });
    expect(planEnvelope(on(inventory, [0, 2])).env['ROCR_VISIBLE_DEVICES']).toBe('3');
    const listed = first.partitions.map((partition) => ({
      ...partition,
      kfdNode: 10 + partition.index,
    }));
    const known = anInventory({ driver: 'rocm', cards: [{ ...first, partitions: listed }, other] });
    expect(planEnvelope(on(known, [0, 2])).env['ROCR_VISIBLE_DEVICES']).toBe('3');
  });

  it.each([
    ['GPU-c62ac130ee448403', 'GPU-c62ac130ee448403'],
    ['c6ff75a3-0000-1000-802a-c130ee448403', '0'],
  ])('uuid %s is named as %s', (uuid, named) => {
    const card = aCard();
    const partitions = card.partitions.map((partition) => ({ ...partition, uuid }));
    const inventory = anInventory({ driver: 'rocm', cards: [{ ...card, partitions }] });
    expect(planEnvelope({ ...base, inventory }).env['ROCR_VISIBLE_DEVICES']).toBe(named);
  });

  it('of a simulated node have their own variable and no files', () => {
    const envelope = planEnvelope({ ...base, inventory: anInventory() });
    expect(envelope.env).toEqual({ AIM_GPU_VISIBLE_PARTITIONS: '0000:0c:00.0/0' });
    expect(envelope.deviceFiles).toEqual([]);
  });
});

describe('memory', () => {
  it('leaves context and graphs outside the fraction', () => {
    const envelope = planEnvelope(base);
    const total = 196_592 * 2 ** 20;
    const requested = Math.ceil(total * envelope.gpuMemoryUtilization);
    expect(requested).toBe(gib(40) - mib(768));
    expect(envelope.kvCacheMemoryBytes).toBe(requested - 16_060_522_496 - mib(640) - mib(512));
    expect(envelope.shares[0]).toMatchObject({ partitionMemoryBytes: total, renderMinor: 128 });
  });

  it('takes a share of exactly the minimum', () => {
    const demand = aDemand();
    const placement = aPlacement({ shares: [aShare({ memoryBytes: demand.memory.minimumBytes })] });
    const envelope = planEnvelope({ ...base, placement });
    expect(envelope.kvCacheMemoryBytes).toBe(gib(1));
  });

  it('of several ranks is that of the poorest', () => {
    const shares = [aShare(), aShare({ memoryBytes: gib(30) })];
    const both = planEnvelope({ ...base, placement: aPlacement({ shares }) });
    const poor = planEnvelope({ ...base, placement: aPlacement({ shares: shares.slice(1) }) });
    const reversed = planEnvelope({
      ...base,
      placement: aPlacement({ shares: [...shares].reverse() }),
    });
    expect(both.kvCacheMemoryBytes).toBe(poor.kvCacheMemoryBytes);
    expect(both.gpuMemoryUtilization).toBe(poor.gpuMemoryUtilization);
    expect(reversed.kvCacheMemoryBytes).toBe(poor.kvCacheMemoryBytes);
  });
});

describe('refusals', () => {
  const card = aCard();
  const unread = {
    ...card,
    partitions: card.partitions.map((entry) => ({ ...entry, memoryBytes: null })),
  };
  it.each<[string, Partial<PlanEnvelopeOptions>, string]>([
    [
      'too small',
      { placement: aPlacement({ shares: [aShare({ memoryBytes: gib(14) })] }) },
      'ERR_DOES_NOT_FIT',
    ],
    [
      'smaller than its KV',
      { placement: aPlacement({ shares: [aShare({ memoryBytes: gib(17) })] }) },
      'ERR_DOES_NOT_FIT',
    ],
    [
      'smaller than its context',
      { placement: aPlacement({ shares: [aShare({ memoryBytes: bytes(5) })] }) },
      'ERR_DOES_NOT_FIT',
    ],
    [
      'into the reserve',
      { placement: aPlacement({ shares: [aShare({ memoryBytes: gib(190) })] }) },
      'ERR_DOES_NOT_FIT',
    ],
    [
      'no such partition',
      { placement: aPlacement({ shares: [aShare({ partition: 3 })] }) },
      'ERR_DEVICE_UNKNOWN',
    ],
    ['unread memory', { inventory: anInventory({ cards: [unread] }) }, 'ERR_DEVICE_UNKNOWN'],
    ['another node', { inventory: anInventory({ node: nodeName('node9') }) }, 'ERR_INVARIANT'],
    ['another workload', { workload: aWorkload({ name: workloadName('other') }) }, 'ERR_INVARIANT'],
    ['no share', { placement: aPlacement({ shares: [] }) }, 'ERR_INVARIANT'],
    ['too many compute units', { computeUnits: { first: 300, count: 10 } }, 'ERR_CU_RANGE'],
    ['half a compute unit', { computeUnits: { first: 0, count: 0.5 } }, 'ERR_CU_RANGE'],
  ])('%s', (_, overrides, code) => {
    expect(() => planEnvelope({ ...base, ...overrides })).toThrow(
      expect.objectContaining({ code }),
    );
  });
});

describe('measures', () => {
  const confined = { ...BARE_HOST, cgroupVersion: 2, root: true, confinesDevices: true } as const;
  it.each<[string, Partial<PlanEnvelopeOptions>, Record<string, string>]>([
    [
      'bare host',
      {},
      {
        'device-nodes': 'unavailable',
        'visible-devices': 'cooperative',
        'partition-memory': 'hard',
      },
    ],
    ['confining launcher', { host: confined }, { 'device-nodes': 'hard' }],
    [
      'root that does not confine',
      { host: { ...confined, confinesDevices: false } },
      { 'device-nodes': 'unavailable' },
    ],
    ['no Linux', { host: { ...confined, platform: 'darwin' } }, { 'device-nodes': 'unavailable' }],
    [
      'device memory controller',
      { host: { ...confined, dmem: true } },
      { 'memory-limit': 'cooperative' },
    ],
    [
      'simulated',
      { inventory: anInventory() },
      { 'device-nodes': 'unavailable', 'partition-memory': 'hard' },
    ],
    [
      'unknown driver',
      { inventory: anInventory({ driver: 'other' }) },
      {
        'visible-devices': 'unavailable',
        'partition-memory': 'unavailable',
        'device-nodes': 'unavailable',
      },
    ],
    ['masked', { computeUnits: { first: 0, count: 38 } }, { 'cu-mask': 'cooperative' }],
    [
      'masked, simulated',
      { inventory: anInventory(), computeUnits: { first: 0, count: 38 } },
      { 'cu-mask': 'unavailable' },
    ],
  ])('%s', (_, overrides, expected) => {
    expect(strengths({ ...base, ...overrides })).toMatchObject({
      ...expected,
      'memory-bandwidth': 'unavailable',
    });
  });

  it('masks compute units of each visible device', () => {
    const envelope = planEnvelope({ ...base, computeUnits: { first: 38, count: 38 } });
    expect(envelope.env['HSA_CU_MASK']).toBe('0:38-75');
    const simulated = planEnvelope({
      ...base,
      inventory: anInventory(),
      computeUnits: { first: 0, count: 1 },
    });
    expect(simulated.env['HSA_CU_MASK']).toBeUndefined();
  });

  it('are explained with their reasons', () => {
    const text = explainEnvelope(planEnvelope({ ...base, shared: false }));
    expect(text.split('\n')[0]).toBe('chat-0: 20.8 % of partition 0 of 0000:0c:00.0');
    expect(text).toContain('device-nodes      unavailable  needs a launcher with a device list');
    expect(text).toContain('no neighbour is on the partition now');
  });
});

describe('assertShares', () => {
  it('finds what is oversold, of this node only', () => {
    const inventory = anInventory();
    const share = aShare({ memoryBytes: gib(100) });
    expect(assertShares({ shares: [share], inventory, policy })).toEqual([]);
    const far = aShare({ node: nodeName('node9'), memoryBytes: gib(100) });
    expect(assertShares({ shares: [share, far], inventory, policy })).toEqual([]);
    expect(assertShares({ shares: [share, share], inventory, policy })).toMatchObject([
      { partition: 0, sharedBytes: gib(200) },
    ]);
    const gone = aShare({ partition: 5, memoryBytes: bytes(1) });
    expect(assertShares({ shares: [gone], inventory, policy })).toMatchObject([
      { partition: 5, availableBytes: 0 },
    ]);
  });
});

import { type EpochMs, gib, instanceId, ratio, workloadName } from '@aim-gpu/core';
import { aCard, aFleet, anInventory, aPlan, aShare } from '@aim-gpu/core/testing';
import { describe, expect, test } from 'vitest';
import { detectHost, type InstanceStatus } from '../src/index.js';
import { refuseUnplaced } from '../src/refusals.js';
import { toStatusDocument } from '../src/status-document.js';
import { NODE } from './support/agent-bench.js';

const BASE = {
  fleet: aFleet({ policy: { ...aFleet().policy, memoryReserve: ratio(0.1) } }),
  node: NODE,
  driver: 'simulated',
  pid: 77,
  state: 'ready',
  since: 5 as EpochMs,
  gateway: null,
} as const;

function anInstance(shares: InstanceStatus['shares']): InstanceStatus {
  return {
    instance: instanceId(workloadName('chat'), 0),
    workload: workloadName('chat'),
    band: 'standard',
    engine: 'fake',
    state: 'ready',
    since: 5 as EpochMs,
    pid: 4000,
    endpoint: { host: '127.0.0.1', port: 4711 },
    shares,
    predicted: { ttftMs: 1, tpotMs: 1, aloneTpotMs: 1 },
    isolation: [],
    restarts: 0,
    draining: false,
    trouble: null,
  };
}

describe('the status document', () => {
  test('before anything was read or planned is whole all the same', () => {
    const document = toStatusDocument({ ...BASE, inventory: null, plan: null, instances: [] });
    expect(document).toEqual({
      apiVersion: 'aim-gpu/v1alpha1',
      kind: 'Status',
      node: 'node0',
      driver: 'simulated',
      fleet: 'test',
      state: 'ready',
      since: 5,
      pid: 77,
      plan: null,
      gateway: null,
      cards: [],
      instances: [],
      unplaced: [],
      degradations: [],
      problems: [],
      warnings: [],
    });
  });

  test('joins shares to the partitions they are of, beside the reserve', () => {
    const card = aCard({ layout: { compute: 'DPX', memory: 'NPS1' } });
    const [, second] = card.partitions;
    const lost = { index: 2, xcds: [], computeUnits: 0, memoryBytes: null };
    const odd = { ...card, partitions: [...card.partitions, { ...second, ...lost } as never] };
    const problems = [{ code: 'LINK', message: 'a link is down' }] as never;
    const document = toStatusDocument({
      ...BASE,
      inventory: anInventory({ cards: [odd], problems }),
      plan: aPlan(),
      instances: [anInstance([aShare({ partition: 1, memoryBytes: gib(20) })])],
    });
    const reserve = Math.ceil((second?.memoryBytes ?? 0) * 0.1);
    expect(document.plan).toBe('p1');
    expect(document.problems).toEqual(problems);
    expect(document.cards[0]?.partitions).toMatchObject([
      { index: 0, shares: [], reservedBytes: reserve },
      {
        index: 1,
        shares: [{ instance: 'chat-0', memoryBytes: gib(20) }],
        reservedBytes: gib(20) + reserve,
      },
      { index: 2, memoryBytes: null, reservedBytes: 0 },
    ]);
  });
});

describe('a plan with leftovers', () => {
  const leftover = (codes: readonly string[]) =>
    aPlan({
      unplaced: [
        {
          workload: workloadName('huge'),
          replicas: 1,
          reasons: codes.map((code) => ({ code, message: `it is ${code}`, fix: `undo ${code}` })),
        },
      ],
    });

  test.each([
    [['does-not-fit'], 'ERR_DOES_NOT_FIT', 'no place for huge: it is does-not-fit'],
    [['no-room', 'does-not-fit'], 'ERR_UNPLACED', 'no place for huge: it is no-room'],
    [[], 'ERR_UNPLACED', 'no place for huge'],
  ])('with reasons %j is refused', (codes, code, message) => {
    expect(() => refuseUnplaced(leftover(codes), { partial: false })).toThrow(
      expect.objectContaining({ code, message, kind: 'refused' }),
    );
  });

  test('passes when partial is wanted, and a whole one always', () => {
    refuseUnplaced(leftover(['no-room']), { partial: true });
    refuseUnplaced(aPlan(), { partial: false });
  });
});

test('a host is described as it is, and confines nothing by itself', () => {
  const host = detectHost();
  expect(host.platform).toBe(process.platform);
  expect(host.root).toBe(process.getuid?.() === 0);
  expect([1, 2, null]).toContain(host.cgroupVersion);
  expect(host.confinesDevices).toBe(false);
});

import { bytes, type EpochMs, gib, instanceId, workloadName } from '@aim-gpu/core';
import { describe, expect, it } from 'vitest';
import {
  type CardActivity,
  chooseMerges,
  choosePartition,
  claimShares,
  DEFAULT_SWITCH_POLICY,
  deriveLedger,
  toCardActivity,
} from '../src/index.js';
import { aModel, type ModelMachine, toInventory } from './model-machine.js';

const NOW = 1_700_000_000_000 as EpochMs;
const chat = instanceId(workloadName('chat'), 0);
const inMode = (machine: ModelMachine, compute: 'SPX' | 'QPX' | 'CPX'): ModelMachine =>
  machine.map((card) => ({ ...card, compute }));

function optionsFor(machine: ModelMachine, activity: readonly CardActivity[] = []) {
  const inventory = toInventory(machine);
  return {
    inventory,
    ledger: deriveLedger({ inventory, assignments: [], memoryReserve: 0.02 }),
    activity,
    policy: DEFAULT_SWITCH_POLICY,
    now: NOW,
  };
}

describe('a partition on demand', () => {
  it('is one that is there with the least left over', () => {
    const [first, second] = aModel(2, 1);
    if (first === undefined || second === undefined) throw new Error('two cards');
    const options = optionsFor([first, { ...second, compute: 'QPX' }]);
    expect(choosePartition({ memoryBytes: gib(40) }, options)).toEqual({
      ok: true,
      kind: 'existing',
      card: second.id,
      partition: 0,
    });
    expect(choosePartition({ memoryBytes: gib(100) }, options)).toMatchObject({ card: first.id });
    expect(choosePartition({ memoryBytes: gib(40), computeUnits: 200 }, options)).toMatchObject({
      card: first.id,
    });
  });

  it('a partition of one’s own does not take a whole card that could be split', () => {
    const options = optionsFor(aModel(1, 1));
    expect(choosePartition({ memoryBytes: gib(20) }, options)).toMatchObject({ kind: 'existing' });
    expect(choosePartition({ memoryBytes: gib(20), exclusive: true }, options)).toMatchObject({
      kind: 'switch',
      desired: [{ layout: { compute: 'CPX', memory: 'NPS1' } }],
    });
  });

  it('else the smallest layout of a card that nobody holds', () => {
    const machine = inMode(aModel(1, 1), 'CPX');
    const choice = choosePartition({ memoryBytes: gib(40) }, optionsFor(machine));
    expect(choice).toMatchObject({
      ok: true,
      kind: 'switch',
      desired: [{ layout: { compute: 'QPX', memory: 'NPS1' } }],
    });
  });

  it('takes the reserve off: a partition of just that size is too small', () => {
    const options = optionsFor(inMode(aModel(1, 1), 'CPX'));
    const exact = options.ledger.accounts[0]?.capacityBytes ?? bytes(0);
    expect(choosePartition({ memoryBytes: exact }, options)).toMatchObject({ kind: 'switch' });
  });

  it('is refused with every reason', () => {
    const options = optionsFor(inMode(aModel(1, 1), 'CPX'));
    const claim = { card: options.inventory.cards[0]?.id as never, partition: 0 };
    const held = claimShares(options.ledger, chat, [{ ...claim, memoryBytes: gib(1) }]);
    if (!held.ok) throw new Error('granted');
    expect(
      choosePartition({ memoryBytes: gib(40) }, { ...options, ledger: held.ledger }),
    ).toMatchObject({
      ok: false,
      reasons: [
        { code: 'NO_PARTITION_FREE' },
        { code: 'CARD_IN_USE', message: expect.stringContaining('chat-0') },
      ],
    });
    expect(choosePartition({ memoryBytes: gib(500) }, options)).toMatchObject({
      reasons: [{ code: 'NO_PARTITION_FREE' }, { code: 'LAYOUT_TOO_SMALL' }],
    });
  });

  it('waits until a card has been long enough as it is', () => {
    const machine = inMode(aModel(1, 1), 'CPX');
    const inventory = toInventory(machine);
    const id = inventory.cards[0]?.id as never;
    const activity = toCardActivity({
      before: [],
      inventory,
      assignments: [],
      switched: [id],
      now: (NOW - 60_000) as EpochMs,
    });
    expect(choosePartition({ memoryBytes: gib(40) }, optionsFor(machine, activity))).toMatchObject({
      ok: false,
      reasons: [
        { code: 'NO_PARTITION_FREE' },
        { code: 'CARD_DWELLS', message: expect.stringContaining('240 s') },
      ],
    });
  });

  it('a memory mode takes the whole hive along, and only where a reload is allowed', () => {
    const machine = inMode(aModel(2, 1), 'QPX').map((card) => ({
      ...card,
      memory: 'NPS4' as const,
    }));
    const options = optionsFor(machine);
    expect(choosePartition({ memoryBytes: gib(150) }, options)).toMatchObject({ ok: false });
    expect(choosePartition({ memoryBytes: gib(150), allowReload: true }, options)).toMatchObject({
      kind: 'switch',
      desired: [{ layout: { compute: 'SPX', memory: 'NPS1' } }, { layout: { memory: 'NPS1' } }],
    });
  });
});

describe('making a card whole again', () => {
  it('once nobody has held it for long enough', () => {
    const machine = inMode(aModel(1, 1), 'QPX');
    const card = toInventory(machine).cards[0]?.id as never;
    const idle = (ms: number): readonly CardActivity[] => [
      { card, switchedAt: (NOW - 10 * ms) as EpochMs, lastHeldAt: (NOW - ms) as EpochMs },
    ];
    expect(chooseMerges(optionsFor(machine, idle(60_000)))).toEqual([]);
    expect(chooseMerges(optionsFor(machine, idle(700_000)))).toMatchObject([
      { layout: { compute: 'SPX', memory: 'NPS1' } },
    ]);
    expect(chooseMerges(optionsFor(aModel(1, 1)))).toEqual([]);
  });
});

import { bytes, cardId, gib, instanceId, nodeName, workloadName } from '@aim-gpu/core';
import { aCard, anAssignment, anInventory, aShare } from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import { claimShares, deriveLedger, releaseShares, resizeShares } from '../src/index.js';

const CARD = cardId('0000:0c:00.0');
const NODE = nodeName('node-a');
const chat = instanceId(workloadName('chat'), 0);
const code = instanceId(workloadName('code'), 0);
const partitions = [0, 1].map((index) => ({
  index,
  xcds: 4,
  computeUnits: 152,
  memoryBytes: gib(96),
  renderMinor: 128 + index,
  uuid: null,
  kfdNode: index + 1,
}));
const inventory = anInventory({
  node: NODE,
  cards: [aCard({ id: CARD, layout: { compute: 'DPX', memory: 'NPS1' }, partitions })],
});
const empty = deriveLedger({ inventory, assignments: [], memoryReserve: 0.02 });
const claim = (partition: number, size: number, exclusive = false) => ({
  card: CARD,
  partition,
  memoryBytes: gib(size),
  exclusive,
});
const held = (size: number, partition = 0) =>
  anAssignment({
    instance: chat,
    shares: [aShare({ node: NODE, card: CARD, partition, memoryBytes: gib(size) })],
  });

describe('the ledger of shares', () => {
  it('hands out what is there less the reserve, and no byte more', () => {
    const [account] = empty.accounts;
    expect(account?.reserveBytes).toBe(Math.ceil(gib(96) * 0.02));
    const most = bytes(gib(96) - (account?.reserveBytes ?? 0));
    expect(claimShares(empty, chat, [{ ...claim(0, 1), memoryBytes: most }]).ok).toBe(true);
    expect(
      claimShares(empty, chat, [{ ...claim(0, 1), memoryBytes: bytes(most + 1) }]),
    ).toMatchObject({ ok: false, reasons: [{ code: 'SHARE_TOO_LARGE' }] });
  });

  it('grants all claims of an instance or none', () => {
    const result = claimShares(empty, chat, [claim(0, 10), claim(1, 200)]);
    expect(result).toMatchObject({ ok: false, reasons: [{ code: 'SHARE_TOO_LARGE' }] });
    const both = claimShares(empty, chat, [claim(0, 50), claim(0, 50)]);
    expect(both).toMatchObject({ ok: false, reasons: [{ code: 'SHARE_TOO_LARGE' }] });
  });

  it('keeps a partition for one alone', () => {
    const first = claimShares(empty, chat, [claim(0, 10, true)]);
    if (!first.ok) throw new Error('granted');
    expect(claimShares(first.ledger, code, [claim(0, 10)])).toMatchObject({
      reasons: [{ code: 'PARTITION_HELD', message: expect.stringContaining('chat-0') }],
    });
    const shared = claimShares(empty, chat, [claim(1, 10)]);
    if (!shared.ok) throw new Error('granted');
    expect(claimShares(shared.ledger, code, [claim(1, 10, true)])).toMatchObject({
      reasons: [{ code: 'PARTITION_HELD' }],
    });
  });

  it('refuses a second claim, an unknown partition, and resizes in one step or not at all', () => {
    const first = claimShares(empty, chat, [claim(0, 60)]);
    if (!first.ok) throw new Error('granted');
    expect(claimShares(first.ledger, chat, [claim(1, 1)])).toMatchObject({
      reasons: [{ code: 'ALREADY_HELD' }],
    });
    expect(claimShares(empty, chat, [claim(7, 1)])).toMatchObject({
      reasons: [{ code: 'PARTITION_UNKNOWN' }],
    });
    const larger = resizeShares(first.ledger, chat, [claim(0, 90)]);
    expect(larger).toMatchObject({ ok: true });
    expect(resizeShares(first.ledger, chat, [claim(0, 100)])).toMatchObject({ ok: false });
    expect(first.ledger.accounts[0]?.held).toHaveLength(1);
    expect(releaseShares(first.ledger, chat)).toEqual(empty);
  });

  it('is derived from devices and assignments, and says what they do not bear out', () => {
    const derived = deriveLedger({ inventory, assignments: [held(60)], memoryReserve: 0.02 });
    expect(derived.problems).toEqual([]);
    expect(derived.accounts[0]).toMatchObject({ held: [{ instance: chat, memoryBytes: gib(60) }] });
    const oversold = deriveLedger({ inventory, assignments: [held(97)], memoryReserve: 0.02 });
    expect(oversold.problems).toMatchObject([{ code: 'OVERSOLD', instances: [chat] }]);
    expect(oversold.accounts[0]?.freeBytes).toBe(0);
    const gone = deriveLedger({ inventory, assignments: [held(1, 5)], memoryReserve: 0 });
    expect(gone.problems).toMatchObject([{ code: 'PARTITION_GONE', instances: [chat] }]);
    const unread = deriveLedger({
      inventory: anInventory({
        node: NODE,
        cards: [
          aCard({ id: CARD, partitions: partitions.map((one) => ({ ...one, memoryBytes: null })) }),
        ],
      }),
      assignments: [held(1)],
      memoryReserve: 0,
    });
    expect(unread).toMatchObject({ accounts: [], problems: [{ code: 'CAPACITY_UNREAD' }] });
  });
});

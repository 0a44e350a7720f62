import { AimError } from '@aim-gpu/core';
import { createMemoryStateStore } from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import {
  checkpoint,
  exportLayout,
  parseLayoutSpec,
  parseLayoutWishes,
  readCheckpoint,
  toDesiredLayouts,
} from '../src/index.js';
import { aModel, toInventory } from './model-machine.js';

const inventory = toInventory(aModel(2, 1));

describe('layouts as a document', () => {
  it('are read as they were written', () => {
    const document = exportLayout(inventory);
    expect(parseLayoutSpec(JSON.stringify(document))).toEqual(document);
    expect(toDesiredLayouts(document)).toEqual(
      inventory.cards.map(({ id, layout }) => ({ card: id, layout })),
    );
  });

  it('are not written with a guess in them', () => {
    const [card] = inventory.cards;
    if (card === undefined) throw new Error('a card');
    const unread = { ...inventory, cards: [{ ...card, layout: { compute: null, memory: null } }] };
    expect(() => exportLayout(unread)).toThrow(/cannot be read/);
  });

  it.each([
    ['no JSON', '{'],
    ['another kind', JSON.stringify({ ...exportLayout(inventory), kind: 'Fleet' })],
    ['no cards', JSON.stringify({ ...exportLayout(inventory), cards: [] })],
    ['a key that is not known', JSON.stringify({ ...exportLayout(inventory), more: 1 })],
    [
      'a card twice',
      JSON.stringify({
        ...exportLayout(inventory),
        cards: [...exportLayout(inventory).cards, ...exportLayout(inventory).cards],
      }),
    ],
    ['a mode that is none', JSON.stringify(exportLayout(inventory)).replace('"SPX"', '"ZPX"')],
  ])('%s is refused', (_name, text) => {
    try {
      parseLayoutSpec(text);
    } catch (error) {
      expect(AimError.is(error, 'ERR_CONFIG_INVALID')).toBe(true);
      return;
    }
    throw new Error('it was read');
  });

  it('are kept and read back; what is kept and broken is said', async () => {
    const store = createMemoryStateStore();
    expect(await readCheckpoint(store)).toBeNull();
    const kept = await checkpoint(store, inventory);
    expect(await readCheckpoint(store)).toEqual(kept);
    await store.snapshot('layout-checkpoint').write({ kind: 'something' });
    await expect(readCheckpoint(store)).rejects.toMatchObject({ code: 'ERR_STATE_CORRUPT' });
  });
});

describe('wishes as they are typed', () => {
  it('for every card, for one, the later one wins', () => {
    const [first, second] = inventory.cards;
    expect(parseLayoutWishes(['cpx/nps1', `${second?.id}=QPX/NPS1`], inventory)).toEqual([
      { card: first?.id, layout: { compute: 'CPX', memory: 'NPS1' } },
      { card: second?.id, layout: { compute: 'QPX', memory: 'NPS1' } },
    ]);
  });

  it.each([
    ['CPX', 'ERR_USAGE'],
    ['0000:ff:00.0=CPX/NPS1', 'ERR_DEVICE_UNKNOWN'],
  ])('%s is %s', (word, code) => {
    expect(() => parseLayoutWishes([word], inventory)).toThrow(
      expect.objectContaining({ code }) as Error,
    );
  });
});

import { formatLayout, toLayout } from '@aim-gpu/core';
import { PRODUCTS } from '@aim-gpu/core/products';
import { aCard, anInventory } from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import {
  assertLayout,
  expectedLoadMode,
  expectedSwitchMs,
  judgeLayout,
  legalLayouts,
  toSwitchTiming,
} from '../src/index.js';

const names = (card: Parameters<typeof legalLayouts>[0]): string[] =>
  legalLayouts(card)
    .legal.map((entry) => formatLayout(entry.layout))
    .sort();
const layout = (text: string) => toLayout(text) as NonNullable<ReturnType<typeof toLayout>>;

describe('legalLayouts', () => {
  it.each(PRODUCTS.map((product) => [product.name, product] as const))(
    '%s: the table',
    (name, product) => {
      const { legal, refused } = legalLayouts(aCard({ product: name, offered: null }));
      expect(legal.map((entry) => formatLayout(entry.layout)).sort()).toEqual(
        product.layouts.map(formatLayout).sort(),
      );
      expect(legal.length + refused.length).toBe(20);
      for (const entry of legal)
        expect(entry.warnings.length > 0).toBe(
          entry.grade !== 'validated' && formatLayout(entry.layout) !== 'SPX/NPS1',
        );
    },
  );

  it('believes the device before the table', () => {
    const offered = [layout('SPX/NPS1'), layout('CPX/NPS2')];
    expect(names(aCard({ product: 'MI355X', offered }))).toEqual(['CPX/NPS2', 'SPX/NPS1']);
    const verdict = judgeLayout(aCard({ product: 'MI355X', offered }), layout('CPX/NPS2'));
    expect(verdict).toMatchObject({
      ok: true,
      grade: 'unverified',
      reach: 'driver-reload',
      warnings: [{ code: 'LAYOUT_FIRMWARE_ONLY' }],
    });
    const strange = aCard({ offered: [layout('TPX/NPS1')] });
    expect(judgeLayout(strange, layout('TPX/NPS1'))).toMatchObject({
      grade: null,
      warnings: [{ code: 'LAYOUT_BY_DEVICE_ONLY' }],
    });
  });

  it('says what it takes to get there', () => {
    const reach = (card: Parameters<typeof judgeLayout>[0], text: string) => {
      const verdict = judgeLayout(card, layout(text));
      return verdict.ok ? verdict.reach : verdict.reasons[0]?.code;
    };
    expect(reach(aCard(), 'SPX/NPS1')).toBe('current');
    expect(reach(aCard(), 'CPX/NPS1')).toBe('compute-switch');
    expect(reach(aCard(), 'CPX/NPS4')).toBe('driver-reload');
    const unread = { ...aCard(), layout: { compute: null, memory: null } };
    expect(reach(unread, 'CPX/NPS4')).toBe('unknown');
  });

  it.each([
    [{ writable: false }, 'LAYOUT_READ_ONLY'],
    [{ offered: [] }, 'LAYOUT_NOT_OFFERED'],
    [{ product: null, layout: layout('SPX/NPS1'), offered: null }, 'PRODUCT_UNKNOWN'],
    [{ product: 'MI300A', offered: null }, 'LAYOUT_MEMORY_FIXED'],
    [{ product: 'MI355X', offered: null }, 'LAYOUT_NOT_IN_PRODUCT'],
  ])('%j refuses CPX/NPS4 with %s, and keeps what it has', (overrides, code) => {
    const card = aCard(overrides);
    expect(judgeLayout(card, layout('CPX/NPS4'))).toMatchObject({ ok: false, reasons: [{ code }] });
    expect(judgeLayout(card, layout('SPX/NPS1'))).toMatchObject({ ok: true });
  });

  it('asks for the device’s word where only some firmware has a layout', () => {
    const card = aCard({ product: 'MI355X', offered: null });
    expect(judgeLayout(card, layout('CPX/NPS2'))).toMatchObject({
      ok: false,
      reasons: [{ code: 'LAYOUT_NEEDS_FIRMWARE' }],
    });
  });

  it('warns of what follows from sister products only', () => {
    expect(judgeLayout(aCard({ product: 'MI325X' }), layout('CPX/NPS4'))).toMatchObject({
      warnings: [{ code: 'LAYOUT_UNVERIFIED' }],
    });
  });
});

describe('expectedLoadMode', () => {
  it.each([
    ['MI300X', 'NPS1', 'SPX'],
    ['MI300X', 'NPS2', 'DPX'],
    ['MI300X', 'NPS4', 'CPX'],
    ['MI355X', 'NPS2', 'DPX'],
    ['MI308X', 'NPS4', 'CPX'],
    ['MI308X', 'NPS2', 'DPX'],
    ['MI300A', 'NPS1', 'SPX'],
  ] as const)('%s in %s comes up in %s', (product, memory, mode) => {
    expect(expectedLoadMode(aCard({ product }), memory)).toBe(mode);
  });

  it('of an unknown product follows from its partitions', () => {
    const card = { ...aCard(), product: null, offered: null };
    expect(expectedLoadMode(card, 'NPS4')).toBe('CPX');
    expect(expectedLoadMode({ ...card, partitions: [] }, 'NPS2')).toBe('DPX');
  });
});

describe('assertLayout', () => {
  it('names each card that differs', () => {
    const card = aCard();
    const gone = '0000:ff:00.0' as typeof card.id;
    const inventory = anInventory({ cards: [card] });
    expect(assertLayout(inventory, [{ card: card.id, layout: layout('SPX/NPS1') }])).toEqual([]);
    const differences = assertLayout(inventory, [
      { card: card.id, layout: layout('CPX/NPS1') },
      { card: gone, layout: layout('CPX/NPS1') },
    ]);
    expect(differences.map((entry) => entry.message)).toEqual([
      `${card.id} is in SPX/NPS1, wanted CPX/NPS1`,
      `${gone} is not there, wanted CPX/NPS1`,
    ]);
  });
});

describe('expected durations', () => {
  it('depend on the machine', () => {
    expect(expectedSwitchMs({ kind: 'set-compute' })).toBe(6500);
    expect(expectedSwitchMs({ kind: 'reload' })).toBe(141_500);
    const short = toSwitchTiming({ driver: 'simulated' });
    expect(expectedSwitchMs({ kind: 'stage-memory', timing: short })).toBe(5);
    expect(toSwitchTiming({ driver: 'simulated', realistic: true })).toBe(
      toSwitchTiming({ driver: 'rocm' }),
    );
  });
});

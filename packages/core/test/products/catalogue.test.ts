import { describe, expect, it } from 'vitest';
import { formatLayout, GIB, MIB, partitionCount } from '../../src/index.js';
import {
  findProduct,
  findProductByPciId,
  isVirtualPciId,
  PRODUCTS,
} from '../../src/products/index.js';

/** The valid combinations of AMD's tables and captures, independent of the catalogue's own form. */
const LAYOUTS: Readonly<Record<string, readonly string[]>> = {
  MI300X: ['SPX/NPS1', 'DPX/NPS1', 'DPX/NPS2', 'QPX/NPS1', 'QPX/NPS4', 'CPX/NPS1', 'CPX/NPS4'],
  MI325X: ['SPX/NPS1', 'DPX/NPS1', 'DPX/NPS2', 'QPX/NPS1', 'QPX/NPS4', 'CPX/NPS1', 'CPX/NPS4'],
  MI300A: ['SPX/NPS1', 'TPX/NPS1', 'CPX/NPS1'],
  MI350X: ['SPX/NPS1', 'DPX/NPS1', 'DPX/NPS2', 'QPX/NPS1', 'CPX/NPS1'],
  MI355X: ['SPX/NPS1', 'DPX/NPS1', 'DPX/NPS2', 'QPX/NPS1', 'CPX/NPS1'],
  MI308X: ['SPX/NPS1', 'DPX/NPS1', 'DPX/NPS2', 'CPX/NPS1', 'CPX/NPS4'],
};

describe('the catalogue', () => {
  it.each(Object.entries(LAYOUTS))('has the layouts of %s', (name, layouts) => {
    expect(findProduct(name)?.layouts.map(formatLayout)).toEqual(layouts);
  });

  it('has these products and no others', () => {
    expect(PRODUCTS.map((product) => product.name)).toEqual(Object.keys(LAYOUTS));
  });

  it.each([
    ['MI300X', 304, 196_592, 192],
    ['MI325X', 304, 262_128, 256],
    ['MI300A', 228, 131_056, 128],
    ['MI350X', 256, 294_896, 288],
    ['MI355X', 256, 294_896, 288],
    ['MI308X', 80, 196_592, 192],
  ])('gives %s %i compute units and %i MiB', (name, computeUnits, shownMib, soldGb) => {
    const product = findProduct(name);
    expect((product?.xcds ?? 0) * (product?.computeUnitsPerXcd ?? 0)).toBe(computeUnits);
    expect(product?.memoryBytes).toBe(shownMib * MIB);
    expect(product?.soldMemoryGb).toBe(soldGb);
    expect(product?.memoryBytes).toBeLessThan(soldGb * GIB);
  });

  it('is consistent in every product', () => {
    for (const product of PRODUCTS) {
      expect(product.layouts.map(formatLayout)).toContain(formatLayout(product.initialLayout));
      for (const layout of [...product.layouts, ...product.firmwareLayouts]) {
        expect(product.xcds % partitionCount(layout.compute, product.xcds)).toBe(0);
        expect(layout.source).not.toBe('');
      }
      expect(product.peaks.fp8FlopsPerSecond / product.peaks.fp16FlopsPerSecond).toBeCloseTo(2, 2);
      expect(product.peaks.fp4FlopsPerSecond === null).toBe(product.architecture === 'CDNA3');
      expect(product.sources.length).toBeGreaterThan(3);
    }
  });

  it('derives the peaks of MI308X from those of MI300X by compute units, and says so', () => {
    const [large, small] = [findProduct('MI300X'), findProduct('MI308X')];
    const scaled = ((large?.peaks.fp16FlopsPerSecond ?? 0) * 80) / 304;
    expect((small?.peaks.fp16FlopsPerSecond ?? 0) / scaled).toBeCloseTo(1, 3);
    expect(small?.sources.join(' ')).toMatch(/derived; no sheet seen/);
  });

  it('marks what no capture shows', () => {
    const grades = (name: string) =>
      new Map(findProduct(name)?.layouts.map((layout) => [formatLayout(layout), layout.grade]));
    expect(grades('MI300X').get('CPX/NPS4')).toBe('validated');
    expect(grades('MI325X').get('CPX/NPS4')).toBe('unverified');
    expect(grades('MI355X').get('CPX/NPS1')).toBe('offered');
    expect(grades('MI350X').get('CPX/NPS1')).toBe('unverified');
    expect(findProduct('MI355X')?.firmwareLayouts.map(formatLayout)).toEqual(['CPX/NPS2']);
  });
});

describe('finding', () => {
  it('takes a name in any case', () => {
    expect(findProduct(' mi355x ')?.name).toBe('MI355X');
    for (const name of ['', 'MI250X', 'MI300', 'AMD Instinct MI300X']) {
      expect(findProduct(name)).toBeNull();
    }
  });

  it.each([
    ['74a1', 'MI300X', false],
    ['0x74A1', 'MI300X', false],
    ['74b5', 'MI300X', true],
    ['74a5', 'MI325X', false],
    ['0x74b9', 'MI325X', true],
    ['74a0', 'MI300A', false],
    ['75a0', 'MI350X', false],
    ['75b3', 'MI355X', true],
    ['74a8', 'MI308X', false],
  ])('takes PCI id %s for %s', (id, name, virtual) => {
    expect(findProductByPciId(id)?.name).toBe(name);
    expect(isVirtualPciId(id)).toBe(virtual);
  });

  it('knows no other PCI id, and none twice', () => {
    expect(findProductByPciId('744c')).toBeNull();
    expect(isVirtualPciId('744c')).toBe(false);
    const ids = PRODUCTS.flatMap((product) => product.pciIds.map((entry) => entry.id));
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.every((id) => /^[0-9a-f]{4}$/.test(id))).toBe(true);
  });
});

import { describe, expect, it } from 'vitest';
import { bytes, type Layout, MIB, toLayout } from '../../src/index.js';
import {
  findProduct,
  type Product,
  partitionGeometry,
  productLayout,
} from '../../src/products/index.js';

const product = (name: string): Product => {
  const found = findProduct(name);
  if (found === null) throw new Error(`no product ${name}`);
  return found;
};
const layout = (text: string): Layout => {
  const found = toLayout(text);
  if (found === null) throw new Error(`no layout ${text}`);
  return found;
};

describe('partitionGeometry', () => {
  // Memory and compute units as real cards show them, or as their captures divide.
  it.each([
    ['MI300X', 'SPX/NPS1', 1, 196_592, 304],
    ['MI300X', 'DPX/NPS1', 2, 98_296, 152],
    ['MI300X', 'DPX/NPS2', 2, 98_296, 152],
    ['MI300X', 'QPX/NPS4', 4, 49_148, 76],
    ['MI300X', 'CPX/NPS1', 8, 24_574, 38],
    ['MI300X', 'CPX/NPS4', 8, 24_574, 38],
    ['MI355X', 'DPX/NPS2', 2, 147_448, 128],
    ['MI355X', 'QPX/NPS1', 4, 73_724, 64],
    ['MI355X', 'CPX/NPS1', 8, 36_862, 32],
    ['MI308X', 'CPX/NPS4', 4, 49_148, 20],
  ])('%s in %s: %i partitions of %i MiB and %i compute units', (name, text, count, size, units) => {
    const partitions = partitionGeometry(product(name), layout(text));
    expect(partitions).toHaveLength(count);
    for (const partition of partitions) {
      expect(partition.memoryBytes).toBe(size * MIB);
      expect(partition.computeUnits).toBe(units);
    }
  });

  it('agrees with the bytes KFD shows for one of eight partitions', () => {
    const [first] = partitionGeometry(product('MI300X'), layout('CPX/NPS1'));
    expect(first?.memoryBytes).toBe(25_767_706_624);
  });

  it('rounds down where three do not divide the memory', () => {
    const partitions = partitionGeometry(product('MI300A'), layout('TPX/NPS1'), bytes(100));
    expect(partitions.map((partition) => partition.memoryBytes)).toEqual([33, 33, 33]);
  });

  it('puts neighbouring partitions into one memory domain', () => {
    const domains = (text: string) =>
      partitionGeometry(product('MI300X'), layout(text)).map((part) => part.memoryDomain);
    expect(domains('CPX/NPS4')).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
    expect(domains('CPX/NPS1')).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    expect(domains('DPX/NPS2')).toEqual([0, 1]);
  });

  it.each([
    ['MI300X', 'TPX/NPS1'],
    ['MI300X', 'SPX/NPS4'],
    ['MI300X', 'DPX/NPS4'],
    ['MI300A', 'QPX/NPS1'],
  ])('refuses %s in %s, which its dies cannot do', (name, text) => {
    expect(() => partitionGeometry(product(name), layout(text))).toThrow(
      expect.objectContaining({
        code: 'ERR_LAYOUT_UNSUPPORTED',
        kind: 'refused',
        details: { product: name, layout: text },
        hint: expect.stringContaining('SPX/NPS1'),
      }),
    );
  });
});

describe('productLayout', () => {
  it('finds what the rules allow and nothing else', () => {
    expect(productLayout(product('MI300X'), layout('CPX/NPS4'))).toMatchObject({
      compute: 'CPX',
      memory: 'NPS4',
      grade: 'validated',
    });
    expect(productLayout(product('MI300X'), layout('CPX/NPS2'))).toBeNull();
    expect(productLayout(product('MI355X'), layout('CPX/NPS2'))).toBeNull();
    expect(productLayout(product('MI300A'), layout('DPX/NPS1'))).toBeNull();
  });
});

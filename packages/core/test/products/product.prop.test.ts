import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytes, memoryDomainCount } from '../../src/index.js';
import { PRODUCTS, partitionGeometry } from '../../src/products/index.js';

const anyLayout = fc.constantFrom(...PRODUCTS).chain((product) =>
  fc.record({
    product: fc.constant(product),
    layout: fc.constantFrom(...product.layouts, ...product.firmwareLayouts),
  }),
);
const anyMemory = fc.integer({ min: 0, max: 2 ** 40 }).map(bytes);

describe('partitionGeometry', () => {
  it('sums to the whole card: every XCD, every compute unit, all memory but the remainder', () => {
    fc.assert(
      fc.property(anyLayout, anyMemory, ({ product, layout }, memory) => {
        const partitions = partitionGeometry(product, layout, memory);
        const sum = (of: (part: (typeof partitions)[number]) => number): number =>
          partitions.reduce((total, part) => total + of(part), 0);
        expect(sum((part) => part.xcds)).toBe(product.xcds);
        expect(sum((part) => part.computeUnits)).toBe(product.xcds * product.computeUnitsPerXcd);
        const rest = memory - sum((part) => part.memoryBytes);
        expect(rest).toBeGreaterThanOrEqual(0);
        expect(rest).toBeLessThan(partitions.length);
      }),
    );
  });

  it('numbers partitions in order and fills every memory domain evenly', () => {
    fc.assert(
      fc.property(anyLayout, ({ product, layout }) => {
        const partitions = partitionGeometry(product, layout);
        expect(partitions.map((part) => part.index)).toEqual(partitions.map((_, index) => index));
        const domains = memoryDomainCount(layout.memory);
        for (let domain = 0; domain < domains; domain += 1) {
          const inside = partitions.filter((part) => part.memoryDomain === domain);
          expect(inside).toHaveLength(partitions.length / domains);
        }
      }),
    );
  });
});

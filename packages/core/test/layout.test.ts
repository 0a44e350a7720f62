import { describe, expect, it } from 'vitest';
import {
  COMPUTE_MODES,
  formatLayout,
  MEMORY_MODES,
  memoryDomainCount,
  partitionCount,
  sameLayout,
  toLayout,
} from '../src/index.js';

describe('layouts', () => {
  it('count partitions and memory domains', () => {
    expect(COMPUTE_MODES.map((mode) => partitionCount(mode, 8))).toEqual([1, 2, 3, 4, 8]);
    expect(partitionCount('CPX', 6)).toBe(6);
    expect(MEMORY_MODES.map(memoryDomainCount)).toEqual([1, 2, 4, 8]);
  });

  it('are written and read back, in both spellings', () => {
    for (const compute of COMPUTE_MODES) {
      for (const memory of MEMORY_MODES) {
        const layout = { compute, memory };
        expect(toLayout(formatLayout(layout))).toEqual(layout);
        expect(toLayout(`${compute}_${memory}`.toLowerCase())).toEqual(layout);
      }
    }
    expect(toLayout(' CPX/NPS4 ')).toEqual({ compute: 'CPX', memory: 'NPS4' });
  });

  it.each(['', 'CPX', 'NPS4/CPX', 'CPX/NPS3', 'CPX NPS4', 'XCPX/NPS4'])(
    'do not read %j',
    (text) => {
      expect(toLayout(text)).toBeNull();
    },
  );

  it('are the same only in both modes', () => {
    const layout = { compute: 'CPX', memory: 'NPS4' } as const;
    expect(sameLayout(layout, { ...layout })).toBe(true);
    expect(sameLayout(layout, { ...layout, memory: 'NPS1' })).toBe(false);
    expect(sameLayout(layout, { ...layout, compute: 'QPX' })).toBe(false);
  });
});

import { createRng } from '@aim-gpu/core';
import { HARDWARE_TIMING, SHORT_TIMING } from '@aim-gpu/partitioning';
import { describe, expect, it } from 'vitest';
import { drawMs, drawWindow } from '../src/timing.js';

describe('timing', () => {
  it.each(['compute', 'reload'] as const)('short %s ends in time, whatever the seed', (kind) => {
    const rng = createRng(1);
    const limit = kind === 'compute' ? 8000 : 20_000;
    for (let draw = 0; draw < 5000; draw += 1) {
      const window = drawWindow({ kind, timing: 'short', rng, nowMs: 1000 });
      expect(window.visibleAtMs - window.startedAtMs).toBeLessThanOrEqual(limit);
      expect(window.visibleAtMs - window.endsAtMs).toBeGreaterThanOrEqual(
        SHORT_TIMING.settle.lowMs,
      );
    }
  });

  it('draws around the typical value, within the range', () => {
    const rng = createRng(2);
    const range = HARDWARE_TIMING.reload;
    const draws = Array.from({ length: 4001 }, () => drawMs(range, rng)).sort((a, b) => a - b);
    expect(draws[0]).toBeGreaterThanOrEqual(range.lowMs);
    expect(draws.at(-1)).toBeLessThanOrEqual(range.highMs);
    expect(Math.abs((draws[2000] ?? 0) - range.typicalMs)).toBeLessThan(range.typicalMs * 0.05);
  });

  it('repeats from a seed', () => {
    const draw = () =>
      drawWindow({ kind: 'reload', timing: 'realistic', rng: createRng(3), nowMs: 0 });
    expect(draw()).toEqual(draw());
  });
});

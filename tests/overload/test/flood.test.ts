/** A flood of equal streams, whose ends and beginnings come in waves: deterministic, so figures may be asserted. */
import { describe, expect, it } from 'vitest';
import { playFlood } from '../src/flood.js';

describe('a flood of equal batch streams', () => {
  it.each([
    ['streams', false],
    ['answers that come whole', true],
  ])(
    'of %s is hardly noticed by interactive requests, and keeps what they leave',
    async (_, whole) => {
      const alone = await playFlood({ band: null, interactive: true });
      const capacity = await playFlood({ band: 'batch', interactive: false });
      const beside = await playFlood({ band: 'batch', interactive: true, whole });
      expect(alone.ttftP99Ms).toBeLessThan(120);
      expect(beside.ttftP99Ms / alone.ttftP99Ms).toBeLessThanOrEqual(1.5);
      const left = capacity.floodPerSecond - beside.interactivePerSecond;
      expect(beside.floodPerSecond / left).toBeGreaterThanOrEqual(0.9);
      expect(beside.interactivePerSecond).toBeGreaterThan(95);
    },
  );

  it('gets no less than the same streams in the model’s own band while nobody urgent comes', async () => {
    const lower = await playFlood({ band: 'batch', interactive: false });
    const own = await playFlood({ band: 'interactive', interactive: false });
    expect(lower.floodPerSecond / own.floodPerSecond).toBeGreaterThanOrEqual(0.99);
  });
});

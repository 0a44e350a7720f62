/**
 * The promises of qos under overload, in simulated time: deterministic, so figures may be asserted. The long runs are
 * the bench's.
 */
import { describe, expect, it } from 'vitest';
import { measureCapacity, play } from '../src/simulation.js';

const capacity = measureCapacity(1);
const run = { seed: 1, seconds: 60, warmUpSeconds: 60, capacity, qos: true };
const urgent = { critical: 0.1, interactive: 0.4 };

describe('at twice the capacity', () => {
  it('interactive requests hardly notice, batch gets the rest, the engine never idles', async () => {
    const alone = await play({ ...run, shares: urgent });
    const twice = await play({ ...run, shares: { ...urgent, batch: 1.5 } });
    const p99 = (result: typeof alone): number => result.bands.interactive?.ttftP99Ms ?? 0;
    expect(p99(alone)).toBeGreaterThan(0);
    expect(p99(twice) / p99(alone)).toBeLessThanOrEqual(2);
    const { critical, interactive, batch } = twice.bands;
    const rest = capacity - (critical?.perSecond ?? 0) - (interactive?.perSecond ?? 0);
    expect((batch?.perSecond ?? 0) / rest).toBeGreaterThanOrEqual(0.9);
    expect(twice.idleWhileWaiting).toBeLessThan(0.02);
    expect(interactive?.refused).toBe(0);
  });

  it('without qos the same load makes them wait for the flood', async () => {
    const plain = await play({ ...run, qos: false, shares: { ...urgent, batch: 1.5 } });
    expect(plain.bands.interactive?.completed ?? 0).toBe(0);
  });
});

describe('at ten times the capacity', () => {
  it('the critical band stays within its SLO, batch gets its share, queues stay bounded, waits are foretold', async () => {
    const shares = { ...urgent, standard: 4.5, batch: 4, best_effort: 1 };
    // Waits are about a minute here: a window no longer than that sees only the short ones end, and calls them wrong.
    const tenfold = await play({ ...run, seconds: 300, shares });
    expect(tenfold.bands.critical?.withinSlo).toBeGreaterThanOrEqual(0.99);
    expect(tenfold.bands.batch?.perSecond).toBeGreaterThan(0.03 * capacity);
    expect(tenfold.mostWaiting).toBeLessThanOrEqual(5_000);
    expect(tenfold.waitErrorP50).toBeLessThanOrEqual(0.3);
  });
});

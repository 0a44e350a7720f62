import { beforeAll, describe, expect, it } from 'vitest';
import { createSharedSpeed, type SharedSpeed } from '../src/shared-speed.js';

let shared: SharedSpeed;
beforeAll(async () => {
  shared = await createSharedSpeed();
});

describe('shared against dedicated speed of the quickstart', () => {
  it('covers every pair and triple', () => {
    expect(shared.companies).toHaveLength(10 + 10);
    expect(shared.layouts.length).toBeGreaterThanOrEqual(4);
  });

  it('the planner refuses exactly what policy.slowdown forbids on one partition', {
    timeout: 60_000,
  }, () => {
    const limit = 1 + shared.fleet.policy.slowdown;
    let refused = 0;
    let placed = 0;
    for (const layout of shared.layouts) {
      for (const members of shared.companies) {
        const speed = shared.speedOf(members, layout, 'one partition');
        if ('noRoom' in speed) continue;
        const at = `${speed.layout} ${members.map(({ name }) => name).join(' + ')}`;
        if (speed.urgentRatio > limit) {
          refused += 1;
          expect(speed.verdict, at).toContain('slowdown');
        } else {
          placed += 1;
          expect(speed.verdict, at).toBe('placed');
        }
      }
    }
    expect(refused).toBeGreaterThan(5);
    expect(placed).toBeGreaterThan(5);
  });

  it('on partitions of their own, neighbours cost at most the leftover interference', {
    timeout: 60_000,
  }, () => {
    for (const layout of shared.layouts.filter(({ compute }) => compute !== 'SPX')) {
      for (const members of shared.companies) {
        const speed = shared.speedOf(members, layout, 'own partitions');
        if ('noRoom' in speed) continue;
        for (const { tpotMs, aloneTpotMs } of speed.members) {
          expect(tpotMs / aloneTpotMs).toBeGreaterThanOrEqual(1);
          expect(tpotMs / aloneTpotMs).toBeLessThan(1.25);
        }
      }
    }
  });

  it('a smaller partition is slower than the whole idle card', () => {
    const [pair] = shared.companies;
    const speed = shared.speedOf(pair ?? [], { compute: 'DPX', memory: 'NPS1' }, 'own partitions');
    if ('noRoom' in speed) throw new Error('no room');
    for (const { tpotMs, wholeCardTpotMs } of speed.members)
      expect(tpotMs / wholeCardTpotMs).toBeGreaterThan(1.1);
  });
});

import { bytes } from '@aim-gpu/core';
import { aDemand } from '@aim-gpu/core/testing';
import { describe, expect, test } from 'vitest';
import { startLimitMs } from '../src/start-limit.js';

const MINUTE_MS = 60_000;

describe('the time a start may take', () => {
  test.each([
    ['nothing to load', 0, 1, 10],
    ['a small model', 2.4e9, 1, 10.4],
    ['140 GB in one process', 140e9, 1, 33.3],
    ['140 GB over eight ranks', 17.5e9, 8, 33.3],
    ['1 TB over eight ranks', 125e9, 8, 176.7],
  ])('%s: %d bytes × %d: %d min', (_, weights, ranks, minutes) => {
    const demand = aDemand();
    const memory = { ...demand.memory, weightsBytes: bytes(weights) };
    expect(startLimitMs({ ...demand, ranks, memory }) / MINUTE_MS).toBeCloseTo(minutes, 1);
  });
});

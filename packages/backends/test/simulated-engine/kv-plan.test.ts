import { createVllmEngine } from '@aim-gpu/backends';
import { GIB } from '@aim-gpu/core';
import { describe, expect, it } from 'vitest';
import { planKvCache, tooLittleFree } from '../../src/simulated-engine/kv-plan.js';
import { aSimulatedConfig } from '../support/a-simulated-config.js';

const share = (memoryBytes: number) => [{ card: '0000:0c:00.0', partition: 0, memoryBytes }];
const config = aSimulatedConfig();
const fixed = Object.values(config.memory).reduce((sum, value) => sum + value, 0);
const blockBytes = config.kv.bytesPerToken * config.kv.blockSize;
/** Blocks of one request of 8192 tokens. */
const NEEDED = 512;

describe('the KV cache of a share', () => {
  it.each([
    ['whole blocks of what is left', fixed + 1000.5 * blockBytes, 1000],
    [
      'just enough for one request gets the null block on top',
      fixed + NEEDED * blockBytes,
      NEEDED + 1,
    ],
    ['one more is left as it is', fixed + (NEEDED + 1) * blockBytes, NEEDED + 1],
  ])('%s', (_, memoryBytes, blocks) => {
    expect(planKvCache(aSimulatedConfig({ shares: share(memoryBytes) }))).toMatchObject({
      ok: true,
      blocks,
    });
  });

  it('is what the smallest share of several leaves', () => {
    const shares = [...share(40 * GIB), ...share(fixed + 600 * blockBytes)];
    expect(planKvCache(aSimulatedConfig({ shares }))).toMatchObject({ ok: true, blocks: 600 });
  });

  it('leaves room for state that does not grow with tokens', () => {
    const kv = { ...config.kv, bytesPerRequestFixed: blockBytes };
    const plan = planKvCache(aSimulatedConfig({ kv, shares: share(fixed + 1000 * blockBytes) }));
    expect(plan).toMatchObject({ ok: true, blocks: 1000 - 16 });
  });

  it('is bounded by length alone for a model without attention', () => {
    const kv = { ...config.kv, bytesPerToken: 0 };
    expect(planKvCache(aSimulatedConfig({ kv }))).toMatchObject({ ok: true });
  });

  it.each([
    [
      'nothing is left',
      fixed,
      'No available memory for the cache blocks',
      'raise placement.minShare',
    ],
    [
      'one request does not fit',
      fixed + 256 * blockBytes,
      'estimated maximum model length is 4096',
      'set maxModelLen to 4096',
    ],
    ['not even one block', fixed + 1, 'KV cache is needed', 'lower maxModelLen'],
  ])('refuses in vLLM’s words when %s', (_, memoryBytes, words, hint) => {
    const plan = planKvCache(aSimulatedConfig({ shares: share(memoryBytes) }));
    expect(plan.ok).toBe(false);
    if (plan.ok) return;
    expect(plan.message).toContain(words);
    expect(createVllmEngine().explainExit([plan.message])?.hint).toContain(hint);
  });

  it('refuses in vLLM’s words when too little is free', () => {
    const message = tooLittleFree({
      freeBytes: 8 * GIB,
      totalBytes: 24 * GIB,
      wantedBytes: 12 * GIB,
    });
    expect(message).toContain(
      '(8.00/24.00 GiB) on startup is less than desired GPU memory utilization (0.5, 12.00 GiB)',
    );
    expect(createVllmEngine().explainExit([message])?.message).toContain('8.00 of 24.00 GiB');
  });
});

/**
 * What an estimate may do: order, reserve, make a request wait. Only what a request has for certain makes it impossible.
 */
import { createRng } from '@aim-gpu/core';
import { createManualClock, type ManualClock } from '@aim-gpu/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type AdmitRequest, createQos, type LimitSubject, type Qos } from '../src/index.js';

const KV_TOKENS = 10_000;

let clock: ManualClock;
let qos: Qos;
beforeEach(() => {
  clock = createManualClock();
  qos = createQos({ clock, rng: createRng(1) });
  qos.setModel({ name: 'm', band: 'standard' });
  qos.setEndpoints('m', [{ id: 'e', maxSeqs: 4, kvCapacityTokens: KV_TOKENS, ready: true }]);
});
afterEach(() => qos.close());

/** What became of a request: `sent`, `waits` or why it was refused. */
function fateOf(sizes: Partial<AdmitRequest>, limits?: LimitSubject): string {
  const admission = qos.tryAdmit({
    tenant: 't',
    model: 'm',
    band: 'standard',
    promptTokens: 100,
    maxOutputTokens: 1,
    ...(limits === undefined ? {} : { limits: [limits] }),
    ...sizes,
  });
  if (admission === null) return 'waits';
  return admission.ok ? 'sent' : admission.reason;
}

const perMinute = (
  inputTokensPerMinute: number | null,
  outputTokensPerMinute: number | null = null,
): LimitSubject => ({
  account: 'a',
  limits: {
    requestsPerMinute: null,
    inputTokensPerMinute,
    outputTokensPerMinute,
    concurrent: null,
  },
});

describe('a model’s memory', () => {
  it.each([
    ['an estimate alone is certain', { promptTokens: 12_000 }, 'request_too_large'],
    [
      'an estimate beyond it that may be wrong',
      { promptTokens: 12_000, leastPromptTokens: 400 },
      'sent',
    ],
    [
      'many prompts, of which each fits',
      { promptTokens: 90_000, leastPromptTokens: 40_000, leastTokensOfOne: 200 },
      'sent',
    ],
    [
      'many prompts, of which one never fits',
      { promptTokens: 90_000, leastPromptTokens: 40_000, leastTokensOfOne: KV_TOKENS },
      'request_too_large',
    ],
  ])('%s: %j', (_, sizes, fate) => {
    expect(fateOf(sizes)).toBe(fate);
  });
});

describe('a tenant’s tokens a minute', () => {
  it.each([
    ['a certain prompt beyond them', { promptTokens: 1_100 }, 'request_too_large'],
    ['a guess beyond them', { promptTokens: 1_100, leastPromptTokens: 40 }, 'sent'],
    [
      'one that is beyond them however it is read',
      { promptTokens: 40_000, leastPromptTokens: 1_001, leastTokensOfOne: 1 },
      'request_too_large',
    ],
  ])('%s: %j', (_, sizes, fate) => {
    expect(fateOf(sizes, perMinute(1_000))).toBe(fate);
  });

  it('are all taken by a guess beyond them', () => {
    const account = perMinute(1_000);
    expect(fateOf({ promptTokens: 1_100, leastPromptTokens: 40 }, account)).toBe('sent');
    expect(fateOf({ promptTokens: 100 }, account)).toBe('input_tokens_limited');
  });
});

describe('the answers of a request', () => {
  it.each([
    [{ maxOutputTokens: 100 }, 'sent'],
    [{ maxOutputTokens: 500, answers: 5 }, 'sent'],
    [{ maxOutputTokens: 505, answers: 5 }, 'output_tokens_limited'],
    [{ maxOutputTokens: 5_050, answers: 50 }, 'request_too_large'],
    [{ maxOutputTokens: 500, answers: Number.NaN }, 'sent'],
  ])('are reserved together: %j', (sizes, fate) => {
    const account = perMinute(null, 1_000);
    const before = fateOf({ maxOutputTokens: 496, answers: 4 }, account);
    expect([before, fateOf(sizes, account)]).toEqual(['sent', fate]);
  });

  it('are learned of one by one', () => {
    for (let index = 0; index < 300; index += 1) {
      const admission = qos.tryAdmit({
        tenant: 't',
        model: 'm',
        band: 'standard',
        promptTokens: 1,
        answers: 10,
      });
      if (admission?.ok !== true) throw new Error('not sent');
      admission.permit.firstByte();
      admission.permit.usage({ outputTokens: 50 });
      admission.permit.done();
      void clock.advance(100);
    }
    const [model] = qos.snapshot().models;
    expect(model?.outputs.mean).toBeGreaterThan(4);
    expect(model?.outputs.mean).toBeLessThan(8);
  });
});

/**
 * Limits of requests and tokens in one check, ours and a peer's that needs two.
 */
import { systemClock } from '@aim-gpu/core';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import { createLimits, type LimitSubject } from '../src/index.js';
import { cpuNsAsync, measured, random } from './measure.js';

/** Power of two, so that walking round the order is one operation. */
const CHOICES: number = 1 << 18;

/** RPM and TPM of one account in one check. */
export function ourLimits(size: number, kept: boolean): number {
  const limits = createLimits();
  const perMinute = {
    requestsPerMinute: 1e9,
    inputTokensPerMinute: 1e9,
    outputTokensPerMinute: null,
    concurrent: null,
  };
  const subjects = Array.from({ length: size }, (_, index) => {
    const account = `tenant-${index}`;
    return kept ? limits.subject(account, perMinute) : { account, limits: perMinute };
  });
  const order = Array.from({ length: CHOICES }, () => random(size));
  const cost = { inputTokens: 100, outputTokens: 0 };
  const accounts: LimitSubject[] = [];
  let index = 0;
  return measured(() => {
    index += 1;
    const at = order[index & (CHOICES - 1)] as number;
    // The caller's list of accounts: as the peer is given a key from a flat list of keys.
    accounts[0] = subjects[at] as LimitSubject;
    limits.reserve(accounts, cost, systemClock.monoMs());
  });
}

/** Two limiters of the peer for each account: it has one limit each. */
export async function peerLimits(size: number): Promise<number> {
  const keys = Array.from({ length: size }, (_, index) => `tenant-${index}`);
  const order = Array.from({ length: CHOICES }, () => random(size));
  const at = (index: number): number => order[index & (CHOICES - 1)] as number;
  const requests = new RateLimiterMemory({ points: 1e9, duration: 60, keyPrefix: 'r' });
  const tokens = new RateLimiterMemory({ points: 1e9, duration: 60, keyPrefix: 't' });
  const check = async (count: number): Promise<void> => {
    for (let index = 0; index < count; index += 1) {
      const key = keys[at(index)] as string;
      await requests.consume(key, 1);
      await tokens.consume(key, 100);
    }
  };
  await check(150_000);
  return cpuNsAsync(300_000, () => check(300_000));
}

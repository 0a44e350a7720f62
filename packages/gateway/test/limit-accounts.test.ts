/** Which accounts there are for a tenant and a model, and that they are made once. */
import { type ServedModel, type Tenant, type TenantLimits, tenantName } from '@aim-gpu/core';
import { aTenant } from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import { createAccounts, toAccountOwner } from '../src/limit-accounts.js';
import { aServedModel } from './support/gateway-bench.js';

const NONE: TenantLimits = {
  requestsPerMinute: null,
  inputTokensPerMinute: null,
  outputTokensPerMinute: null,
  concurrent: null,
};
const perMinute = (requestsPerMinute: number): TenantLimits => ({ ...NONE, requestsPerMinute });

describe('accounts', () => {
  const tenant = aTenant({
    name: tenantName('team-a'),
    modelLimits: { chat: perMinute(1), code: NONE },
  });

  it('are made once for a model, and anew when it has other limits', () => {
    const of = createAccounts(tenant);
    const chat = aServedModel('chat', { limits: perMinute(2) });
    expect(of(chat)).toBe(of(chat));
    expect(of(chat).map(({ account }) => account)).toEqual(['team-a', 'team-a/chat', '*/chat']);
    const raised = of({ ...chat, limits: perMinute(4) });
    expect(raised[2]).toEqual({ account: '*/chat', limits: perMinute(4) });
  });

  it('are not made where nothing is limited', () => {
    const accountsOf = (model: ServedModel, who: Tenant | null) =>
      createAccounts(who)(model).map(({ account }) => account);
    expect(accountsOf(aServedModel('code', { limits: NONE }), tenant)).toEqual(['team-a']);
    expect(accountsOf(aServedModel('code', { limits: NONE }), null)).toEqual([]);
  });

  it.each([
    ['team-a', { tenant: 'team-a', model: null }],
    ['team-a/chat', { tenant: 'team-a', model: 'chat' }],
    ['*/chat', { tenant: null, model: 'chat' }],
  ])('%s says whose it is', (account, owner) => {
    expect(toAccountOwner(account)).toEqual(owner);
  });
});

import {
  DEFAULT_GATEWAY_POLICY,
  type Fleet,
  type GatewayPolicy,
  tenantName,
  workloadName,
} from '@aim-gpu/core';
import { aFleet, aTenant, aWorkload } from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import { toSettingChanges } from '../src/setting-changes.js';

const chat = aWorkload({ name: workloadName('chat') });
const team = aTenant({ name: tenantName('team-a') });
const fleet = (changes: Partial<Fleet> = {}): Fleet =>
  aFleet({ models: [chat], tenants: [team], ...changes });
const limits = { ...team.limits, concurrent: 4 };
const withGateway = (changes: Partial<GatewayPolicy>): Fleet => {
  const { policy } = fleet();
  return fleet({ policy: { ...policy, gateway: { ...DEFAULT_GATEWAY_POLICY, ...changes } } });
};
const changed = (subject: string, ...keys: readonly string[]) => ({
  subject,
  change: 'change',
  keys,
});

describe('what another fleet changes for requests', () => {
  it.each<readonly [string, Fleet, readonly object[]]>([
    ['nothing', fleet(), []],
    ['what an earlier version does not say', withGateway({}), []],
    [
      'limits that limit nothing',
      fleet({
        models: [{ ...chat, limits: team.limits }],
        tenants: [{ ...team, modelLimits: {} }],
      }),
      [],
    ],
    [
      'a model’s limits and band',
      fleet({ models: [{ ...chat, limits, band: 'batch' }] }),
      [changed('model chat', 'band', 'limits')],
    ],
    [
      'a tenant’s limits on one model',
      fleet({ tenants: [{ ...team, modelLimits: { chat: limits } }] }),
      [changed('tenant team-a', 'modelLimits')],
    ],
    [
      'another tenant',
      fleet({ tenants: [{ ...team, name: tenantName('team-b') }] }),
      [
        { subject: 'tenant team-a', change: 'remove', keys: [] },
        { subject: 'tenant team-b', change: 'add', keys: [] },
      ],
    ],
    ['a bound of the gateway', withGateway({ holdMs: 1 }), [changed('gateway', 'hold')]],
    [
      'a model that is new, which the instances show',
      fleet({ models: [chat, aWorkload({ name: workloadName('code'), limits })] }),
      [],
    ],
  ])('%s', (_, next, changes) => {
    expect(toSettingChanges(fleet(), next)).toEqual(changes);
  });
});

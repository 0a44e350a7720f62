/** What `apply` says to people about a fleet that changes more than instances, or nothing. */
import type { AppliedFleet, SettingChange } from '@aim-gpu/agent';
import { instanceId, type Plan, planId, workloadName } from '@aim-gpu/core';
import { describe, expect, it } from 'vitest';
import { applyToText } from '../src/apply-text.js';

const plan = { id: planId('p-1') } as Plan;

function said(settings: readonly SettingChange[], dryRun = false): readonly string[] {
  const kept = {
    instance: instanceId(workloadName('chat'), 0),
    change: 'keep',
    from: null,
    to: null,
    downtime: false,
  } as const;
  const diff = { plan: plan.id, layouts: [], instances: [kept], settings };
  const applied: AppliedFleet = { dryRun, plan, diff };
  return applyToText(applied, null).split('\n');
}

describe('apply', () => {
  it('says that nothing changes', () => {
    expect(said([])).toEqual(['plan p-1', 'nothing to change']);
  });

  it('says which settings change without touching an instance, and from when on', () => {
    const settings: readonly SettingChange[] = [
      { subject: 'tenant team-a', change: 'change', keys: ['limits', 'modelLimits'] },
      { subject: 'tenant team-b', change: 'add', keys: [] },
      { subject: 'tenant team-c', change: 'remove', keys: [] },
      { subject: 'gateway', change: 'change', keys: ['hold'] },
    ];
    expect(said(settings, true)).toEqual([
      'plan p-1 (dry run: nothing was changed)',
      'tenant team-a: limits, modelLimits',
      'tenant team-b: new',
      'tenant team-c: gone',
      'gateway: hold',
      '1 of 1 instances untouched; other settings hold from the next request on',
    ]);
  });
});

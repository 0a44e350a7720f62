/**
 * What another fleet changes for requests without touching an instance: tenants, and what models and the gateway allow.
 * For `apply` to say, which would call it nothing otherwise. Pure.
 */
import {
  DEFAULT_GATEWAY_POLICY,
  type Fleet,
  type Tenant,
  type TenantLimits,
  type Workload,
} from '@aim-gpu/core';

/** One thing that other settings hold for, from the next request on. */
export interface SettingChange {
  /** `tenant team-a`, `model assistant`, `gateway`. */
  readonly subject: string;
  readonly change: 'add' | 'remove' | 'change';
  /** Which settings, by their keys in the fleet file; none of what is new or gone. */
  readonly keys: readonly string[];
}

type Settings = Readonly<Record<string, unknown>>;

/** Compares two fleets. Models that only one of them has show in the instances. */
export function toSettingChanges(from: Fleet, to: Fleet): readonly SettingChange[] {
  const tenantsFrom = bySubject('tenant', from.tenants, tenantSettings);
  const tenantsTo = bySubject('tenant', to.tenants, tenantSettings);
  const modelsFrom = bySubject('model', from.models, modelSettings);
  const modelsTo = bySubject('model', to.models, modelSettings);
  const names = new Set([...tenantsFrom.keys(), ...tenantsTo.keys()]);
  return [
    ...[...names].flatMap((subject) =>
      changesOf(subject, tenantsFrom.get(subject), tenantsTo.get(subject)),
    ),
    ...[...modelsTo.keys()]
      .filter((subject) => modelsFrom.has(subject))
      .flatMap((subject) => changesOf(subject, modelsFrom.get(subject), modelsTo.get(subject))),
    ...changesOf('gateway', gatewaySettings(from), gatewaySettings(to)),
  ];
}

function bySubject<T extends { readonly name: string }>(
  kind: string,
  all: readonly T[],
  settingsOf: (one: T) => Settings,
): ReadonlyMap<string, Settings> {
  return new Map(all.map((one) => [`${kind} ${one.name}`, settingsOf(one)]));
}

function tenantSettings({ keys, weight, bands, limits, modelLimits = {} }: Tenant): Settings {
  return { keys, weight, bands, limits, modelLimits };
}

function modelSettings({ band, slo, fallback, limits = NO_LIMITS }: Workload): Settings {
  return { band, slo, fallback, limits };
}

function gatewaySettings({ policy }: Fleet): Settings {
  const { maxBodyBytes, holdMs, openPerTenant, timeouts } =
    policy.gateway ?? DEFAULT_GATEWAY_POLICY;
  return { maxBody: maxBodyBytes, hold: holdMs, openPerTenant, timeouts };
}

/** What a fleet of an earlier version does not say. */
const NO_LIMITS: TenantLimits = {
  requestsPerMinute: null,
  inputTokensPerMinute: null,
  outputTokensPerMinute: null,
  concurrent: null,
};

function changesOf(
  subject: string,
  from: Settings | undefined,
  to: Settings | undefined,
): readonly SettingChange[] {
  if (to === undefined) return [{ subject, change: 'remove', keys: [] }];
  if (from === undefined) return [{ subject, change: 'add', keys: [] }];
  const keys = Object.keys(to).filter(
    (key) => JSON.stringify(from[key]) !== JSON.stringify(to[key]),
  );
  return keys.length === 0 ? [] : [{ subject, change: 'change', keys }];
}

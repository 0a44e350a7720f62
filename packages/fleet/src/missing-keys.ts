/**
 * Which keys of a fleet an environment lacks. Owns the question only: values are never looked at, let alone kept.
 */
import type { Fleet, TenantName } from '@aim-gpu/core';

/** A key that the environment does not have. */
export interface MissingKey {
  readonly tenant: TenantName;
  /** Name of the environment variable. */
  readonly name: string;
}

/** Lists every `env:` key whose variable is unset or empty, in file order. */
export function missingKeys(
  fleet: Fleet,
  env: Readonly<Record<string, string | undefined>>,
): readonly MissingKey[] {
  return fleet.tenants.flatMap((tenant) =>
    tenant.keys.flatMap((key) =>
      key.kind === 'env' && !env[key.name] ? [{ tenant: tenant.name, name: key.name }] : [],
    ),
  );
}

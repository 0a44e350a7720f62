/**
 * The accounts that a request is charged to: its tenant's, its tenant's on the model, the model's own for everybody
 * together. Owns their names, and that they are made once for a tenant and a model and not for each request.
 */
import type { ServedModel, Tenant, TenantLimits } from '@aim-gpu/core';
import type { LimitSubject } from '@aim-gpu/qos';

/** Stands for all tenants; no tenant can be named like that. */
const EVERYBODY = '*';

/** Whose account it is, as its name says. */
export interface AccountOwner {
  /** Null is all tenants together. */
  readonly tenant: string | null;
  /** Null is all models together. */
  readonly model: string | null;
}

/** Makes the look-up of the accounts of one tenant, or of whoever has no name. */
export function createAccounts(
  tenant: Tenant | null,
): (model: ServedModel) => readonly LimitSubject[] {
  // By the object: a model whose limits change is another one, and nobody keeps those that are gone.
  const known = new WeakMap<ServedModel, readonly LimitSubject[]>();
  return (model) => {
    let accounts = known.get(model);
    if (accounts === undefined) {
      accounts = toAccounts(tenant, model);
      known.set(model, accounts);
    }
    return accounts;
  };
}

function toAccounts(tenant: Tenant | null, model: ServedModel): readonly LimitSubject[] {
  const name = model.workload;
  const accounts: LimitSubject[] = [];
  if (tenant !== null) {
    accounts.push({ account: tenant.name, limits: tenant.limits });
    const onModel = limitsOn(tenant, name);
    if (isLimited(onModel)) accounts.push({ account: `${tenant.name}/${name}`, limits: onModel });
  }
  if (isLimited(model.limits))
    accounts.push({ account: `${EVERYBODY}/${name}`, limits: model.limits });
  return accounts;
}

/** A model may be named like something that every object has. */
function limitsOn({ modelLimits = {} }: Tenant, model: string): TenantLimits | undefined {
  return Object.hasOwn(modelLimits, model) ? modelLimits[model] : undefined;
}

/** Whether limits limit anything; what does not has no account, and costs a request nothing. */
export function isLimited(limits: TenantLimits | undefined): limits is TenantLimits {
  if (limits === undefined) return false;
  const { requestsPerMinute, inputTokensPerMinute, outputTokensPerMinute, concurrent } = limits;
  return (
    requestsPerMinute !== null ||
    inputTokensPerMinute !== null ||
    outputTokensPerMinute !== null ||
    concurrent !== null
  );
}

/** Whose account a name stands for. */
export function toAccountOwner(account: string): AccountOwner {
  const slash = account.indexOf('/');
  if (slash < 0) return { tenant: account, model: null };
  const tenant = account.slice(0, slash);
  return { tenant: tenant === EVERYBODY ? null : tenant, model: account.slice(slash + 1) };
}

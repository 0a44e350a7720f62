/**
 * Tenants' quotas: which instances may have a place at all, by what their tenants own, may borrow and leave to others,
 * and which of them a guarantee covers. Owns the arithmetic; looks at needs only, never at cards. Pure.
 *
 * A tenant's instances use its own part first, most urgent first. Beyond it they borrow what the other tenants own and
 * do not want: their part less the larger of what they want and what is guaranteed to them. Who has borrowed least by
 * weight chooses first among equally urgent ones. Tenants without a quota neither borrow nor lend.
 */
import {
  BANDS,
  type Demand,
  type Fleet,
  formatBytes,
  type InstanceId,
  type Tenant,
  type TenantName,
  type TenantQuota,
  type Workload,
  type WorkloadName,
} from '@aim-gpu/core';
import type { UnplacedReason } from './fleet-problem.js';
import { instancesOf, shareBytesOf } from './problem.js';

/** One instance that counts against a quota. */
export interface QuotaClaim {
  readonly instance: InstanceId;
  readonly workload: Workload;
  readonly tenant: TenantName;
  /** Memory of all its shares. */
  readonly bytes: number;
  readonly runs: boolean;
}

/** Who may have a place. */
export interface Admission {
  /** Instances that may not, and why. */
  readonly refused: ReadonlyMap<InstanceId, UnplacedReason>;
  /** Instances that are needed to give each tenant what it is guaranteed. */
  readonly guaranteed: ReadonlySet<InstanceId>;
}

/** What an admission is made from. */
export interface AdmissionProblem {
  readonly fleet: Fleet;
  readonly demands: ReadonlyMap<WorkloadName, Demand>;
  readonly running: ReadonlySet<InstanceId>;
  /** Stays in any case, whatever it costs its tenant. */
  readonly kept?: ReadonlySet<InstanceId>;
  /** Instances whose claim is idle: they have no place however much their tenant may take. */
  readonly idle?: ReadonlySet<InstanceId>;
}

interface Account {
  readonly tenant: Tenant;
  readonly quota: TenantQuota;
  readonly claims: readonly QuotaClaim[];
  next: number;
  used: number;
  /** What it owns and neither wants nor has guaranteed: others may borrow it. */
  lendable: number;
}

/** The claims of every tenant that has a quota, in the fleet's order. */
export function toClaims(problem: AdmissionProblem): readonly QuotaClaim[] {
  const tenants = new Set(
    problem.fleet.tenants
      .filter(({ quota }) => quota !== undefined && quota !== null)
      .map(({ name }) => name),
  );
  return problem.fleet.models.flatMap((workload) => {
    const { tenant } = workload;
    const demand = problem.demands.get(workload.name);
    if (tenant === undefined || tenant === null || !tenants.has(tenant) || demand === undefined)
      return [];
    return instancesOf(workload).map((instance) => ({
      instance,
      workload,
      tenant,
      bytes: shareBytesOf(workload, demand) * demand.ranks,
      runs: problem.running.has(instance),
    }));
  });
}

/** Decides who may have a place. Deterministic. */
export function admitByQuota(problem: AdmissionProblem): Admission {
  const { kept = new Set(), idle = new Set() } = problem;
  const claims = toClaims(problem).filter(({ instance }) => !idle.has(instance));
  const accounts = problem.fleet.tenants.flatMap((tenant): readonly Account[] => {
    const quota = tenant.quota ?? null;
    if (quota === null) return [];
    const own = claims.filter((claim) => claim.tenant === tenant.name).toSorted(byUrgency(kept));
    const wanted = own.reduce((sum, { bytes }) => sum + bytes, 0);
    const lendable = Math.max(0, quota.memoryBytes - Math.max(wanted, quota.guaranteedBytes));
    return [{ tenant, quota, claims: own, next: 0, used: 0, lendable }];
  });
  const refused = new Map<InstanceId, UnplacedReason>();
  for (;;) {
    const account = nextAccount(accounts, kept);
    const claim = account?.claims[account.next];
    if (account === undefined || claim === undefined) break;
    account.next += 1;
    const pool = accounts.reduce(
      (sum, other) => (other === account ? sum : sum + other.lendable),
      0,
    );
    const reason = kept.has(claim.instance) ? null : refusal(account, claim, pool);
    if (reason === null) take(account, claim, accounts);
    else refused.set(claim.instance, reason);
  }
  return { refused, guaranteed: guaranteedOf(accounts) };
}

function byUrgency(kept: ReadonlySet<InstanceId>): (a: QuotaClaim, b: QuotaClaim) => number {
  return (a, b) =>
    Number(kept.has(b.instance)) - Number(kept.has(a.instance)) ||
    rankOf(a) - rankOf(b) ||
    Number(b.runs) - Number(a.runs);
}

/** The band's rank; fine-tunes yield to everybody. */
function rankOf({ workload }: QuotaClaim): number {
  return workload.kind === 'finetune' ? BANDS.length : BANDS.indexOf(workload.band);
}

/** Whose turn it is: the most urgent claim, of equals the tenant that has borrowed least by its weight. */
function nextAccount(
  accounts: readonly Account[],
  kept: ReadonlySet<InstanceId>,
): Account | undefined {
  const rank = ({ claims, next }: Account): number => {
    const claim = claims[next];
    if (claim === undefined) return Number.POSITIVE_INFINITY;
    return kept.has(claim.instance) ? -1 : rankOf(claim);
  };
  const debt = ({ used, quota, tenant }: Account): number =>
    Math.max(0, used - quota.memoryBytes) / tenant.weight;
  return accounts
    .filter(({ claims, next }) => next < claims.length)
    .toSorted((a, b) => rank(a) - rank(b) || debt(a) - debt(b))[0];
}

function refusal(account: Account, claim: QuotaClaim, pool: number): UnplacedReason | null {
  const { quota, used, tenant } = account;
  const after = used + claim.bytes;
  if (after <= quota.memoryBytes) return null;
  const excess = after - Math.max(used, quota.memoryBytes);
  const beyond = after - quota.memoryBytes;
  const most = quota.borrowBytes ?? Number.POSITIVE_INFINITY;
  if (beyond <= most && excess <= pool) return null;
  const needs = `${claim.instance} needs ${formatBytes(claim.bytes)}; ${tenant.name} uses ${formatBytes(used)} of its ${formatBytes(quota.memoryBytes)}`;
  return beyond > most
    ? {
        code: 'quota',
        message: `${needs} and may borrow ${formatBytes(most)}`,
        fix: `raise ${quota.borrowBytes === 0 ? 'quota.memory' : 'quota.borrow'} of ${tenant.name} by ${formatBytes(beyond - most)}, or lower the concurrency of ${claim.workload.name}`,
      }
    : {
        code: 'quota',
        message: `${needs}, and the other tenants leave ${formatBytes(pool)} to borrow`,
        fix: `raise quota.memory of ${tenant.name} by ${formatBytes(excess - pool)}, or wait until others want less`,
      };
}

function take(account: Account, claim: QuotaClaim, accounts: readonly Account[]): void {
  const after = account.used + claim.bytes;
  let borrowed = Math.max(0, after - Math.max(account.used, account.quota.memoryBytes));
  account.used = after;
  // Taken from everybody alike in the fleet's order; only the sum counts.
  for (const other of accounts) {
    if (other === account) continue;
    const part = Math.min(other.lendable, borrowed);
    other.lendable -= part;
    borrowed -= part;
  }
}

function guaranteedOf(accounts: readonly Account[]): ReadonlySet<InstanceId> {
  const covered = new Set<InstanceId>();
  for (const { claims, quota } of accounts) {
    let bytes = 0;
    for (const claim of claims) {
      if (bytes >= quota.guaranteedBytes) break;
      bytes += claim.bytes;
      covered.add(claim.instance);
    }
  }
  return covered;
}

/**
 * Refusing a plan that leaves something out: the error for it, with the reasons and the first fix.
 */
import { AimError, type Plan } from '@aim-gpu/core';

/**
 * Throws `ERR_DOES_NOT_FIT` when every leftover is larger than any partition could be, else `ERR_UNPLACED` (both
 * refused), unless the plan is whole or `partial` is wanted.
 */
export function refuseUnplaced(plan: Plan, options: { readonly partial: boolean }): void {
  if (plan.unplaced.length === 0 || options.partial) return;
  const reasons = plan.unplaced.flatMap((entry) => entry.reasons);
  const neverFits = reasons.length > 0 && reasons.every((reason) => reason.code === 'does-not-fit');
  const names = plan.unplaced.map((entry) => entry.workload).join(', ');
  const first = reasons[0];
  throw new AimError({
    code: neverFits ? 'ERR_DOES_NOT_FIT' : 'ERR_UNPLACED',
    kind: 'refused',
    message: `no place for ${names}${first === undefined ? '' : `: ${first.message}`}`,
    hint: `${first === undefined ? 'see the plan' : first.fix}; or start the others with --partial`,
    details: { unplaced: plan.unplaced },
  });
}

/**
 * Numbers that came from outside, made safe to add up: no NaN, nothing negative, nothing so large that adding one
 * to it changes nothing.
 */

/** Largest cost of one request; above it sums would lose whole tokens. */
const MAX_COST: number = 2 ** 31;

/** A cost that can be added up: NaN and negative numbers count as 0, larger ones as {@link MAX_COST}. */
export function toCost(value: number): number {
  return value > 0 ? Math.min(value, MAX_COST) : 0;
}

/** How many answers a request has; 1 for a number that cannot be one. */
export function answersOf(request: { readonly answers?: number }): number {
  const { answers } = request;
  return answers !== undefined && answers >= 1 ? Math.min(answers, MAX_COST) : 1;
}

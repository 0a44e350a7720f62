/**
 * Words that conformance cases are written in: how a case is made, its steps, and the layouts a product has to go to.
 */
import { type Layout, sameLayout } from '../../layout.js';
import type { Product } from '../../products/product.js';
import type {
  ConformanceCase,
  ConformanceChange,
  ConformanceCheck,
  ConformanceFault,
  ConformanceGroup,
  ConformanceNeed,
  ConformanceStep,
  ExpectedOutcome,
} from './case.js';

/** What {@link makeCase} is told beside group and name. */
export interface Making {
  readonly positive: boolean;
  readonly needs?: readonly ConformanceNeed[];
  readonly destructive?: boolean;
  readonly steps: readonly ConformanceStep[];
}

/** Makes a case; it changes the machine unless told otherwise. */
export function makeCase(group: ConformanceGroup, name: string, making: Making): ConformanceCase {
  const { positive, needs = [], destructive = true, steps } = making;
  return { group, name, positive, destructive, needs, steps };
}

/** Brings every card to a layout. */
export const bring = (layout: Layout): ConformanceStep => ({ do: 'bring', layout });
/** Looks at what is discovered. */
export const check = (one: ConformanceCheck): ConformanceStep => ({ do: 'check', check: one });
/** Every card is in the layout. */
export const inLayout = (layout: Layout): ConformanceStep => check({ kind: 'layout', layout });
/** Makes a change that must come to this. */
export const change = (one: ConformanceChange, expect: ExpectedOutcome): ConformanceStep => ({
  do: 'change',
  change: one,
  expect,
});
/** A switch of a card. */
export const setCompute = (to: Layout['compute'], card = 0): ConformanceChange => ({
  call: 'set-compute',
  card,
  to,
});
/** A memory mode asked for. */
export const stage = (to: Layout['memory'], card = 0): ConformanceChange => ({
  call: 'stage-memory',
  card,
  to,
});
/** A reload of the driver. */
export const RELOAD: ConformanceChange = { call: 'reload' };
/** Remembers what is discovered. */
export const REMEMBER: ConformanceStep = { do: 'remember' };
/** Nothing differs from what was remembered. */
export const UNCHANGED: ConformanceStep = check({ kind: 'as-remembered' });
/** Lets calls go wrong. */
export const faulty = (fault: ConformanceFault): ConformanceStep => ({ do: 'fault', fault });

/** Compute modes that can be had from the initial layout without a reload, other than the initial one. */
export function reachable(product: Product): readonly Layout[] {
  const { initialLayout } = product;
  return product.layouts.filter(
    (layout) => layout.memory === initialLayout.memory && !sameLayout(layout, initialLayout),
  );
}

/** A memory mode that takes a reload; undefined where there is one mode only. */
export function otherMemory(product: Product): Layout | undefined {
  return product.layouts.find((layout) => layout.memory !== product.initialLayout.memory);
}

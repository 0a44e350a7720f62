/**
 * Plans which layout every GPU gets and which share every model gets. Pure: a snapshot in, a plan out.
 *
 * @packageDocumentation
 */

export { toNewInventories } from './card-inventory.js';
export { findConflict, type Wish, type WishName } from './conflict-set.js';
export { explainPlan, type PlanExplanation, type PlanRow } from './explain-plan.js';
export {
  type ConstraintCount,
  explainWorkload,
  type WorkloadExplanation,
} from './explain-workload.js';
export type { FleetProblem, Narrowing } from './fleet-problem.js';
export {
  createDemandDistribution,
  type DemandDistribution,
  type DemandDistributionOptions,
  type TypicalDemand,
  type UnitDemand,
  type UnitGroup,
} from './fragmentation.js';
export {
  afterPlacing,
  FRAGMENTATION_WEIGHTS,
  type FragmentationWeights,
  fragmentationScore,
  type GroupPlacement,
} from './fragmentation-score.js';
export type {
  LayoutCard,
  LayoutInstance,
  LayoutOption,
  LayoutPlace,
  LayoutProblem,
  LayoutSolution,
} from './layout-problem.js';
export { type SolvedLayouts, type SolveLayoutsOptions, solveLayouts } from './layout-solver.js';
export { findMinimumCards, type MinimumCards, memoryUsed } from './minimum-cards.js';
export {
  compareWithBest,
  compareWorth,
  type Worth,
  type WorthComparison,
} from './objective.js';
export { generationOf } from './plan-fleet.js';
export {
  type Fragmentation,
  measureFragmentation,
  type PlanFragmentation,
} from './plan-fragmentation.js';
export {
  type PlanUsage,
  reportUsage,
  type Usage,
  type WorkloadUsage,
} from './plan-usage.js';
export { planFleet } from './plan-within-rules.js';
export type { FilterPlugin, PlaceView, Plugins, ScorePlugin } from './plugin.js';
export { type PredictedWait, predictWaits } from './predicted-wait.js';
export { layoutProblemsJsonSchema, parseLayoutProblems } from './schema.js';
export {
  type ExactOptions,
  type ExactResult,
  solveLayoutsExactly,
} from './solve-layouts-exactly.js';
export { toLayoutProblem, worthOfPlan } from './to-layout-problem.js';
export {
  comparePlans,
  type PlanDifference,
  parseWhatIfChange,
  type WhatIf,
  type WhatIfChange,
  whatIf,
} from './what-if.js';

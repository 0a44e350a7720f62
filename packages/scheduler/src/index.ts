/**
 * Plans which layout every GPU gets and which share every model gets. Pure: a snapshot in, a plan out.
 *
 * @packageDocumentation
 */
export { explainPlan, type PlanExplanation, type PlanRow } from './explain-plan.js';
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
export { generationOf, planFleet } from './plan-fleet.js';
export type { FleetProblem } from './problem.js';

/**
 * Plans and applies changes to how GPUs are split, with a journal and rollback.
 *
 * @packageDocumentation
 */
export { applyRepartition, recoverRepartition } from './apply-repartition.js';
export {
  assertLayout,
  type DesiredLayout,
  describeLayout,
  type LayoutDifference,
} from './assert-layout.js';
export type { BlastRadius, RepartitionCost, StopCause, StoppedInstance } from './blast-radius.js';
export { toLayoutChanges } from './layout-changes.js';
export {
  judgeLayout,
  type LayoutVerdict,
  type LegalLayout,
  type LegalLayouts,
  legalLayouts,
  type RefusedLayout,
} from './layout-rules.js';
export { expectedLoadMode } from './load-mode.js';
export type { CardLayout, CardTarget, LayoutStep } from './next-step.js';
export { readRepartitionHistory } from './repartition-journal.js';
export {
  type PlanRepartitionOptions,
  type PlanRepartitionResult,
  planRepartition,
  type RepartitionPlan,
  type RepartitionStep,
} from './repartition-plan.js';
export type {
  DegradedState,
  DrainRequest,
  RepartitionOptions,
  RepartitionProgress,
  RepartitionResult,
} from './repartition-result.js';
export { DEFAULT_LIMITS, type RepartitionLimits } from './step-runner.js';
export {
  type DurationRange,
  expectedSwitchMs,
  HARDWARE_TIMING,
  SHORT_TIMING,
  type StepKind,
  type SwitchTiming,
  toSwitchTiming,
} from './switch-timing.js';
export type {
  Direction,
  RecordedError,
  RepartitionRecord,
  TransactionOutcome,
} from './transaction.js';

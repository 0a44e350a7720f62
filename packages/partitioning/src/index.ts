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
export { checkpoint, readCheckpoint } from './checkpoint.js';
export type {
  HookOutcome,
  HookRunner,
  RepartitionHook,
  RepartitionHooks,
} from './hooks.js';
export { toLayoutChanges } from './layout-changes.js';
export {
  judgeLayout,
  type LayoutReach,
  type LayoutVerdict,
  type LegalLayout,
  type LegalLayouts,
  legalLayouts,
  type RefusedLayout,
} from './layout-rules.js';
export {
  exportLayout,
  type LayoutSpec,
  parseLayoutSpec,
  parseLayoutWishes,
  toDesiredLayouts,
} from './layout-spec.js';
export { expectedLoadMode } from './load-mode.js';
export type { CardLayout, CardTarget, LayoutStep } from './next-step.js';
export {
  type CardActivity,
  type ChoiceOptions,
  chooseMerges,
  choosePartition,
  DEFAULT_SWITCH_POLICY,
  type PartitionChoice,
  type PartitionRequest,
  type SwitchPolicy,
  toCardActivity,
} from './partition-request.js';
export {
  explainTargets,
  type PastRepartition,
  toRepartitionHistory,
} from './repartition-history.js';
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
export { parseRepartitionPlan } from './schema.js';
export {
  type ClaimResult,
  claimShares,
  deriveLedger,
  type HeldShare,
  type PartitionAccount,
  releaseShares,
  resizeShares,
  type ShareClaim,
  type ShareLedger,
} from './share-ledger.js';
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

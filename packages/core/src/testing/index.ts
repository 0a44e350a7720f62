/**
 * Doubles and builders for tests of anything built on the ports of core.
 *
 * @packageDocumentation
 */
export {
  aDemand,
  aMemoryDemand,
  aStepDemand,
  type DemandOverrides,
} from './a-demand.js';
export { aFleet } from './a-fleet.js';
export { anAssignment, aPlacement, aPlan, aShare } from './a-plan.js';
export { aTenant, aWorkload } from './a-workload.js';
export { aCard, anInventory, someCards } from './an-inventory.js';
export type {
  ConformanceCase,
  ConformanceChange,
  ConformanceCheck,
  ConformanceFault,
  ConformanceGroup,
  ConformanceMachine,
  ConformanceNeed,
  ConformanceResult,
  ConformanceStep,
  ConformanceSubject,
  ExpectedOutcome,
} from './conformance/case.js';
export { conformanceCases } from './conformance/cases.js';
export { bringIntoLayout, runConformanceCase } from './conformance/run-case.js';
export { createManualClock, type ManualClock } from './manual-clock.js';
export { createMemoryStateStore } from './memory-state-store.js';
export {
  createRecordingLogger,
  createRecordingMetrics,
  type LogRecord,
  type MetricRecord,
  type RecordingLogger,
  type RecordingMetrics,
} from './recording-telemetry.js';

/**
 * Admits requests by band, tenant and SLO: fair queues, rate limits, shedding and preemption.
 *
 * @packageDocumentation
 */
export { type AdaptiveLimit, createAdaptiveLimit } from './adaptive-limit.js';
export {
  type Admission,
  type AdmitRequest,
  explainRefusal,
  type Granted,
  type Permit,
  type Refusal,
  type RefusalReason,
  type Usage,
} from './admission.js';
export type { BandOrderName } from './band-order.js';
export {
  type AllowedBand,
  BAND_POLICIES,
  type BandPolicy,
  type BandPolicyChanges,
  type LatencyTargets,
  lowerToAllowed,
} from './bands.js';
export { type Brownout, createBrownout } from './brownout.js';
export { type BurstPool, createBurstPool } from './burst-pool.js';
export { type CodelGuard, createCodelGuard } from './codel-guard.js';
export { createDeviceGroup, type DeviceGroup } from './device-group.js';
export { createDrainRate, type DrainRate } from './drain-rate.js';
export {
  createEndpointCapacity,
  type EndpointCapacity,
  type EndpointSpec,
} from './endpoint-capacity.js';
export { createFairQueue } from './fair-queue.js';
export type {
  BandDepth,
  FairQueue,
  FairQueueOptions,
  OfferResult,
  QueueBounds,
  QueueEntry,
  QueueTicket,
} from './fair-queue-interface.js';
export { createFeasibility, type Feasibility, type Newcomer } from './feasibility.js';
export { advance, conformsInMs, type Rate, remaining, resetMs, toRate } from './gcra.js';
export { createLimits } from './limits.js';
export type {
  AccountDump,
  AccountLimits,
  LimitCost,
  LimitKind,
  LimitResult,
  LimitState,
  LimitSubject,
  Limits,
  Reservation,
} from './limits-interface.js';
export { createMemoryCounterStore } from './memory-counter-store.js';
export { createOutputEstimate, type OutputDump, type OutputEstimate } from './output-estimate.js';
export {
  chooseVictims,
  createStopAndWait,
  type PreemptionCandidate,
  type PreemptionNeed,
  type StopAndWait,
} from './preemption.js';
export { createQos } from './qos.js';
export type {
  BandReport,
  EndpointReport,
  ModelReport,
  Qos,
  QosEndpoint,
  QosModel,
  QosObserver,
  QosOptions,
} from './qos-interface.js';
export {
  type ModelSnapshot,
  type ParsedSnapshot,
  parseSnapshot,
  type QosSnapshot,
  type SnapshotProblem,
  toSnapshotText,
} from './qos-snapshot.js';
export {
  type CapacityReservation,
  createReservations,
  type ReservationHold,
  type ReservationSubject,
  type Reservations,
  type SharedRoom,
} from './reservations.js';
export {
  createRetryAfterTracker,
  jitterRetryAfterMs,
  MAX_RETRY_AFTER_MS,
  type RetryAfterTracker,
} from './retry-after.js';
export {
  createSharedLimits,
  type SharedLimitResult,
  type SharedLimits,
  type SharedReservation,
} from './shared-limits.js';
export {
  BURN_WINDOWS_MS,
  type BurnAlert,
  type BurnWindow,
  createSloTracker,
  type Percentiles,
  type RequestOutcome,
  type RequestRecord,
  type SloDump,
  type SloReport,
  type SloTracker,
} from './slo-tracker.js';
export {
  createSnapshotKeeper,
  type RestoreResult,
  type SnapshotKeeper,
} from './snapshot-keeper.js';

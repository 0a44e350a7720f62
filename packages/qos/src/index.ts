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
export { createDrainRate, type DrainRate } from './drain-rate.js';
export {
  createEndpointCapacity,
  type EndpointCapacity,
  type EndpointSpec,
} from './endpoint-capacity.js';
export {
  type BandDepth,
  createFairQueue,
  type FairQueue,
  type FairQueueOptions,
  type OfferResult,
  type QueueBounds,
  type QueueEntry,
  type QueueTicket,
} from './fair-queue.js';
export { advance, conformsInMs, type Rate, remaining, resetMs, toRate } from './gcra.js';
export {
  type AccountDump,
  type AccountLimits,
  createLimits,
  type LimitCost,
  type LimitKind,
  type LimitResult,
  type LimitState,
  type LimitSubject,
  type Limits,
  type Reservation,
} from './limits.js';
export { createOutputEstimate, type OutputEstimate } from './output-estimate.js';
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
  createRetryAfterTracker,
  jitterRetryAfterMs,
  MAX_RETRY_AFTER_MS,
  type RetryAfterTracker,
} from './retry-after.js';
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

/**
 * What a qos object is for its host: its options, what it is told, what it tells, what it shows. Types only; the object
 * itself is qos.ts.
 */
import type { Band, Clock, DemandSignal, EngineSample, Logger, Rng } from '@aim-gpu/core';
import type { Admission, AdmitRequest, RefusalReason } from './admission.js';
import type { BandOrderName } from './band-order.js';
import type { BandPolicyChanges, LatencyTargets } from './bands.js';
import type { EndpointSpec } from './endpoint-capacity.js';
import type { BandDepth, QueueBounds } from './fair-queue-interface.js';
import type { Limits } from './limits-interface.js';
import type { QosSnapshot } from './qos-snapshot.js';
import type { CapacityReservation } from './reservations.js';
import type { RequestOutcome, SloReport } from './slo-tracker.js';

/** A model to queue for. */
export interface QosModel {
  readonly name: string;
  /** The model's own band: its targets hold for requests of this band and above, others have their band's. */
  readonly band: Band;
  /** The model's own targets; null takes the bands'. */
  readonly targets?: LatencyTargets | null;
  /** Predicted tokens a second of the whole model, for waits predicted before anything was measured. */
  readonly tokensPerSecond?: number | null;
}

/** An endpoint of a model as the host knows it. */
export interface QosEndpoint extends EndpointSpec {
  /** Whether it takes new requests. */
  readonly ready: boolean;
}

/** What the qos object tells its host. Nothing it does can break admission: a throw is logged and forgotten. */
export interface QosObserver {
  /** A request got its endpoint. */
  granted?(request: AdmitRequest, queueMs: number): void;
  /** A request was refused. */
  refused?(request: AdmitRequest, reason: RefusalReason): void;
  /** A permit ended. */
  ended?(request: AdmitRequest, outcome: RequestOutcome): void;
  /** A running request was asked to stop for another one; `wasStreaming` tells whether its client notices. */
  preempted?(victim: AdmitRequest, by: AdmitRequest, wasStreaming: boolean): void;
  /** A permit showed no sign of life for `idleMs` and was taken back. */
  leaked?(request: AdmitRequest, endpoint: string, idleMs: number): void;
}

/** Options of {@link createQos}. */
export interface QosOptions {
  readonly clock: Clock;
  readonly rng?: Rng;
  readonly logger?: Logger;
  readonly observer?: QosObserver;
  /** How bands take turns; `strict` unless said otherwise. */
  readonly order?: BandOrderName;
  readonly bands?: BandPolicyChanges;
  /** Bounds of each model's queue. */
  readonly perBand?: Partial<QueueBounds>;
  readonly total?: Partial<QueueBounds>;
  /** Weight of a prompt token and of an answer's token in fairness; 1 and 2 unless given. */
  readonly tokenWeights?: { readonly input: number; readonly output: number };
  /** How long a request waits for a model without any endpoint, in milliseconds; 2 s unless given, 0 is not at all. */
  readonly emptyPoolWaitMs?: number;
  /** A permit without a sign of life for so long is reported and taken back; 10 minutes unless given. */
  readonly leakAfterMs?: number;
  /** How long an engine's sample counts, twice the period of scraping. */
  readonly freshMs?: number;
  /** Repeats of a request that {@link Permit.retry} allows after its first try; 1 unless given. */
  readonly maxRetries?: number;
  /** Preemptions of a request that has not begun before it is refused; 2 unless given. */
  readonly maxPreemptions?: number;
  /** Whether streams of preemptible requests may be cut, see {@link Permit.signal}; false unless given. */
  readonly preemptStreams?: boolean;
  /** Room above tenants' rates while a model is not busy, for each model; none unless given. */
  readonly burstPool?: { readonly tokensPerMinute: number; readonly capacityTokens: number };
  /** After {@link Qos.restore} endpoints are filled to a quarter at first and in full after so long; 10 s unless given. */
  readonly rampMs?: number;
}

/** One endpoint in {@link Qos.report}. */
export interface EndpointReport {
  readonly id: string;
  readonly ready: boolean;
  readonly inFlight: number;
  readonly inFlightTokens: number;
  readonly limit: number;
  readonly saturation: number;
  /** Share of it that `batch` may fill while its group's urgent tokens come too slowly; 1 when they do not. */
  readonly groupCeiling: number;
}

/** One band of a model in {@link Qos.report}. */
export interface BandReport extends BandDepth {
  readonly band: Band;
  /** Predicted wait of a newcomer in milliseconds; null when not known. */
  readonly predictedWaitMs: number | null;
  /** How the band does against its targets; null while nothing has ended. */
  readonly slo: SloReport | null;
}

/** One model in {@link Qos.report}. */
export interface ModelReport {
  readonly model: string;
  readonly band: Band;
  /** Whether lower bands are cut back because an urgent one burns its error budget. */
  readonly brownout: boolean;
  readonly endpoints: readonly EndpointReport[];
  readonly bands: readonly BandReport[];
}

/** Admits requests to models' endpoints. */
export interface Qos extends DemandSignal {
  /** Adds a model or changes what is known of it. */
  setModel(model: QosModel): void;
  /** Forgets a model; what waits for it is refused with `model_unknown`. */
  removeModel(name: string): void;
  /** Replaces a model's endpoints. What is in flight on one that is gone may finish. */
  setEndpoints(model: string, endpoints: readonly QosEndpoint[]): void;
  /** Replaces a model's reservations; none unless set. Forgotten with the model. */
  setReservations(model: string, reservations: readonly CapacityReservation[]): void;
  /** Corrects an endpoint's picture by what its engine says of itself. */
  observe(endpoint: string, sample: EngineSample): void;
  /** Sends nothing to an endpoint for so many milliseconds, after it could not be reached. */
  suspend(endpoint: string, ms: number): void;
  /**
   * Waits for the right to run one request. Resolves to the permit or to the refusal with its reason; never rejects.
   * An aborted signal ends the wait with reason `cancelled`.
   */
  admit(request: AdmitRequest, options?: { readonly signal?: AbortSignal }): Promise<Admission>;
  /** The same at once and without a promise: null when the request would have to wait. */
  tryAdmit(request: AdmitRequest): Admission | null;
  /** How long a request like this would wait now, in milliseconds; 0 when nothing is ahead, null when not known. */
  predictedWaitMs(
    request: Pick<AdmitRequest, 'model' | 'band' | 'tenant' | 'weight'>,
  ): number | null;
  /** The accounts, for response headers. */
  readonly limits: Limits;
  /** Permits not yet done. */
  readonly inFlight: number;
  /** Requests waiting. */
  readonly waiting: number;
  /** Queues, endpoints and targets of every model. */
  report(): readonly ModelReport[];
  /** What should survive a restart, as plain JSON; see {@link createSnapshotKeeper}. */
  snapshot(): QosSnapshot;
  /** Puts back what a snapshot holds, for the models and endpoints that are there, now and when they come. */
  restore(snapshot: QosSnapshot): void;
  /** Refuses newcomers and waiting `best_effort`; resolves when nothing waits or runs. Idempotent. */
  drain(): Promise<void>;
  /** Refuses everything that waits and disarms the timer. Permits in flight can still be ended. Idempotent. */
  close(): void;
  /** The same as `close`. */
  [Symbol.dispose](): void;
}

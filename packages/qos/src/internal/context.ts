/**
 * What the parts of a qos object share: its settings, its models, what is in flight. State only; each part says what it
 * does with it.
 */
import type { Clock, Logger, Rng } from '@aim-gpu/core';
import type { BandPolicy } from '../bands.js';
import type { EndpointCapacity } from '../endpoint-capacity.js';
import type { Limits } from '../limits-interface.js';
import type { GroupGuards } from './group-guards.js';
import type { LiveFlights } from './live-flights.js';
import type { ModelPool } from './model-pool.js';
import type { ObserverGuard } from './observer-guard.js';

export interface QosContext {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly observer: ObserverGuard;
  readonly policies: readonly BandPolicy[];
  readonly weights: { readonly input: number; readonly output: number };
  readonly emptyPoolWaitMs: number;
  readonly leakAfterMs: number;
  readonly maxRetries: number;
  readonly maxPreemptions: number;
  readonly preemptStreams: boolean;
  readonly pools: Map<string, ModelPool>;
  readonly capacities: Map<string, EndpointCapacity>;
  readonly guards: GroupGuards;
  readonly limits: Limits;
  /** Permits that hold an endpoint. */
  readonly live: LiveFlights;
  draining: boolean;
  closed: boolean;
  /** Endpoints are filled gently until then, after a restore. */
  rampEndsMs: number;
}

/** Requests that wait, in all models. */
export function waitingIn({ pools }: QosContext): number {
  let sum = 0;
  for (const pool of pools.values()) sum += pool.queue.count;
  return sum;
}

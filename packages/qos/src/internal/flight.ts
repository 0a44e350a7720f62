/**
 * One request from its admission to its end; what the caller holds as its permit. Owns the request's own state and
 * that each transition happens once; every effect on queues, capacity and records is the pool's.
 */
import type { Band } from '@aim-gpu/core';
import type { Admission, AdmitRequest, Permit, Usage } from '../admission.js';
import type { EndpointCapacity } from '../endpoint-capacity.js';
import type { QueueTicket } from '../fair-queue.js';
import type { Reservation } from '../limits.js';
import type { RequestOutcome } from '../slo-tracker.js';

/** What a flight needs of its pool. */
export interface FlightOwner {
  nowMs(): number;
  began(flight: Flight): void;
  ended(flight: Flight, outcome: RequestOutcome): void;
  again(flight: Flight, signal: AbortSignal | undefined): Promise<Admission>;
}

/** Where a flight is. `cut` was preempted and has neither ended nor asked for another try. */
export type FlightState = 'waiting' | 'sent' | 'streaming' | 'cut' | 'ended';

export class Flight implements Permit {
  readonly request: AdmitRequest;
  readonly rank: number;
  /** Weighted tokens for fairness, and tokens for capacity, as expected at admission. */
  readonly cost: number;
  readonly footprint: number;
  readonly arrivedMs: number;
  readonly owner: FlightOwner;
  state: FlightState = 'waiting';
  reservation: Reservation | null;
  ticket: QueueTicket<Flight> | null = null;
  resolve: ((admission: Admission) => void) | null = null;
  signalOfCaller: AbortSignal | null = null;
  onAbort: (() => void) | null = null;
  at: EndpointCapacity | null = null;
  avoid: string | null = null;
  tries: number = 0;
  preemptions: number = 0;
  grantedMs: number = 0;
  waitedMs: number = 0;
  firstByteMs: number | null = null;
  /** Null also for answers that come whole, whose first token nobody saw. */
  firstTokenMs: number | null = null;
  activeMs: number = 0;
  promptTokens: number | null = null;
  cachedTokens: number = 0;
  outputTokens: number | null = null;
  #controller: AbortController | null = null;

  constructor(
    owner: FlightOwner,
    request: AdmitRequest,
    facts: {
      rank: number;
      cost: number;
      footprint: number;
      arrivedMs: number;
      reservation: Reservation | null;
    },
  ) {
    this.owner = owner;
    this.request = request;
    this.rank = facts.rank;
    this.cost = facts.cost;
    this.footprint = facts.footprint;
    this.arrivedMs = facts.arrivedMs;
    this.reservation = facts.reservation;
  }

  get endpoint(): string {
    return this.at?.id ?? '';
  }

  get model(): string {
    return this.request.model;
  }

  get band(): Band {
    return this.request.band;
  }

  get tenant(): string {
    return this.request.tenant;
  }

  get queueMs(): number {
    return this.waitedMs;
  }

  get ttftMs(): number | null {
    return this.firstTokenMs === null ? null : this.firstTokenMs - this.arrivedMs;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.state === 'cut') this.#controller.abort();
    return this.#controller.signal;
  }

  firstByte(options: { readonly whole?: boolean } = {}): boolean {
    if (this.state === 'sent') {
      this.state = 'streaming';
      this.firstByteMs = this.owner.nowMs();
      if (options.whole !== true) this.firstTokenMs = this.firstByteMs;
      this.activeMs = this.firstByteMs;
      this.owner.began(this);
    }
    return this.state === 'streaming';
  }

  usage(usage: Usage): void {
    if (this.state === 'ended') return;
    this.activeMs = this.owner.nowMs();
    if (usage.promptTokens !== undefined) this.promptTokens = usage.promptTokens;
    if (usage.cachedTokens !== undefined) this.cachedTokens = usage.cachedTokens;
    if (usage.outputTokens !== undefined) this.outputTokens = usage.outputTokens;
  }

  done(outcome: RequestOutcome = 'complete'): void {
    if (this.state === 'ended' || this.state === 'waiting') return;
    this.owner.ended(this, outcome);
  }

  retry(options: { readonly signal?: AbortSignal } = {}): Promise<Admission> {
    return this.owner.again(this, options.signal);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.done('failed');
    return Promise.resolve();
  }

  /** Takes the endpoint away before the first byte. */
  cut(): void {
    this.state = 'cut';
    this.preemptions += 1;
    this.#controller?.abort();
  }

  /** Makes the flight ready for another endpoint; the old signal has served. */
  rearm(): void {
    this.#controller = null;
  }
}

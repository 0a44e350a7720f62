/**
 * One request from its admission to its end; what the caller holds as its permit. Owns the request's own state and
 * that each transition happens once; every effect on queues, capacity and records is the pool's.
 */
import type { Band } from '@aim-gpu/core';
import type { Admission, AdmitRequest, Permit, Usage } from '../admission.js';
import type { EndpointCapacity } from '../endpoint-capacity.js';
import type { QueueTicket } from '../fair-queue-interface.js';
import type { Reservation } from '../limits-interface.js';
import type { ReservationHold } from '../reservations.js';
import type { RequestOutcome } from '../slo-tracker.js';

/** What a flight needs of its pool. */
export interface FlightOwner {
  nowMs(): number;
  began(flight: Flight): void;
  ended(flight: Flight, outcome: RequestOutcome): void;
  again(flight: Flight, signal: AbortSignal | undefined): Promise<Admission>;
  /** Tokens of a stream come at this mean distance. */
  tempo(flight: Flight, tpotMs: number, nowMs: number): void;
}

/** Tokens and time between two looks at a stream's tempo. */
const TEMPO_TOKENS = 16;
const TEMPO_MS = 250;

/**
 * Where a flight is. `cut` was preempted before its first byte and has neither ended nor asked for another try;
 * `stopping` was preempted while it streamed and holds its endpoint until its caller has closed the engine's stream.
 */
export type FlightState = 'waiting' | 'sent' | 'streaming' | 'stopping' | 'cut' | 'ended';

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
  hold: ReservationHold | null = null;
  /** Tokens drawn from the burst pool in place of the accounts' rates. */
  drawn: number = 0;
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
  onPreempt: (() => void) | null = null;
  // Not `#`: a request makes one of these, and private names double the price of making it.
  private streamed: number = 0;
  private lookedMs: number = 0;
  private controller: AbortController | null = null;

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
    this.controller ??= new AbortController();
    if (this.state === 'cut' || this.state === 'stopping') this.controller.abort();
    return this.controller.signal;
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

  tokens(count: number): void {
    if (this.state !== 'streaming' || !(count > 0)) return;
    const nowMs = this.owner.nowMs();
    this.activeMs = nowMs;
    if (this.streamed === 0) this.lookedMs = nowMs;
    this.streamed += count;
    const elapsedMs = nowMs - this.lookedMs;
    if (this.streamed <= TEMPO_TOKENS || elapsedMs < TEMPO_MS) return;
    // The first tokens of the span came when it began.
    this.owner.tempo(this, elapsedMs / (this.streamed - 1), nowMs);
    this.streamed = 1;
    this.lookedMs = nowMs;
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
    this.controller?.abort();
    this.onPreempt?.();
  }

  /** Asks the caller to stop a stream; the endpoint is free when it has. */
  stop(): void {
    this.state = 'stopping';
    this.controller?.abort();
    this.onPreempt?.();
  }

  /** Makes the flight ready for another endpoint; the old signal has served. */
  rearm(): void {
    this.controller = null;
  }
}

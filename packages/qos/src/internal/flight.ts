/**
 * One request from its admission to its end; what the caller holds as its permit. Owns the request's own state and
 * that each transition happens once; every effect on queues, capacity and records is the pool's.
 */
import type { Band } from '@aim-gpu/core';
import type { Admission, AdmitRequest, Granted, Permit, Usage } from '../admission.js';
import type { EndpointCapacity } from '../endpoint-capacity.js';
import type { Reservation } from '../limits-interface.js';
import type { ReservationHold } from '../reservations.js';
import type { RequestOutcome } from '../slo-tracker.js';
import { toCost } from './cost.js';
import type { PromptBacklog } from './prompt-pace.js';
import type { QueueItem } from './queue-item.js';
import type { TenantLane } from './tenant-lane.js';

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

/** Tokens of a stream since a look at its tempo. */
interface Tempo {
  tokens: number;
  sinceMs: number;
}

/** Where a caller's signal is listened to while its flight waits. */
interface AbortLink {
  readonly signal: AbortSignal;
  readonly listener: () => void;
}

/**
 * A span in whole microseconds: a whole number lives in its object, a fraction is an object of its own, and as long as
 * the flight.
 */
function toUs(ms: number): number {
  return Math.floor(ms * 1_000 + 0.5);
}

/**
 * Where a flight is. `cut` was preempted before its first byte and has neither ended nor asked for another try;
 * `stopping` was preempted while it streamed and holds its endpoint until its caller has closed the engine's stream.
 */
export type FlightState = 'waiting' | 'sent' | 'streaming' | 'stopping' | 'cut' | 'ended';

/**
 * The request, its place in the queue, the permit and the answer that grants it are one object: of what is made for each
 * request, this is nearly all.
 */
export class Flight implements QueueItem, Permit, Granted {
  declare readonly cost: number;
  declare readonly footprint: number;
  declare readonly bytes: number;
  declare readonly enqueuedMs: number;
  declare ownDeadlineMs: number | null;
  declare ownExpiresMs: number | null;
  declare sequence: number;
  declare lane: TenantLane | null;
  declare prev: QueueItem | null;
  declare next: QueueItem | null;
  declare older: QueueItem | null;
  declare younger: QueueItem | null;
  declare readonly request: AdmitRequest;
  declare readonly rank: number;
  declare readonly owner: FlightOwner;
  declare state: FlightState;
  declare reservation: Reservation | null;
  declare resolve: ((admission: Admission) => void) | null;
  declare abort: AbortLink | null;
  declare at: EndpointCapacity | null;
  /** Whether it was sent at the turn of a more urgent band. */
  declare isOwed: boolean;
  declare hold: ReservationHold | null;
  /** Where its prompt counts as unread; null once it does not, and for urgent bands. */
  declare unreadAt: PromptBacklog | null;
  /** Place among the permits that hold an endpoint; -1 for the others. */
  declare liveIndex: number;
  /** Tokens drawn from the burst pool in place of the accounts' rates. */
  declare drawn: number;
  declare avoid: string | null;
  declare tries: number;
  declare preemptions: number;
  /** Times since arrival. */
  declare private grantedUs: number | null;
  declare private firstByteUs: number | null;
  /** The last sign of life whose time is known, and whether there was one since: reading the clock for each costs. */
  declare private activeUs: number | null;
  declare isAlive: boolean;
  /** Of an answer that came whole nobody saw the first token. */
  declare private isWhole: boolean;
  declare promptTokens: number | null;
  declare cachedTokens: number;
  declare outputTokens: number | null;
  declare onPreempt: (() => void) | null;
  // Not `#`: private names double the price of making the object.
  declare private tempo: Tempo | null;
  declare private controller: AbortController | null;

  /** `cost` is weighted tokens for fairness, `footprint` tokens for capacity, as expected at admission. */
  constructor(
    owner: FlightOwner,
    request: AdmitRequest,
    rank: number,
    cost: number,
    footprint: number,
    arrivedMs: number,
    reservation: Reservation | null,
  ) {
    this.cost = cost;
    this.footprint = footprint;
    this.bytes = request.bytes === undefined ? 0 : toCost(request.bytes);
    this.enqueuedMs = arrivedMs;
    this.ownDeadlineMs = null;
    this.ownExpiresMs = null;
    this.sequence = 0;
    this.lane = null;
    this.prev = null;
    this.next = null;
    this.older = null;
    this.younger = null;
    this.request = request;
    this.rank = rank;
    this.owner = owner;
    this.state = 'waiting';
    this.reservation = reservation;
    this.resolve = null;
    this.abort = null;
    this.at = null;
    this.isOwed = false;
    this.hold = null;
    this.unreadAt = null;
    this.liveIndex = -1;
    this.drawn = 0;
    this.avoid = null;
    this.tries = 0;
    this.preemptions = 0;
    this.grantedUs = null;
    this.firstByteUs = null;
    this.activeUs = null;
    this.isAlive = false;
    this.isWhole = false;
    this.promptTokens = null;
    this.cachedTokens = 0;
    this.outputTokens = null;
    this.onPreempt = null;
    this.tempo = null;
    this.controller = null;
  }

  get ok(): true {
    return true;
  }

  get permit(): Permit {
    return this;
  }

  get arrivedMs(): number {
    return this.enqueuedMs;
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
    return (this.grantedUs ?? 0) / 1_000;
  }

  get ttftMs(): number | null {
    return this.firstByteUs === null || this.isWhole ? null : this.firstByteUs / 1_000;
  }

  /** Prompt tokens as expected at admission; at least one, where nobody knows. */
  get promptSize(): number {
    return Math.max(1, toCost(this.request.promptTokens));
  }

  /** When it got its endpoint; null before. */
  get sentMs(): number | null {
    return this.grantedUs === null ? null : this.enqueuedMs + this.grantedUs / 1_000;
  }

  get hasBegun(): boolean {
    return this.firstByteUs !== null;
  }

  get signal(): AbortSignal {
    this.controller ??= new AbortController();
    if (this.state === 'cut' || this.state === 'stopping') this.controller.abort();
    return this.controller.signal;
  }

  firstByte(options?: { readonly whole?: boolean }): boolean {
    if (this.state === 'sent') {
      this.state = 'streaming';
      this.isWhole = options?.whole === true;
      this.firstByteUs = toUs(this.owner.nowMs() - this.enqueuedMs);
      this.activeUs = this.firstByteUs;
      this.owner.began(this);
    }
    return this.state === 'streaming';
  }

  tokens(count: number): void {
    if (this.state !== 'streaming' || !(count > 0)) return;
    const nowMs = this.owner.nowMs();
    this.alive(nowMs);
    this.tempo ??= { tokens: 0, sinceMs: nowMs };
    const { tempo } = this;
    tempo.tokens += count;
    const elapsedMs = nowMs - tempo.sinceMs;
    if (tempo.tokens <= TEMPO_TOKENS || elapsedMs < TEMPO_MS) return;
    // The first tokens of the span came when it began.
    this.owner.tempo(this, elapsedMs / (tempo.tokens - 1), nowMs);
    tempo.tokens = 1;
    tempo.sinceMs = nowMs;
  }

  usage(usage: Usage): void {
    if (this.state === 'ended') return;
    this.isAlive = true;
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

  /** Has an endpoint from now on. */
  sent(at: EndpointCapacity, nowMs: number): void {
    this.at = at;
    this.state = 'sent';
    this.grantedUs = toUs(nowMs - this.enqueuedMs);
    this.activeUs = this.grantedUs;
  }

  /** Takes note that an engine has read its prompt, or never will. True when somebody has waited for that. */
  wasRead(): boolean {
    const { unreadAt } = this;
    if (unreadAt === null) return false;
    this.unreadAt = null;
    return unreadAt.remove(this.promptSize);
  }

  /** Takes note of a sign of life. */
  alive(nowMs: number): void {
    this.activeUs = toUs(nowMs - this.enqueuedMs);
  }

  /** How long there was no sign of life. */
  idleMs(nowMs: number): number {
    return this.activeUs === null ? 0 : nowMs - this.enqueuedMs - this.activeUs / 1_000;
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

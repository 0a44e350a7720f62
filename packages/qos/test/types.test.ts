/**
 * The types an editor shows: narrow results, closed sets, no `any`.
 */
import type { Band, BandDemand, Clock, CounterStore, DemandSignal } from '@aim-gpu/core';
import { describe, expectTypeOf, it } from 'vitest';
import type {
  Admission,
  createMemoryCounterStore,
  createQos,
  createSharedLimits,
  explainRefusal,
  FairQueue,
  Granted,
  LimitKind,
  LimitResult,
  Limits,
  OfferResult,
  ParsedSnapshot,
  Permit,
  Qos,
  QosSnapshot,
  QueueTicket,
  Refusal,
  RefusalReason,
  Reservation,
  SharedLimitResult,
  SharedLimits,
  SharedReservation,
} from '../src/index.js';

describe('an admission', () => {
  it('is a permit or a refusal, told apart by ok', () => {
    expectTypeOf<Awaited<ReturnType<Qos['admit']>>>().toEqualTypeOf<Granted | Refusal>();
    expectTypeOf<ReturnType<Qos['tryAdmit']>>().toEqualTypeOf<Admission | null>();
    expectTypeOf<Extract<Admission, { ok: true }>['permit']>().toEqualTypeOf<Permit>();
    expectTypeOf<Extract<Admission, { ok: false }>['reason']>().toEqualTypeOf<RefusalReason>();
    expectTypeOf<Refusal['retryAfterMs']>().toEqualTypeOf<number | null>();
    expectTypeOf<Extract<Admission, { ok: false }>>().not.toHaveProperty('permit');
  });

  it('names every reason, and each can be explained', () => {
    expectTypeOf<Parameters<typeof explainRefusal>>().toEqualTypeOf<[reason: RefusalReason]>();
    expectTypeOf<'infeasible' | 'shed' | 'preempted'>().toExtend<RefusalReason>();
    expectTypeOf<string>().not.toExtend<RefusalReason>();
  });

  it('is asked for with a closed set of bands and a clock', () => {
    expectTypeOf<Parameters<Qos['admit']>[0]['band']>().toEqualTypeOf<Band>();
    expectTypeOf<Parameters<typeof createQos>[0]['clock']>().toEqualTypeOf<Clock>();
    expectTypeOf<Permit>().toExtend<AsyncDisposable>();
    expectTypeOf<Qos>().toExtend<Disposable>();
  });
});

describe('shared limits', () => {
  it('take any counter store and nothing else', () => {
    expectTypeOf<Parameters<typeof createSharedLimits>>().toEqualTypeOf<
      [options: { readonly store: CounterStore }]
    >();
    expectTypeOf<ReturnType<typeof createSharedLimits>>().toEqualTypeOf<SharedLimits>();
  });

  it('answer by a promise of a reservation or of the refusing account', () => {
    expectTypeOf<Awaited<ReturnType<SharedLimits['reserve']>>>().toEqualTypeOf<SharedLimitResult>();
    type Taken = Extract<SharedLimitResult, { ok: true }>;
    type Refused = Extract<SharedLimitResult, { ok: false }>;
    expectTypeOf<Taken['reservation']>().toEqualTypeOf<SharedReservation>();
    expectTypeOf<Taken>().not.toHaveProperty('retryAfterMs');
    expectTypeOf<Refused['kind']>().toEqualTypeOf<LimitKind>();
    expectTypeOf<Refused['retryAfterMs']>().toEqualTypeOf<number>();
    expectTypeOf<Refused>().not.toHaveProperty('reservation');
  });

  it('take the same subjects and costs as limits of one process', () => {
    type Local = Parameters<Limits['reserve']>;
    type Shared = Parameters<SharedLimits['reserve']>;
    expectTypeOf<Shared[0]>().toEqualTypeOf<Local[0]>();
    expectTypeOf<Shared[1]>().toEqualTypeOf<Local[1]>();
    // A settlement is awaited where the store is: in one process it is done at once.
    expectTypeOf<ReturnType<SharedReservation['settle']>>().toEqualTypeOf<Promise<void>>();
    expectTypeOf<ReturnType<Reservation['settle']>>().toEqualTypeOf<void>();
  });
});

describe('pieces', () => {
  it('keep the type of what waits', () => {
    expectTypeOf<ReturnType<FairQueue<URL>['next']>>().toEqualTypeOf<QueueTicket<URL> | null>();
    expectTypeOf<Extract<OfferResult<URL>, { ok: true }>['ticket']['value']>().toEqualTypeOf<URL>();
  });

  it('tell success from failure by ok', () => {
    expectTypeOf<Extract<LimitResult, { ok: true }>['reservation']>().toEqualTypeOf<Reservation>();
    expectTypeOf<Extract<LimitResult, { ok: false }>['retryAfterMs']>().toEqualTypeOf<number>();
    expectTypeOf<Extract<ParsedSnapshot, { ok: true }>['snapshot']>().toEqualTypeOf<QosSnapshot>();
  });

  it('fit the ports of core', () => {
    expectTypeOf<Qos>().toExtend<DemandSignal>();
    expectTypeOf<ReturnType<Qos['demand']>>().toEqualTypeOf<readonly BandDemand[]>();
    expectTypeOf<ReturnType<typeof createMemoryCounterStore>>().toEqualTypeOf<CounterStore>();
  });
});

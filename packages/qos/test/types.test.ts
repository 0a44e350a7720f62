/**
 * The types an editor shows: narrow results, closed sets, no `any`.
 */
import type { Band, BandDemand, Clock, CounterStore, DemandSignal } from '@aim-gpu/core';
import { describe, expectTypeOf, it } from 'vitest';
import type {
  Admission,
  createMemoryCounterStore,
  createQos,
  explainRefusal,
  FairQueue,
  Granted,
  LimitResult,
  OfferResult,
  ParsedSnapshot,
  Permit,
  Qos,
  QosSnapshot,
  QueueTicket,
  Refusal,
  RefusalReason,
  Reservation,
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

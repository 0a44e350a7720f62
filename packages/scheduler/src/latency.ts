/**
 * Latency of the residents of a card, by the one speed model of the product. Owns what the planner assumes where a
 * workload says nothing, and a memory of answers: the search asks for the same company again and again.
 */
import type { InstanceId, PredictedLatency, Workload } from '@aim-gpu/core';
import {
  type Calibration,
  type CardMember,
  createStepModel,
  type EngineFamily,
  loadAtBusy,
  type MemberPrediction,
  type PredictOptions,
  predict,
  predictTogether,
  toEngineFamily,
  toPartitionSpeed,
} from '@aim-gpu/performance';
import type { Slot } from './card-choice.js';
import type { Candidate, Resident } from './problem.js';

/** A predicted latency, and whether the load is more than the place can serve. */
export interface PlacedLatency extends PredictedLatency {
  readonly overloaded: boolean;
}

/** Answers of the speed model for a search. */
export interface LatencyModel {
  /** Latency of every resident of one card, beside each other. */
  predictCard(residents: readonly Resident[]): ReadonlyMap<InstanceId, PlacedLatency>;
  /** TPOT of a candidate on slots that nobody else uses. */
  aloneTpotMs(candidate: Candidate, slots: readonly Slot[]): number;
  /** TPOT and busy share of a candidate alone on slots; busy is 1 when its load is more than they can serve. */
  alone(
    candidate: Candidate,
    slots: readonly Slot[],
  ): { readonly tpotMs: number; readonly busy: number };
}

/** Busy share of a model whose load the fleet does not declare (CONTRACT §2). */
const UNKNOWN_BUSY = 0.1;
/** Lengths of its requests: the size of a chat turn; with the busy share given they hardly matter. */
const UNKNOWN_TOKENS = { promptTokens: 512, outputTokens: 128 };
/** A rate low enough that requests never meet, when none can be found. */
const LEAST_RATE = 1e-3;

/** Makes a latency model with an empty memory. */
export function createLatencyModel(calibrations: readonly Calibration[]): LatencyModel {
  const known = new Map<string, ReadonlyMap<InstanceId, PlacedLatency>>();
  return {
    predictCard: (residents) => {
      const key = residents.map(signature).join('|');
      const found = known.get(key);
      if (found !== undefined) return found;
      const latencies = predictResidents(residents, calibrations);
      known.set(key, latencies);
      return latencies;
    },
    alone: (candidate, slots) => {
      const member = toMember(
        { candidate, slots, memoryBytes: candidate.shareBytes },
        calibrations,
      );
      const alone = predict(member);
      const { tpotMs } = alone.ok ? means(alone) : saturated(member);
      return { tpotMs: round(tpotMs), busy: alone.ok ? alone.busy : 1 };
    },
    aloneTpotMs: (candidate, slots) => {
      const resident = { candidate, slots, memoryBytes: candidate.shareBytes };
      return (
        predictResidents([resident], calibrations).get(candidate.instance)?.tpotMs ??
        Number.POSITIVE_INFINITY
      );
    },
  };
}

/** What was measured of a resident's product with its engine family: the last that was given; undefined for nothing. */
export function calibrationFor(
  { candidate, slots }: Resident,
  calibrations: readonly Calibration[],
): Calibration | undefined {
  const product = slots[0]?.card.product.name;
  const engine = engineFamily(candidate);
  return calibrations.findLast((one) => one.product === product && one.engine === engine);
}

/**
 * How far a latency exceeds an SLO, as a sum of ratios: 0 when met, 0.5 when half as much again. More load than a place
 * can serve misses any target; one is counted even where none is set.
 */
export function excessOver(
  { ttftMs, tpotMs, overloaded }: Pick<PlacedLatency, 'ttftMs' | 'tpotMs' | 'overloaded'>,
  slo: Workload['slo'],
): number {
  const over = (value: number, target: number | null): number =>
    target === null ? 0 : Math.max(0, value / target - 1);
  return (overloaded ? 1 : 0) + over(tpotMs, slo.tpotMs) + over(ttftMs, slo.ttftMs);
}

/** How much slower than alone, as a ratio: 0.1 is 10 %. */
export function slowdownOf(latency: PredictedLatency): number {
  return latency.aloneTpotMs > 0 ? latency.tpotMs / latency.aloneTpotMs - 1 : 0;
}

function predictResidents(
  residents: readonly Resident[],
  calibrations: readonly Calibration[],
): ReadonlyMap<InstanceId, PlacedLatency> {
  const members = residents.map((resident) => toMember(resident, calibrations));
  const predictions = predictTogether(members);
  return new Map(
    residents.map((resident, index) => {
      const member = members[index] as CardMember;
      return [
        resident.candidate.instance,
        toLatency(member, predictions[index] as MemberPrediction),
      ] as const;
    }),
  );
}

/** What decides a resident's latency and what it does to the others. */
function signature({ candidate, slots, memoryBytes }: Resident): string {
  const places = slots.map(
    ({ card, layout, index }) => `${card.product.name}${layout.compute}${layout.memory}${index}`,
  );
  return `${candidate.instance}@${places.join(',')}:${memoryBytes}`;
}

function toMember(resident: Resident, calibrations: readonly Calibration[]): CardMember {
  const { candidate, slots } = resident;
  const slot = slots[0] as Slot;
  const engine = engineFamily(candidate);
  const calibration = calibrationFor(resident, calibrations);
  const options: PredictOptions = {
    step: candidate.demand.step,
    speed: toPartitionSpeed({ product: slot.card.product, xcds: slot.xcds, layout: slot.layout }),
    tensorParallel: candidate.workload.parallel.tensor,
    engine,
    traffic: {
      ...UNKNOWN_TOKENS,
      ...candidate.workload.load,
      arrivals: {
        kind: 'open',
        requestsPerSecond: candidate.workload.load?.requestsPerSecond ?? LEAST_RATE,
      },
    },
    kvCapacityTokens: kvCapacityTokens(resident),
    maxNumSeqs: candidate.demand.maxNumSeqs,
    maxNumBatchedTokens: candidate.demand.maxNumBatchedTokens,
    ...(calibration === undefined ? {} : { calibration }),
  };
  return {
    ...withUnknownLoad(candidate, options),
    id: candidate.instance,
    partitions: slots.map(({ index }) => index),
  };
}

function withUnknownLoad(candidate: Candidate, options: PredictOptions): PredictOptions {
  if (candidate.workload.load !== null) return options;
  const requestsPerSecond = loadAtBusy(options, UNKNOWN_BUSY) ?? LEAST_RATE;
  return {
    ...options,
    traffic: { ...options.traffic, arrivals: { kind: 'open', requestsPerSecond } },
  };
}

function engineFamily({ workload }: Candidate): EngineFamily {
  return toEngineFamily(workload.engine.name, workload.engine.version ?? undefined) ?? 'vllm';
}

/** Tokens the share's KV cache holds: what the other components leave of it. */
function kvCapacityTokens({ candidate, memoryBytes }: Resident): number {
  const { memory, kv } = candidate.demand;
  const forKv = memoryBytes - (memory.totalBytes - memory.kvBytes);
  return Math.max(kv.blockSize, Math.floor(forKv / Math.max(1, kv.bytesPerToken)));
}

function toLatency(member: CardMember, prediction: MemberPrediction): PlacedLatency {
  const { together, alone } = prediction;
  const fallback = together.ok && alone.ok ? null : saturated(member);
  const shared = together.ok ? means(together) : fallback;
  const single = alone.ok ? means(alone) : fallback;
  return {
    ttftMs: round(shared?.ttftMs ?? 0),
    tpotMs: round(Math.max(shared?.tpotMs ?? 0, single?.tpotMs ?? 0)),
    aloneTpotMs: round(single?.tpotMs ?? 0),
    overloaded: !together.ok,
  };
}

interface Means {
  readonly ttftMs: number;
  readonly tpotMs: number;
}

function means(prediction: {
  readonly ttftMs: { readonly mean: number };
  readonly tpotMs: { readonly mean: number };
}): Means {
  return { ttftMs: prediction.ttftMs.mean, tpotMs: prediction.tpotMs.mean };
}

/** What an engine does whose load is above its capacity: every seat taken; or, without room for one, a request alone. */
function saturated(member: CardMember): Means {
  const traffic = {
    ...member.traffic,
    arrivals: { kind: 'closed', concurrency: member.maxNumSeqs },
  } as const;
  const full = predict({ ...member, traffic });
  if (full.ok) return means(full);
  const model = createStepModel({
    step: member.step,
    speed: member.speed,
    ...(member.engine === undefined ? {} : { engine: member.engine }),
    ...(member.calibration === undefined ? {} : { constants: member.calibration.constants }),
  });
  const { promptTokens, outputTokens } = member.traffic;
  return {
    ttftMs: model.frontEndMs + model.prefillMs(promptTokens),
    tpotMs: model.decodeMs(1, promptTokens + outputTokens / 2),
  };
}

/** Microseconds are below any model's truth, and rounding keeps a plan's bytes the same everywhere. */
function round(milliseconds: number): number {
  return Math.round(milliseconds * 1000) / 1000;
}

/**
 * The coded reasons of a placement: why this place, who is beside it, what is predicted and what was assumed.
 */
import { formatBytes, formatLayout, type Reason } from '@aim-gpu/core';
import { calibrationFor, type PlacedLatency, slowdownOf } from './latency.js';
import { type Packing, residentsBySlot } from './packing.js';
import { sloExcess } from './packing-worth.js';
import { isAssignedTo, type Resident, type SearchProblem } from './problem.js';

/** Every reason worth telling about one resident of a packing. */
export function reasonsOf(
  problem: SearchProblem,
  packing: Packing,
  resident: Resident,
  predicted: PlacedLatency,
): readonly Reason[] {
  return [
    placeReason(problem, resident),
    companyReason(packing, resident),
    latencyReason(packing, resident, predicted),
    ...assumptionReasons(problem, resident),
  ];
}

function placeReason(problem: SearchProblem, { candidate, slots, memoryBytes }: Resident): Reason {
  const first = slots[0];
  const where =
    first === undefined ? 'no partition' : `${formatLayout(first.layout)} partition ${first.index}`;
  if (slots.length > 0 && slots.every((slot) => isAssignedTo(candidate, slot))) {
    return { code: 'kept', message: `stays on ${where}, where it runs` };
  }
  if (candidate.workload.placement.pin !== null)
    return { code: 'pinned', message: `pinned to ${where}` };
  if (candidate.workload.placement.exclusive) {
    return {
      code: 'exclusive',
      message: `asked for a partition of its own: all ${formatBytes(memoryBytes)} of ${where}, ${formatBytes(candidate.demand.memory.totalBytes)} needed`,
    };
  }
  const how = {
    pack: 'best fit',
    stable: 'best fit',
    spread: 'emptiest',
    latency: 'fastest',
  } as const;
  const preset = problem.fleet.policy.objective;
  return {
    code: preset === 'pack' || preset === 'stable' ? 'best-fit' : preset,
    message: `${how[preset]} for ${formatBytes(candidate.shareBytes)} on ${where}`,
  };
}

function companyReason(packing: Packing, resident: Resident): Reason {
  const bySlot = residentsBySlot(packing);
  const all = resident.slots.flatMap((slot) => bySlot.get(slot) ?? []);
  const others = [...new Set(all)].filter((other) => other !== resident);
  if (others.length === 0) return { code: 'alone', message: 'nobody else on its partition' };
  const names = others.map((other) => other.candidate.instance).join(', ');
  return { code: 'shares', message: `shares its partition with ${names}` };
}

function latencyReason(
  packing: Packing,
  { candidate }: Resident,
  predicted: PlacedLatency,
): Reason {
  const { slo } = candidate.workload;
  const slower = `${(slowdownOf(predicted) * 100).toFixed(1)} % slower than alone`;
  const figures = `TTFT ${predicted.ttftMs.toFixed(0)} ms, TPOT ${predicted.tpotMs.toFixed(1)} ms predicted, ${slower}`;
  const targets = [
    slo.ttftMs === null ? null : `TTFT ${slo.ttftMs} ms`,
    slo.tpotMs === null ? null : `TPOT ${slo.tpotMs} ms`,
  ].filter((target) => target !== null);
  if (predicted.overloaded) {
    return {
      code: 'load-above-capacity',
      message: `the declared load is more than this place can serve; ${figures}`,
    };
  }
  if (targets.length === 0) return { code: 'latency', message: figures };
  if (sloExcess(packing, candidate) > 0) {
    return { code: 'slo-at-risk', message: `${figures}; the SLO is ${targets.join(', ')}` };
  }
  return { code: 'slo-met', message: `${figures}; within ${targets.join(', ')}` };
}

function assumptionReasons(problem: SearchProblem, resident: Resident): readonly Reason[] {
  const { candidate, slots } = resident;
  const { workload, demand } = candidate;
  const reasons: Reason[] = [];
  if (workload.engine.name === 'auto') {
    const engine = slots[0]?.card.driver === 'simulated' ? 'simulated' : 'vllm';
    reasons.push({ code: 'engine-auto', message: `engine ${engine}, chosen by the node's driver` });
  }
  const calibration = calibrationFor(resident, problem.calibrations);
  if (calibration !== undefined) {
    reasons.push({ code: 'speed-calibrated', message: `speed: ${calibration.provenance}` });
  }
  if (workload.load === null) {
    reasons.push({
      code: 'load-unknown',
      message: 'no load declared: taken as busy 10 % of the time',
    });
  }
  if (demand.approximate) {
    reasons.push({
      code: 'size-approximate',
      message: 'the architecture is not a known one: its size is approximate',
    });
  }
  if (workload.replicas.min === 0) {
    reasons.push({ code: 'parked', message: 'may be parked: room for one replica is kept' });
  }
  return reasons;
}

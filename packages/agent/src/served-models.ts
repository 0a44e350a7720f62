/**
 * What clients may ask for, from the fleet and the sizes of its models. Pure.
 */
import type { Fleet, ServedModel, WorkloadName } from '@aim-gpu/core';
import { DEFAULT_MAX_MODEL_LEN } from '@aim-gpu/sizing';
import type { Demands } from './plan-from-fleet.js';

/** The served models of a fleet, in its order; the context of a model without demand is what the fleet file says. */
export function toServedModels(
  fleet: Fleet,
  demands: Demands,
  parked: ReadonlySet<WorkloadName> = new Set(),
): readonly ServedModel[] {
  return fleet.models.map((workload) => ({
    workload: workload.name,
    aliases: workload.aliases,
    adapters: workload.adapters.map((adapter) => adapter.name),
    band: workload.band,
    fallback: workload.fallback,
    slo: workload.slo,
    ...(workload.limits === undefined ? {} : { limits: workload.limits }),
    parked: parked.has(workload.name),
    maxModelLen:
      demands.get(workload.name)?.maxModelLen ?? workload.maxModelLen ?? DEFAULT_MAX_MODEL_LEN,
  }));
}

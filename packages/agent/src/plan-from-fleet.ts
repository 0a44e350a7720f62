/**
 * From a fleet to a plan: sizes every model from its configuration, then plans. Effects: loads model configurations.
 */
import {
  AimError,
  type Assignment,
  type CallOptions,
  type Demand,
  type Fleet,
  type Inventory,
  type Plan,
  type WorkloadName,
} from '@aim-gpu/core';
import { type FleetProblem, planFleet } from '@aim-gpu/scheduler';
import { type ModelConfig, sizeWorkload } from '@aim-gpu/sizing';

/** Where model configurations come from. */
export interface ModelSource {
  /** Throws `ERR_FILE_MISSING`, `ERR_MODEL_UNKNOWN` (missing) or `ERR_CONFIG_INVALID` (invalid). */
  load(source: string, options?: CallOptions): Promise<ModelConfig>;
}

/** What plans rest on beside the fleet and the devices. */
export interface PlanSources {
  readonly models: ModelSource;
  /** Reads what was measured on these hosts, anew for each plan; by default nothing was. */
  readonly calibrations?: () => Promise<NonNullable<FleetProblem['calibrations']>>;
}

/** Demands of every model of a fleet, in its order. */
export type Demands = ReadonlyMap<WorkloadName, Demand>;

/** Sizes every model of a fleet. Errors name the model; see {@link ModelSource} and sizing for their codes. */
export async function sizeFleet(
  options: CallOptions & { readonly fleet: Fleet; readonly models: ModelSource },
): Promise<Demands> {
  const { fleet, models, signal } = options;
  const demands = new Map<WorkloadName, Demand>();
  for (const workload of fleet.models) {
    signal?.throwIfAborted();
    try {
      const config = await models.load(workload.source, signal === undefined ? {} : { signal });
      demands.set(workload.name, sizeWorkload(workload, config));
    } catch (error) {
      throw inModel(workload.name, error);
    }
  }
  return demands;
}

/** Sizes and plans a fleet against what was observed and what runs. */
export async function planFromFleet(
  options: CallOptions &
    PlanSources & {
      readonly fleet: Fleet;
      readonly inventories: readonly Inventory[];
      readonly assignments?: readonly Assignment[];
    },
): Promise<{ readonly plan: Plan; readonly demands: Demands }> {
  const { fleet, inventories, assignments = [] } = options;
  const demands = await sizeFleet(options);
  const calibrations = (await options.calibrations?.()) ?? [];
  return { plan: planFleet({ fleet, inventories, demands, assignments, calibrations }), demands };
}

/** The same error with the model's name in front, so that a fleet of twenty says which one it is. */
function inModel(name: WorkloadName, error: unknown): unknown {
  if (!AimError.is(error)) return error;
  return new AimError({
    code: error.code,
    kind: error.kind,
    message: error.message.startsWith(`model ${name}:`)
      ? error.message
      : `model ${name}: ${error.message}`,
    details: { ...error.details, model: name },
    cause: error,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    ...(error.at === undefined ? {} : { at: error.at }),
    ...(error.excerpt === undefined ? {} : { excerpt: error.excerpt }),
  });
}

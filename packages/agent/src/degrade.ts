/**
 * What is done when devices are gone: the same fleet on what is left, with a smaller context where that makes room,
 * then the fallback model, then refusal. Owns the order of these steps and their words; places nothing itself.
 */
import type {
  Assignment,
  CallOptions,
  Fleet,
  Inventory,
  Plan,
  Share,
  Workload,
  WorkloadName,
} from '@aim-gpu/core';
import { type Demands, type PlanSources, planFromFleet } from './plan-from-fleet.js';
import type { Degradation } from './status.js';

/** A plan that serves what can be served, with what it costs. */
export interface DegradedPlan {
  /** The fleet as it can be served. */
  readonly served: Fleet;
  readonly plan: Plan;
  readonly demands: Demands;
  readonly degradations: readonly Degradation[];
}

/** Halvings of context and concurrency that are tried. */
const MOST_HALVINGS = 3;
/** Less context than this is of no use to anybody. */
const LEAST_CONTEXT_TOKENS = 2048;

/** Plans a fleet on what is left. Never refuses: what finds no place is among the degradations. */
export async function planDegraded(
  options: CallOptions &
    PlanSources & {
      readonly fleet: Fleet;
      readonly inventories: readonly Inventory[];
      readonly assignments: readonly Assignment[];
      /** The plan before the loss. */
      readonly before: Plan;
    },
): Promise<DegradedPlan> {
  const { fleet } = options;
  let best = { served: fleet, ...(await planFromFleet(options)) };
  for (
    let halvings = 1;
    halvings <= MOST_HALVINGS && best.plan.unplaced.length > 0;
    halvings += 1
  ) {
    const homeless = new Set(best.plan.unplaced.map(({ workload }) => workload));
    const served = {
      ...best.served,
      models: best.served.models.map((workload) =>
        homeless.has(workload.name) ? halve(workload, best.demands) : workload,
      ),
    };
    const tried = { served, ...(await planFromFleet({ ...options, fleet: served })) };
    if (countPlaced(tried.plan) >= countPlaced(best.plan)) best = tried;
  }
  return { ...best, degradations: describe(fleet, best, options.before) };
}

function countPlaced(plan: Plan): number {
  return plan.placements.length;
}

function halve(workload: Workload, demands: Demands): Workload {
  const length = demands.get(workload.name)?.maxModelLen ?? LEAST_CONTEXT_TOKENS;
  return {
    ...workload,
    maxModelLen: Math.max(LEAST_CONTEXT_TOKENS, Math.floor(length / 2)),
    concurrency: Math.max(1, Math.floor(workload.concurrency / 2)),
  };
}

function describe(
  fleet: Fleet,
  { served, plan }: { readonly served: Fleet; readonly plan: Plan },
  before: Plan,
): readonly Degradation[] {
  return fleet.models.flatMap((workload): Degradation[] => {
    const { name } = workload;
    const unplaced = plan.unplaced.find((entry) => entry.workload === name);
    if (unplaced !== undefined) return [describeUnplaced(workload, unplaced.reasons[0]?.fix)];
    const now = served.models.find((entry) => entry.name === name);
    if (now !== undefined && now !== workload) {
      const message = `${name} serves ${now.maxModelLen} tokens and ${now.concurrency} sequences, less than asked for`;
      return [{ workload: name, step: 'smaller-context', message }];
    }
    const [was, is] = [sharesOf(before, name), sharesOf(plan, name)];
    if (was.length === 0 || describeShares(was) === describeShares(is)) return [];
    const layouts = plan.changes.some((change) => is.some((share) => share.card === change.card));
    const message = `${name} moved from ${describeShares(was)} to ${describeShares(is)}`;
    return [{ workload: name, step: layouts ? 'layout' : 'moved', message }];
  });
}

function describeUnplaced({ name, fallback }: Workload, fix: string | undefined): Degradation {
  if (fallback !== null) {
    const message = `${name} has no place; ${fallback} answers for it`;
    return { workload: name, step: 'fallback', message };
  }
  const message = `${name} has no place; its requests are refused${fix === undefined ? '' : `. ${fix}`}`;
  return { workload: name, step: 'refused', message };
}

function sharesOf(plan: Plan, workload: WorkloadName): readonly Share[] {
  return plan.placements
    .filter((each) => each.workload === workload)
    .flatMap((each) => each.shares);
}

function describeShares(shares: readonly Share[]): string {
  return shares.map(({ card, partition }) => `${card}/${partition}`).join(' ');
}

/**
 * Takes over the engines of an earlier agent: those that prove to be what was written down go on serving, what nobody
 * knows is ended. Owns which of two processes of one instance stays; starts nothing.
 */
import type { InstanceId, Inventory, ProcessMark } from '@aim-gpu/core';
import type { Tenure } from './assigned.js';
import type { EngineProcess } from './engine-start.js';
import { untilIdle } from './engine-waits.js';
import type { NodeParts } from './reconcile.js';
import { DEFAULT_TIMING } from './runner-timing.js';

interface Adopted {
  readonly tenure: Tenure;
  readonly engine: EngineProcess;
}

/** Adopts what still runs, drops what does not, and ends what was forgotten. Returns the adopted instances. */
export async function adoptEngines(
  parts: NodeParts,
  tenures: readonly Tenure[],
  inventory: Inventory,
): Promise<readonly InstanceId[]> {
  const { options, instances, assigned } = parts;
  const adopted: Adopted[] = [];
  for (const tenure of tenures) {
    const engine = await adopt(parts, tenure);
    if (engine === null) await assigned.drop(tenure.key);
    else adopted.push({ tenure, engine });
  }
  const kept = new Set<InstanceId>();
  for (const { tenure, engine } of byClaim(adopted)) {
    const { placement, workload } = tenure.definition;
    const definition = { ...tenure.definition, engine: options.engineFor(workload, inventory) };
    if (kept.has(placement.instance)) {
      // Its successor has the traffic already, or it never had any; either way it may finish what it has.
      void retire(parts, { tenure, engine }, definition.engine);
      continue;
    }
    kept.add(placement.instance);
    instances.takeOver(tenure, definition, engine);
  }
  await options.launcher.reclaim?.(marksOf(adopted));
  return [...kept];
}

async function adopt({ options }: NodeParts, tenure: Tenure): Promise<EngineProcess | null> {
  const { process, definition } = tenure;
  const { instance } = definition.placement;
  if (process === null) return null;
  const name = instance;
  const logFile = options.logFile?.(instance) ?? null;
  const running = await options.launcher.adopt?.(process.mark, { name, logFile });
  if (running == null) return null;
  return { process: running, address: process.address, wasReady: process.ready };
}

/** In the order they were assigned; of an instance that was being replaced, the one requests went to last first. */
function byClaim(adopted: readonly Adopted[]): readonly Adopted[] {
  const claimOf = ({ tenure }: Adopted): number =>
    tenure.shown ? adopted.findIndex((each) => each.tenure === tenure) + 1 : 0;
  const first = new Map<InstanceId, number>();
  for (const [index, { tenure }] of adopted.entries()) {
    const { instance } = tenure.definition.placement;
    first.set(instance, first.get(instance) ?? index);
  }
  const placeOf = ({ tenure }: Adopted): number =>
    first.get(tenure.definition.placement.instance) ?? 0;
  return adopted.toSorted((a, b) => placeOf(a) - placeOf(b) || claimOf(b) - claimOf(a));
}

async function retire(
  { options, assigned }: NodeParts,
  { tenure, engine }: Adopted,
  serving: Parameters<typeof untilIdle>[0]['engine'],
): Promise<void> {
  const timing = { ...DEFAULT_TIMING, ...options.runnerTiming };
  const { address, process } = engine;
  try {
    await untilIdle({ engine: serving, address, clock: options.clock, timing });
    await process.stop({ graceMs: timing.graceMs });
    await assigned.drop(tenure.key);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    options.logger.error('engine-not-retired', { pid: process.pid, message });
  }
}

/** Stops the processes of instances that are in the way of a change an earlier agent had begun. */
export async function stopTenures(
  parts: NodeParts,
  tenures: readonly Tenure[],
  which: readonly InstanceId[],
): Promise<void> {
  const timing = { ...DEFAULT_TIMING, ...parts.options.runnerTiming };
  for (const tenure of tenures) {
    if (!which.includes(tenure.definition.placement.instance)) continue;
    const engine = await adopt(parts, tenure);
    await engine?.process.stop({ graceMs: timing.graceMs });
    await parts.assigned.drop(tenure.key);
  }
}

function marksOf(adopted: readonly Adopted[]): readonly ProcessMark[] {
  return adopted.flatMap(({ engine }) => {
    const mark = engine.process.mark?.();
    return mark === undefined ? [] : [mark];
  });
}

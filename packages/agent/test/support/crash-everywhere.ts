/**
 * Kills an operation at every step it takes outside its agent: the agent is thrown away there, the next one takes over,
 * and everything must be as it should. Used by the test and by the soak.
 */
import type { Workload } from '@aim-gpu/core';
import type { CrashOperation } from './crash-operations.js';
import { type CrashingHost, createCrashingHost } from './crashing-host.js';

/** How an operation was killed. */
export interface CrashTable {
  readonly operation: string;
  /** Steps it has, each of which was the last one of an agent. */
  readonly points: number;
  readonly byKind: Readonly<Record<string, number>>;
  /** Longest time from the death of an agent until the node was whole again. */
  readonly slowestRecoveryMs: number;
  /** Runs that found the old fleet applied after the crash, and the new one. */
  readonly wentOnWith: { readonly before: number; readonly after: number };
}

/** A host on which an operation may begin. */
async function prepare(operation: CrashOperation) {
  const { cards, models, next = models } = operation;
  const host = createCrashingHost({
    fleet: (made) => ({ ...made, models: operation.fromNothing === true ? [] : models }),
    ...(cards === undefined ? {} : { cards }),
  });
  if (operation.fromNothing !== true) await host.bringUp();
  await operation.prepare?.(host);
  return { host, next: { ...host.fleet, models: next } };
}

/** Steps an operation takes. */
async function countSteps(operation: CrashOperation): Promise<readonly string[]> {
  const { host, next } = await prepare(operation);
  const steps = host.countNextLives();
  await operation.operate(host, next);
  return [...steps()];
}

/** Kills an operation at every `stride`th step. Throws at the first thing that is not as it should be, naming the step. */
export async function crashEverywhere(
  operation: CrashOperation,
  options: {
    readonly signal?: AbortSignal;
    readonly stride?: number;
    /** Kills the agent that repairs it as well, at this step of its own life; none when left out. */
    readonly again?: (at: number) => number;
    readonly onStep?: (what: string, at: number) => void;
  } = {},
): Promise<CrashTable> {
  const steps = await countSteps(operation);
  const byKind: Record<string, number> = {};
  const wentOnWith = { before: 0, after: 0 };
  let slowestRecoveryMs = 0;
  for (
    let at = 0;
    at < steps.length && options.signal?.aborted !== true;
    at += options.stride ?? 1
  ) {
    const what = steps[at] ?? '';
    options.onStep?.(what, at);
    const kind = kindOf(what);
    byKind[kind] = (byKind[kind] ?? 0) + 1;
    try {
      const ended = await crashAt(operation, at, options.again?.(at) ?? null);
      slowestRecoveryMs = Math.max(slowestRecoveryMs, ended.recoveryMs);
      wentOnWith[ended.wentOnWith] += 1;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new Error(`${operation.name}, killed ${what} (step ${at}): ${message}`, {
        cause: error,
      });
    }
  }
  return { operation: operation.name, points: steps.length, byKind, slowestRecoveryMs, wentOnWith };
}

async function crashAt(operation: CrashOperation, at: number, again: number | null) {
  const { host, next } = await prepare(operation);
  const { models } = host.fleet;
  host.dieAt(at);
  const died = new Promise<'died'>((resolve) => host.onDeath(() => resolve('died')));
  const begun = operation.operate(host, next);
  begun.catch(() => undefined);
  const outcome = await Promise.race([died, begun.then(() => 'ended' as const)]);
  if (outcome !== 'died') throw new Error('it took another way and never came to this step');
  host.engine.load = 0;
  const diedMs = host.clock.monoMs();
  if (again !== null) await crashInRepair(host, again);
  await host.restart({ dieAt: null });
  const { agent } = host.bench();
  if (!agent.resumed) {
    // Nothing was applied yet, or it was stopped for good: no engine may be left.
    if (host.processes.alive().length > 0) throw new Error('engines without a fleet');
    await host.run(agent.applyFleet(next));
  }
  await host.advance(operation.noticedMs ?? 0);
  await host.untilWhole();
  const recoveryMs = host.clock.monoMs() - diedMs;
  await host.compare();
  const now = JSON.stringify(agent.fleet.models);
  const is = (wanted: readonly Workload[]): boolean => now === JSON.stringify(wanted);
  if (!is(models) && !is(next.models)) throw new Error(`it went on with neither fleet: ${now}`);
  await operation.again?.(host, next);
  await host.untilWhole();
  await host.compare();
  await host.end();
  return { recoveryMs, wentOnWith: is(next.models) ? ('after' as const) : ('before' as const) };
}

/** Another agent begins to repair, and dies at a step of its own, if it has so many. */
async function crashInRepair(host: CrashingHost, at: number): Promise<void> {
  const died = new Promise<void>((resolve) => host.onDeath(resolve));
  const repair = async (): Promise<void> => {
    await host.restart({ dieAt: at });
    if (host.bench().agent.resumed) await host.untilWhole();
  };
  const repaired = repair();
  repaired.catch(() => undefined);
  await Promise.race([died, repaired]);
}

function kindOf(step: string): string {
  if (step.startsWith('directory')) return 'directory';
  if (step.includes('driver discover')) return 'reading devices';
  if (step.includes('driver')) return 'changing devices';
  if (/launch|gate/.test(step)) return 'launch';
  if (/ stop /.test(step)) return 'stop';
  if (/adopt|reclaim/.test(step)) return 'taking over';
  return 'journals';
}

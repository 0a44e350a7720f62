/**
 * Watches a ready engine: whether it still answers its health check, and whether anybody uses it. Owns the rules for
 * hung and for idle; ends nothing.
 */
import { AimError, type Clock, type EndpointAddress, type ServingEngine } from '@aim-gpu/core';
import { answersSoon } from './engine-waits.js';
import { cpuTicksOf, isStopped } from './process-facts.js';
import type { RunnerTiming } from './runner-timing.js';

/** What a watch looks at. Its promise never settles after the signal has aborted. */
export interface WatchOptions {
  readonly engine: ServingEngine;
  readonly address: EndpointAddress;
  readonly clock: Clock;
  readonly timing: RunnerTiming;
  readonly signal: AbortSignal;
}

/** Misses of an engine that computes are forgiven so many times as long: it may be in a long prefill. */
const BUSY_PATIENCE = 3;
/** Processor time in a check's limit from which on its leader counts as computing. */
const BUSY_TICKS = 50;

/**
 * Resolves when an engine counts as hung: several health checks in a row were not answered well in time (three times as
 * many while its process computes), or as stopped: two looks in a row found its process standing still by a signal.
 */
export async function untilHung(
  options: WatchOptions & { readonly pid: number },
): Promise<'hung' | 'stopped'> {
  const { timing, signal, pid } = options;
  let misses = 0;
  let idleMisses = 0;
  while (idleMisses < timing.mostMisses && misses < timing.mostMisses * BUSY_PATIENCE) {
    const waitMs = misses === 0 ? timing.probeEveryMs : timing.pollMs;
    if (await standsStill(options, waitMs)) return 'stopped';
    const before = cpuTicksOf(pid);
    const answered = await answersSoon(options).catch(() => false);
    if (signal.aborted) return stay();
    const worked = before === null ? 0 : (cpuTicksOf(pid) ?? before) - before;
    misses = answered ? 0 : misses + 1;
    idleMisses = answered || worked >= BUSY_TICKS ? 0 : idleMisses + 1;
  }
  return 'hung';
}

/** Waits, and looks meanwhile; true as soon as two looks in a row found the process stopped. */
async function standsStill(
  options: WatchOptions & { readonly pid: number },
  waitMs: number,
): Promise<boolean> {
  const { timing, pid } = options;
  for (let leftMs = waitMs; leftMs > 0; leftMs -= timing.lookEveryMs) {
    await sleepOrStay(options, Math.min(leftMs, timing.lookEveryMs));
    if (!isStopped(pid)) continue;
    await sleepOrStay(options, timing.lookEveryMs);
    if (isStopped(pid)) return true;
  }
  return false;
}

/** Resolves when an engine had nothing to do for `idleMs`: no request ran or waited, and no token came of it. */
export async function untilUnused(
  options: WatchOptions & { readonly idleMs: number },
): Promise<'unused'> {
  const { engine, address, clock, idleMs, signal } = options;
  const everyMs = Math.max(50, Math.min(5000, idleMs / 4));
  let sinceMs = clock.monoMs();
  let tokens = -1;
  for (;;) {
    await sleepOrStay(options, everyMs);
    const sample = await engine.sample(address, { signal }).catch(() => null);
    if (signal.aborted) return stay();
    // One that cannot say what it does is not known to be unused.
    const total =
      sample === null ? Number.NaN : sample.promptTokensTotal + sample.generationTokensTotal;
    const used = sample === null || sample.running + sample.waiting > 0 || total !== tokens;
    tokens = total;
    if (used) sinceMs = clock.monoMs();
    else if (clock.monoMs() - sinceMs >= idleMs) return 'unused';
  }
}

async function sleepOrStay({ clock, signal }: WatchOptions, ms: number): Promise<void> {
  await clock.sleep(ms, { signal }).catch(() => undefined);
  if (signal.aborted) await stay();
}

/** Nobody listens any more. */
function stay(): Promise<never> {
  return new Promise(() => undefined);
}

/** Work cut short because its instance is being stopped. */
export function instanceStopping(): AimError {
  return new AimError({
    code: 'ERR_STOPPED',
    kind: 'unavailable',
    message: 'instance is being stopped',
  });
}

/**
 * Watches a ready engine: whether it still answers its health check, and whether anybody uses it. Owns the rules for
 * hung and for idle; ends nothing.
 */
import type { Clock, EndpointAddress, ServingEngine } from '@aim-gpu/core';
import { answersSoon } from './engine-waits.js';
import { isStopped, lookAt } from './process-facts.js';
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
/** Processor time in a check's limit from which on a process counts as computing. */
const BUSY_TICKS = 50;
/** Processor time between two looks from which on an engine counts as used. */
const USED_TICKS = 5;

type HungWatch = WatchOptions & { readonly pid: number };

/**
 * Resolves when an engine counts as hung: several health checks in a row were not answered well in time (three times as
 * many while its process computes), or as stopped: two looks in a row found its process standing still by a signal. An
 * engine that does nothing is checked less often.
 */
export async function untilHung(options: HungWatch): Promise<'hung' | 'stopped'> {
  const { timing, signal, pid } = options;
  let misses = 0;
  let idleMisses = 0;
  while (idleMisses < timing.mostMisses && misses < timing.mostMisses * BUSY_PATIENCE) {
    if ((await untilCheckDue(options, misses > 0)) === 'stopped') return 'stopped';
    const before = lookAt(pid)?.cpuTicks ?? 0;
    const answered = await answersSoon(options).catch(() => false);
    if (signal.aborted) return stay();
    const worked = (lookAt(pid)?.cpuTicks ?? before) - before;
    misses = answered ? 0 : misses + 1;
    idleMisses = answered || worked >= BUSY_TICKS ? 0 : idleMisses + 1;
  }
  return 'hung';
}

/** Waits until the next check is due, and looks at the process meanwhile. */
async function untilCheckDue(options: HungWatch, missed: boolean): Promise<'due' | 'stopped'> {
  const { timing, pid } = options;
  const stepMs = missed ? timing.pollMs : timing.lookEveryMs;
  let ticks = lookAt(pid)?.cpuTicks ?? null;
  let used = missed || ticks === null;
  for (let passedMs = 0; ; ) {
    await sleepOrStay(options, stepMs);
    passedMs += stepMs;
    const look = lookAt(pid);
    if (look?.stopped === true) {
      await sleepOrStay(options, timing.lookEveryMs);
      if (isStopped(pid)) return 'stopped';
      passedMs += timing.lookEveryMs;
    }
    used ||= look === null || ticks === null || look.cpuTicks - ticks >= USED_TICKS;
    ticks = look?.cpuTicks ?? null;
    const dueMs = missed ? timing.pollMs : used ? timing.probeEveryMs : timing.probeIdleEveryMs;
    if (passedMs >= dueMs) return 'due';
  }
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

/**
 * Watches a ready engine: whether it still answers its health check, and whether anybody uses it. Owns the rules for
 * hung and for idle; ends nothing.
 */
import { AimError, type Clock, type EndpointAddress, type ServingEngine } from '@aim-gpu/core';
import { answersSoon } from './engine-waits.js';
import type { RunnerTiming } from './runner-timing.js';

/** What a watch looks at. Its promise never settles after the signal has aborted. */
export interface WatchOptions {
  readonly engine: ServingEngine;
  readonly address: EndpointAddress;
  readonly clock: Clock;
  readonly timing: RunnerTiming;
  readonly signal: AbortSignal;
}

/** Resolves when an engine counts as hung: several health checks in a row were not answered well in time. */
export async function untilHung(options: WatchOptions): Promise<'hung'> {
  const { timing, signal } = options;
  let misses = 0;
  while (misses < timing.mostMisses) {
    await sleepOrStay(options, misses === 0 ? timing.probeEveryMs : timing.pollMs);
    const answered = await answersSoon(options).catch(() => false);
    if (signal.aborted) return stay();
    misses = answered ? 0 : misses + 1;
  }
  return 'hung';
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

/**
 * The wait for a model that has nobody to answer now: it is asked for, and requests are held until it is ready, within
 * bounds of time and bytes. Owns those bounds.
 */
import { AimError, type ServedModel } from '@aim-gpu/core';
import type { HandlerTools, Incoming } from './incoming.js';

/** Asks for a model and waits; when it does not come, says when a retry may help, if that is known. */
export async function holdForModel(
  { directory, clock, limits, held }: HandlerTools,
  incoming: Incoming,
  { model, bytes }: { readonly model: ServedModel; readonly bytes: number },
): Promise<'ready' | { readonly retryAfterMs: number | null }> {
  if (held.bytes + bytes > limits.maxHeldBytes) return { retryAfterMs: null };
  held.bytes += bytes;
  const wait = new AbortController();
  const cancel = clock.timer(limits.holdMs, () => wait.abort());
  incoming.hold = wait;
  try {
    await directory.request(model.workload, { signal: wait.signal });
    return 'ready';
  } catch (error) {
    if (AimError.is(error, 'ERR_MODEL_UNAVAILABLE'))
      return { retryAfterMs: error.retryAfterMs ?? null };
    if (wait.signal.aborted) return { retryAfterMs: null };
    throw error;
  } finally {
    incoming.hold = null;
    held.bytes -= bytes;
    cancel();
  }
}

/**
 * Abort and deadline helpers over the Clock port. AbortSignal.timeout is not used: it ignores an injected clock.
 */
import type { Clock } from './clock.js';
import { AimError } from './errors.js';

/** Options that every asynchronous call takes. */
export interface CallOptions {
  readonly signal?: AbortSignal;
}

/** Whether a caught value is the reason of an aborted signal rather than a failure. */
export function isAbort(value: unknown, signal?: AbortSignal): boolean {
  if (signal?.aborted && value === signal.reason) return true;
  return value instanceof Error && value.name === 'AbortError';
}

/**
 * Runs `work` with a signal that aborts after `ms` or with `options.signal`.
 * Throws `ERR_TIMEOUT` (kind timeout) when the time ran out first; the outcome of the work is then unknown.
 */
export async function withDeadline<T>(
  work: (signal: AbortSignal) => Promise<T>,
  options: CallOptions & { readonly clock: Clock; readonly ms: number; readonly what: string },
): Promise<T> {
  options.signal?.throwIfAborted();
  const controller = new AbortController();
  const expired = new AimError({
    code: 'ERR_TIMEOUT',
    kind: 'timeout',
    message: `${options.what} did not finish within ${options.ms} ms`,
    details: { timeoutMs: options.ms },
  });
  const onAbort = (): void => controller.abort(options.signal?.reason);
  options.signal?.addEventListener('abort', onAbort, { once: true });
  const cancel = options.clock.timer(options.ms, () => controller.abort(expired));
  try {
    return await Promise.race([work(controller.signal), rejectOnAbort(controller.signal)]);
  } finally {
    cancel();
    options.signal?.removeEventListener('abort', onAbort);
  }
}

/** A promise that never resolves and rejects with the signal's reason. */
function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

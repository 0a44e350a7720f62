/**
 * What else on the node has to know of a repartition: units that hold the devices and are stopped before, device plugins
 * and exporters that read the layout once and are started anew afterwards. Hooks are data; running a program is the
 * caller's port. Owns the order and what a failure means.
 */
import { AimError, type CallOptions, type Logger, type Reason, silentLogger } from '@aim-gpu/core';

/** A program to run around a repartition; never a shell. */
export interface RepartitionHook {
  /** For messages and the log. */
  readonly name: string;
  readonly when: 'before' | 'after';
  /** The program and its arguments. */
  readonly argv: readonly [string, ...string[]];
  readonly timeoutMs: number;
  /**
   * Before: a failure keeps the repartition from beginning. After: the layouts stay as they are, and the failure is a
   * reason in the result either way.
   */
  readonly required: boolean;
}

/** What became of a hook. */
export type HookOutcome = { readonly ok: true } | { readonly ok: false; readonly message: string };

/** Runs programs of hooks within their time. */
export interface HookRunner {
  /**
   * Runs the hook's program to its end, or ends it at its `timeoutMs`. Never rejects for what the program does: that is
   * an outcome. After a crash a hook may be run once more, so it has to be repeatable.
   */
  run(hook: RepartitionHook, options?: CallOptions): Promise<HookOutcome>;
}

/** The hooks of a node and what runs them. */
export interface RepartitionHooks {
  readonly hooks: readonly RepartitionHook[];
  readonly runner: HookRunner;
}

/** The hooks that a transaction has, and what can run them in this process; null when nothing can. */
export interface OwedHooks {
  readonly hooks: readonly RepartitionHook[];
  readonly runner: HookRunner | null;
}

/** Hooks of the journal, then those given now that are not among them. */
export function joinHooks(
  recorded: readonly RepartitionHook[],
  given: readonly RepartitionHook[],
): readonly RepartitionHook[] {
  const known = new Set(recorded.map(toKey));
  return [...recorded, ...given.filter((hook) => !known.has(toKey(hook)))];
}

function toKey({ when, argv }: RepartitionHook): string {
  return JSON.stringify([when, argv]);
}

/**
 * Runs the hooks before a repartition, in order. Throws `ERR_HOOK_FAILED` (unavailable) at the first required one that
 * fails; those that ran before it are not taken back, the hooks after a repartition do that.
 */
export async function runHooksBefore(
  { hooks, runner }: OwedHooks,
  options: CallOptions & { readonly logger?: Logger },
): Promise<void> {
  const { logger = silentLogger, signal } = options;
  const call = signal === undefined ? {} : { signal };
  for (const hook of hooks.filter((entry) => entry.when === 'before')) {
    const outcome = await runHook(runner, hook, call);
    signal?.throwIfAborted();
    if (outcome.ok) continue;
    logger.warn('repartition-hook-failed', { hook: hook.name, message: outcome.message });
    if (!hook.required) continue;
    throw new AimError({
      code: 'ERR_HOOK_FAILED',
      kind: 'unavailable',
      message: `${hook.name}, which runs before a repartition, failed: ${outcome.message}`,
      details: { hook: hook.name, argv: [...hook.argv] },
      hint: 'no layout was changed; make it succeed or mark it as not required',
    });
  }
}

/**
 * Runs the hooks after a repartition, in order and all of them, whether it was applied or taken back. Gives a reason for
 * each that failed (`HOOK_FAILED`), and for each that nothing here can run (`HOOK_NOT_RUN`), with what to type. Never
 * throws: what was done to the layouts does not depend on it.
 */
export async function runHooksAfter(
  { hooks, runner }: OwedHooks,
  { logger = silentLogger }: { readonly logger?: Logger },
): Promise<readonly Reason[]> {
  const reasons: Reason[] = [];
  for (const hook of hooks.filter((entry) => entry.when === 'after')) {
    const outcome = await runHook(runner, hook);
    if (outcome.ok) continue;
    logger.warn('repartition-hook-failed', { hook: hook.name, message: outcome.message });
    const code = runner === null ? 'HOOK_NOT_RUN' : 'HOOK_FAILED';
    reasons.push({ code, message: `${hook.name}: ${outcome.message}` });
  }
  return reasons;
}

async function runHook(
  runner: HookRunner | null,
  hook: RepartitionHook,
  call?: CallOptions,
): Promise<HookOutcome> {
  if (runner === null)
    return { ok: false, message: `nothing here can run it; type \`${hook.argv.join(' ')}\`` };
  try {
    return await runner.run(hook, call);
  } catch (error) {
    return { ok: false, message: error instanceof Error ? error.message : String(error) };
  }
}

/**
 * What else on the node has to know of a repartition: units that hold the devices and are stopped before, device plugins
 * and exporters that read the layout once and are started anew afterwards. Hooks are data; running a program is the
 * caller's port. Owns the order and what a failure means.
 */
import { AimError, type CallOptions, type Logger, type Reason } from '@aim-gpu/core';

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
  run(hook: RepartitionHook, options?: CallOptions): Promise<HookOutcome>;
}

/** The hooks of a node and what runs them. */
export interface RepartitionHooks {
  readonly hooks: readonly RepartitionHook[];
  readonly runner: HookRunner;
}

/**
 * Runs the hooks before a repartition, in order. Throws `ERR_HOOK_FAILED` (unavailable) at the first required one that
 * fails; those that ran before it are not taken back, the hooks after a repartition do that.
 */
export async function runHooksBefore(
  { hooks, runner }: RepartitionHooks,
  options: CallOptions & { readonly logger: Logger },
): Promise<void> {
  const { logger, ...call } = options;
  for (const hook of hooks.filter((entry) => entry.when === 'before')) {
    const outcome = await runner.run(hook, call);
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
 * each that failed.
 */
export async function runHooksAfter(
  { hooks, runner }: RepartitionHooks,
  { logger }: { readonly logger: Logger },
): Promise<readonly Reason[]> {
  const reasons: Reason[] = [];
  for (const hook of hooks.filter((entry) => entry.when === 'after')) {
    const outcome = await runner.run(hook);
    if (outcome.ok) continue;
    logger.warn('repartition-hook-failed', { hook: hook.name, message: outcome.message });
    reasons.push({ code: 'HOOK_FAILED', message: `${hook.name}: ${outcome.message}` });
  }
  return reasons;
}

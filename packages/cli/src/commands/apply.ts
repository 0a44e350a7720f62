/**
 * `aim-gpu apply F`: brings the running agent of this state directory to another fleet, or says what that would change.
 */
import path from 'node:path';
import { type AppliedFleet, createControlClient, type StatusDocument } from '@aim-gpu/agent';
import { AimError, type Plan } from '@aim-gpu/core';
import { applyToText } from '../apply-text.js';
import type { CommandContext } from '../context.js';
import { type FleetOptions, readFleet } from '../fleet-input.js';
import { readTextFile } from '../read-text-file.js';
import { sayWarnings } from '../warnings.js';

/** Options of `apply`. */
export interface ApplyOptions extends FleetOptions {
  readonly dryRun?: boolean;
  /** File of a stored plan. */
  readonly plan?: string;
  /** False returns when the engines are being started. */
  readonly wait?: boolean;
  /** Longest wait for engines in milliseconds. */
  readonly timeoutMs: number;
}

const POLL_MS = 200;

/**
 * Runs `apply`. Throws what the agent refuses the fleet for (nothing has changed then), `ERR_AGENT_NOT_RUNNING`
 * (missing), and `ERR_ENGINE_FAILED` (unavailable) when an engine of the new fleet was given up.
 */
export async function apply(
  context: CommandContext,
  file: string,
  options: ApplyOptions,
): Promise<number> {
  // Read here first: errors of the user's file show the user's line.
  const { warnings } = await readFleet(context, file, options);
  sayWarnings(context, warnings);
  const whole = context.resolve(file);
  const client = createControlClient({ socketPath: context.socketPath });
  const applied = await client.apply({
    fleet: await readTextFile(whole),
    base: path.dirname(whole),
    dryRun: options.dryRun === true,
    ...(options.plan === undefined ? {} : { plan: await readPlan(context, options.plan) }),
  });
  if (options.dryRun === true || options.wait === false) return show(context, applied, null);
  const status = await untilSettled(context, options.timeoutMs, () => client.status());
  show(context, applied, status);
  const failed = status.instances.find(({ state }) => state === 'failed');
  if (failed !== undefined) throw engineFailed(failed);
  return 0;
}

function show(context: CommandContext, applied: AppliedFleet, status: StatusDocument | null): 0 {
  if (context.json) context.print({ ...applied, state: status?.state ?? null });
  else context.say(applyToText(applied, status));
  return 0;
}

async function untilSettled(
  { clock }: CommandContext,
  timeoutMs: number,
  read: () => Promise<StatusDocument>,
): Promise<StatusDocument> {
  const deadline = clock.monoMs() + timeoutMs;
  for (;;) {
    const status = await read().catch((error: unknown) => {
      // A host that is busy with loading models answers late.
      if (AimError.is(error, 'ERR_AGENT_ANSWER')) return null;
      throw error;
    });
    const settled = status?.instances.every(({ state }) =>
      ['ready', 'parked', 'failed'].includes(state),
    );
    if (status !== null && settled === true) return status;
    if (clock.monoMs() > deadline) throw tooLate(timeoutMs);
    await clock.sleep(POLL_MS);
  }
}

async function readPlan(context: CommandContext, file: string): Promise<Plan> {
  const text = await readTextFile(context.resolve(file));
  try {
    return JSON.parse(text) as Plan;
  } catch (cause) {
    throw new AimError({
      code: 'ERR_CONFIG_INVALID',
      kind: 'invalid',
      message: `${file} is no plan: ${(cause as Error).message}`,
      hint: 'make one with: aim-gpu plan fleet.yaml --json',
      cause,
    });
  }
}

function engineFailed({ instance, trouble }: StatusDocument['instances'][number]): AimError {
  return new AimError({
    code: 'ERR_ENGINE_FAILED',
    kind: 'unavailable',
    message: `${instance}: ${trouble?.message ?? 'did not start'}`,
    details: { instance },
    ...(trouble === null ? {} : { hint: trouble.hint }),
  });
}

function tooLate(timeoutMs: number): AimError {
  return new AimError({
    code: 'ERR_TIMEOUT',
    kind: 'timeout',
    message: `the engines are still starting after ${timeoutMs / 1000} s`,
    hint: 'they go on; see `aim-gpu status`, or wait with a longer --timeout',
  });
}

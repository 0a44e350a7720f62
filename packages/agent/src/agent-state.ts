/**
 * What an agent is doing, from what is wanted and from its instances. Pure.
 */
import type { Desired } from './desired.js';
import { isDegraded } from './loss.js';
import type { AgentState, InstanceState } from './status.js';

/** The state of an agent that is not being closed. */
export function toAgentState(
  desired: Desired | null,
  instances: readonly InstanceState[],
): AgentState {
  const hurt = instances.some((state) => state === 'failed' || state === 'restarting');
  if (hurt || (desired !== null && isDegraded(desired))) return 'degraded';
  const whole = instances.every((state) => state === 'ready' || state === 'parked');
  return desired !== null && whole ? 'ready' : 'starting';
}

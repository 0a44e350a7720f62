/**
 * The agent's own errors. Owns their words; every code is in the README.
 */
import {
  AimError,
  type EndpointAddress,
  type Fleet,
  type InstanceId,
  type NodeName,
  type Plan,
  type WorkloadName,
} from '@aim-gpu/core';

/** A plan for a machine that is not there any more. */
export function stalePlan(plan: Plan): AimError {
  return new AimError({
    code: 'ERR_PLAN_STALE',
    kind: 'conflict',
    message: `the machine has changed since plan ${plan.id} was made`,
    hint: 'plan again',
    details: { plan: plan.id, generation: plan.observed.generation },
  });
}

/** An effect asked of an agent that does not hold its node. */
export function notOpen(): AimError {
  return new AimError({
    code: 'ERR_AGENT_NOT_OPEN',
    kind: 'internal',
    message: 'the agent does not hold its node: open it first',
  });
}

/** Work cut short because the agent closes. */
export function agentClosed(): AimError {
  return new AimError({
    code: 'ERR_STOPPED',
    kind: 'unavailable',
    message: 'the agent is being closed',
  });
}

/** A plan that names what this agent never sized. */
export function neverSized(workload: WorkloadName): AimError {
  return new AimError({
    code: 'ERR_PLAN_STALE',
    kind: 'conflict',
    message: `the plan places ${workload}, which is not in the fleet that was sized`,
    hint: 'plan again',
  });
}

/** An instance nobody knows, with those that are known. */
export function unknownInstance(instance: InstanceId, known: readonly InstanceId[]): AimError {
  return new AimError({
    code: 'ERR_INSTANCE_UNKNOWN',
    kind: 'missing',
    message: `there is no instance ${instance}`,
    hint: known.length === 0 ? 'none was started yet' : `instances are: ${known.join(', ')}`,
  });
}

/** A fleet that leaves this agent's node out. */
export function nodeNotInFleet(node: NodeName, fleet: Fleet): AimError {
  const nodes = fleet.nodes.map(({ name }) => name);
  return new AimError({
    code: 'ERR_NODE_UNKNOWN',
    kind: 'missing',
    message: `the fleet has no node ${node}, which this agent runs`,
    details: { node, nodes },
    hint: `its nodes are ${nodes.join(', ')}; add ${node}, or stop the agent`,
  });
}

/** An agent whose host did not say how to read a fleet. */
export function fixedFleet(): AimError {
  return new AimError({
    code: 'ERR_FLEET_FIXED',
    kind: 'refused',
    message: 'this agent takes no other fleet while it runs',
  });
}

/** Somebody else answers where an engine was told to listen. */
export function portTaken({ host, port }: EndpointAddress): AimError {
  return new AimError({
    code: 'ERR_PORT_IN_USE',
    kind: 'conflict',
    message: `another process listens on ${host}:${port}, which was free a moment ago`,
    hint: 'nothing is to be done: the next start takes another port',
    details: { host, port },
  });
}

/** An engine that somebody has stopped by a signal while it started. */
export function engineStopped(pid: number): AimError {
  return new AimError({
    code: 'ERR_ENGINE_STOPPED',
    kind: 'unavailable',
    message: `its process ${pid} was stopped by a signal while it started`,
    hint: 'nothing is to be done: it is started again',
    details: { pid },
  });
}

/** Work cut short because its instance is being stopped. */
export function instanceStopping(): AimError {
  return new AimError({
    code: 'ERR_STOPPED',
    kind: 'unavailable',
    message: 'instance is being stopped',
  });
}

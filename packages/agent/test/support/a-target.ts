/** An agent that exists in memory, as its API sees it. */
import { AimError } from '@aim-gpu/core';
import { aFleet, aPlan, createManualClock } from '@aim-gpu/core/testing';
import { createEventLog } from '../../src/event-log.js';
import type { ControlTarget } from '../../src/index.js';
import { toStatusDocument } from '../../src/status-document.js';
import { NODE } from './agent-bench.js';

export const STATUS = toStatusDocument({
  fleet: aFleet(),
  node: NODE,
  driver: 'simulated',
  pid: 77,
  state: 'ready',
  since: 0 as never,
  inventory: null,
  plan: null,
  gateway: null,
  instances: [],
});

export function aTarget(
  overrides: Partial<ControlTarget> = {},
): ControlTarget & { asked: unknown[] } {
  const asked: unknown[] = [];
  return {
    asked,
    status: () => Promise.resolve(STATUS),
    plan: () => aPlan(),
    logs: (instance) => {
      if (instance === 'chat-0') return ['loading weights', 'ready'];
      throw new AimError({
        code: 'ERR_INSTANCE_UNKNOWN',
        kind: 'missing',
        message: `there is no instance ${instance}`,
        hint: 'instances are: chat-0',
      });
    },
    fleet: () => aFleet(),
    readFleet: () => Promise.resolve(aFleet()),
    applyFleet: () => Promise.reject(new Error('not asked for here')),
    drain: (instance, options) => {
      asked.push({ instance, ...options });
      return Promise.resolve();
    },
    restart: (instance) => {
      asked.push({ restart: instance });
      return Promise.resolve();
    },
    events: createEventLog({ clock: createManualClock() }),
    down: (options) => void asked.push(options),
    ...overrides,
  };
}

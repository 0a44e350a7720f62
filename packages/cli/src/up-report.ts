/**
 * What `up` tells while it works: one JSON object a line with `--json`, else sentences and a table for people.
 */
import type { InstanceStatus, LayoutProgress } from '@aim-gpu/agent';
import { formatMs, type Plan } from '@aim-gpu/core';
import type { CommandContext } from './context.js';
import { planToText } from './plan-text.js';

/** What is known when everything is ready. */
interface ReadyFacts {
  readonly node: string;
  readonly gateway: string;
  readonly admin: string;
  readonly socket: string;
  /** Model → where it runs. */
  readonly places: Readonly<Record<string, string>>;
}

/** Receives what happens, in order. */
export interface UpReport {
  planned(plan: Plan): void;
  layout(progress: LayoutProgress): void;
  instance(status: InstanceStatus): void;
  ready(facts: ReadyFacts): void;
  stopping(reason: string): void;
  stopped(): void;
}

/** The report in the form that was asked for. */
export function createUpReport(context: CommandContext): UpReport {
  return context.json ? createJsonReport(context) : createTextReport(context);
}

function createJsonReport(context: CommandContext): UpReport {
  const emit = (event: string, facts: object): void => context.print({ event, ...facts });
  return {
    planned: (plan) => emit('planned', { plan }),
    layout: (progress) => emit('layout', { ...progress }),
    instance: ({ instance, state, endpoint, trouble }) =>
      emit('instance', { instance, state, endpoint, trouble }),
    ready: (facts) => emit('ready', facts),
    stopping: (reason) => emit('stopping', { reason }),
    stopped: () => emit('stopped', {}),
  };
}

function createTextReport(context: CommandContext): UpReport {
  const startMs = context.clock.monoMs();
  const say = (text: string): void => {
    const passed = ((context.clock.monoMs() - startMs) / 1000).toFixed(1).padStart(6);
    context.say(`${passed} s  ${text}`);
  };
  return {
    planned: (plan) => context.say(`${planToText(plan)}\n`),
    layout: (progress) => say(layoutText(progress)),
    instance: ({ instance, state, endpoint, trouble }) => {
      const where = endpoint === null ? '' : ` on ${endpoint.host}:${endpoint.port}`;
      say(`${instance} ${state}${where}`);
      if (trouble !== null)
        context.io.writeError(`${instance}: ${trouble.message}\n  hint: ${trouble.hint}\n`);
    },
    ready: (facts) => {
      say('ready');
      context.say(`
gateway  ${facts.gateway}/v1
admin    ${facts.admin}  (/healthz /readyz /metrics)
try      curl ${facts.gateway}/v1/models
status   aim-gpu status --state-dir ${context.stateDirectory}
stop     Ctrl-C
`);
    },
    stopping: (reason) => say(`${reason}: draining`),
    stopped: () => say('stopped'),
  };
}

function layoutText(progress: LayoutProgress): string {
  const left =
    progress.remainingMs === null ? '' : `, about ${formatMs(progress.remainingMs)} left`;
  return `${progress.text}${left}`;
}

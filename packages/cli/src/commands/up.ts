/**
 * `aim-gpu up F`: one node's agent in the foreground plus the gateway, in one process, until Ctrl-C or `down`.
 * Order matters: everything that can refuse (file, keys, lock, ports, plan) refuses before anything is changed.
 */
import { type Agent, type InstanceStatus, refuseUnplaced, sizeFleet } from '@aim-gpu/agent';
import { AimError, type FleetNode, type Placement } from '@aim-gpu/core';
import type { Gateway } from '@aim-gpu/gateway';
import { createModelLibrary } from '@aim-gpu/sizing';
import { createClosers } from '../closers.js';
import type { CommandContext } from '../context.js';
import { chooseNode, readFleet } from '../fleet-input.js';
import { parseListenAddress } from '../listen-address.js';
import { type ServeOptions, serveNode, toUrl } from '../serve-node.js';
import { createStop, type Stop, untilStopped } from '../stop.js';
import { createUpReport, type UpReport } from '../up-report.js';
import { sayWarnings } from '../warnings.js';

/** Options of `up`. */
export interface UpOptions extends ServeOptions {
  readonly node?: string;
  readonly listen: string;
  readonly adminListen: string;
  readonly restoreLayout?: boolean;
}

/** Runs `up` until it is told to stop. Exit code 0 after a clean end; a refusal throws and has changed nothing. */
export async function up(
  context: CommandContext,
  file: string,
  options: UpOptions,
): Promise<number> {
  const listen = parseListenAddress(options.listen, '--listen');
  const adminListen = parseListenAddress(options.adminListen, '--admin-listen');
  const { fleet, warnings } = await readFleet(context, file, options);
  const node = chooseNode(fleet, {
    hostName: context.io.hostName,
    ...(options.node === undefined ? {} : { name: options.node }),
  });
  // Before anything is taken, a model that cannot be had; planning sizes them again, which costs milliseconds.
  await sizeFleet({ fleet, models: createModelLibrary() });
  const report = createUpReport(context);
  const stop = createStop(context);
  const closers = createClosers();
  closers.add(stop.forget);
  try {
    const parts = { fleet, node, options, listen, adminListen, lasting: false, stop, closers };
    const { agent, gateway } = await serveNode(context, parts);
    sayWarnings(context, warnings);
    await untilStopped(stop, () =>
      bringUp(context, {
        agent,
        gateway,
        node,
        partial: options.partial === true,
        report,
        stop,
      }),
    );
    report.stopping(await stop.reason);
    await gateway.drain();
    await agent.close({ restoreLayout: options.restoreLayout === true || stop.restoreLayout() });
  } finally {
    await closers.closeAll();
  }
  report.stopped();
  return 0;
}

async function bringUp(
  context: CommandContext,
  parts: {
    readonly agent: Agent;
    readonly gateway: Gateway;
    readonly node: FleetNode;
    readonly partial: boolean;
    readonly report: UpReport;
    readonly stop: Stop;
  },
): Promise<void> {
  const { agent, gateway, node, partial, report, stop } = parts;
  const plan = await agent.plan({ signal: stop.signal });
  // People see the plan that is refused; a program gets one JSON document, the error.
  if (!context.json) report.planned(plan);
  refuseUnplaced(plan, { partial });
  if (context.json) report.planned(plan);
  const silence = agent.onInstanceChange((status) => report.instance(status));
  try {
    await agent.apply(plan, {
      onLayoutProgress: (progress) => report.layout(progress),
      signal: stop.signal,
    });
    const mine = plan.placements.filter((placement) =>
      placement.shares.some((share) => share.node === node.name),
    );
    const settled = await Promise.race([
      Promise.all(mine.map((placement) => agent.settled(placement.instance))),
      stop.reason.then(() => null),
    ]);
    if (settled === null) return;
    refuseFailed(settled);
    report.ready({
      node: node.name,
      gateway: toUrl(gateway.address),
      admin: toUrl(gateway.adminAddress),
      socket: context.socketPath,
      places: Object.fromEntries(mine.map((placement) => [placement.workload, toPlace(placement)])),
    });
  } finally {
    silence();
  }
}

/** An engine that was given up while starting ends `up`: a fleet that is half there should not look ready. */
function refuseFailed(statuses: readonly InstanceStatus[]): void {
  const failed = statuses.find((status) => status.state === 'failed');
  if (failed === undefined) return;
  throw new AimError({
    code: 'ERR_ENGINE_FAILED',
    kind: 'unavailable',
    message: `${failed.instance}: ${failed.trouble?.message ?? 'did not start'}`,
    details: { instance: failed.instance, restarts: failed.restarts },
    ...(failed.trouble === null ? {} : { hint: failed.trouble.hint }),
  });
}

function toPlace(placement: Placement): string {
  return placement.shares.map((share) => `${share.card}/${share.partition}`).join(' ');
}

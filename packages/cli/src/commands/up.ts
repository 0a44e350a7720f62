/**
 * `aim-gpu up F`: one node's agent in the foreground plus the gateway, in one process, until Ctrl-C or `down`.
 * Order matters: everything that can refuse (file, keys, lock, ports, plan) refuses before anything is changed.
 */
import path from 'node:path';
import {
  type Agent,
  createAgent,
  detectHost,
  type InstanceStatus,
  refuseUnplaced,
  serveControl,
  sizeFleet,
} from '@aim-gpu/agent';
import { createProcessLauncher } from '@aim-gpu/backends';
import {
  AimError,
  type EndpointAddress,
  type Fleet,
  type FleetNode,
  type Placement,
  systemIds,
} from '@aim-gpu/core';
import { serveSharedDevice } from '@aim-gpu/core/node';
import { createGateway, type Gateway, resolveTenants } from '@aim-gpu/gateway';
import { createMetrics } from '@aim-gpu/metrics';
import { createModelLibrary, type ModelLibrary } from '@aim-gpu/sizing';
import { type Closers, createClosers } from '../closers.js';
import type { CommandContext } from '../context.js';
import { type DriverOptions, openNode } from '../drivers.js';
import { createEngineChoice } from '../engines.js';
import { chooseNode, type FleetOptions, readFleet } from '../fleet-input.js';
import { parseListenAddress } from '../listen-address.js';
import { createUpReport, type UpReport } from '../up-report.js';
import { sayWarnings } from '../warnings.js';

/** Options of `up`. */
export interface UpOptions extends FleetOptions, DriverOptions {
  readonly node?: string;
  readonly listen: string;
  readonly adminListen: string;
  readonly freePorts?: boolean;
  readonly partial?: boolean;
  readonly allowAnonymous?: boolean;
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
  // Before anything is taken: a key that is missing must not cost the neighbours a lock.
  const tenants = await resolveTenants(fleet.tenants, { env: context.io.env });
  const models = createModelLibrary();
  // Likewise a model that cannot be had; planning sizes them again, which costs milliseconds.
  await sizeFleet({ fleet, models });
  const report = createUpReport(context);
  const stop = createStop(context);
  const closers = createClosers();
  closers.add(stop.forget);
  try {
    const agent = await openAgent(context, { fleet, node, models, options, closers });
    const gateway = await openGateway(context, {
      tenants,
      agent,
      listen,
      adminListen,
      options,
      closers,
    });
    sayWarnings(context, warnings);
    const lease = await serveControl({
      socketPath: context.socketPath,
      logger: context.logger,
      target: agent.agent.control({
        gateway: () => ({ url: toUrl(gateway.address), adminUrl: toUrl(gateway.adminAddress) }),
        down: ({ restoreLayout }) => stop.request('down', { restoreLayout }),
      }),
    });
    closers.add(() => lease.release());
    await untilStopped(stop, () =>
      bringUp(context, {
        agent: agent.agent,
        gateway,
        node,
        partial: options.partial === true,
        report,
        stop,
      }),
    );
    report.stopping(await stop.reason);
    await gateway.drain();
    await agent.agent.close({
      restoreLayout: options.restoreLayout === true || stop.restoreLayout(),
    });
  } finally {
    await closers.closeAll();
  }
  report.stopped();
  return 0;
}

/** Work that a wish to stop may interrupt: then its failure is the stop, and what follows is a clean end. */
async function untilStopped(stop: Stop, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  }
}

type Tenants = Awaited<ReturnType<typeof resolveTenants>>;

interface OpenAgent {
  readonly agent: Agent;
  readonly exposition: () => Promise<string>;
  readonly metrics: ReturnType<typeof createMetrics>;
}

async function openAgent(
  context: CommandContext,
  parts: {
    readonly fleet: Fleet;
    readonly node: FleetNode;
    readonly models: ModelLibrary;
    readonly options: UpOptions;
    readonly closers: Closers;
  },
): Promise<OpenAgent> {
  const { fleet, node, models, options, closers } = parts;
  const { clock, rng, logger, store, stateDirectory } = context;
  // A label that the definitions do not know must not fail a request.
  const metrics = createMetrics({ onUnknown: 'log', logger });
  const here = openNode(context, node, options);
  const others = fleet.nodes.filter((other) => other !== node && other.driver === 'simulated');
  const deviceSocket = here.simulated === null ? null : path.join(stateDirectory, 'device.sock');
  const agent = createAgent({
    node: node.name,
    fleet,
    models,
    driver: here.driver,
    otherDrivers: others.map((other) => openNode(context, other, options).driver),
    launcher: createProcessLauncher({ clock, ids: systemIds, logger }),
    engineFor: createEngineChoice({ driver: node.driver, deviceSocket }),
    store,
    clock,
    rng,
    logger,
    metrics,
    host: detectHost(),
    logFile: (instance) => path.join(stateDirectory, 'logs', `${instance}.log`),
    partial: options.partial === true,
    pid: process.pid,
  });
  closers.add(() => agent.close());
  await agent.open();
  if (here.simulated !== null && deviceSocket !== null) {
    const served = await serveSharedDevice({
      device: here.simulated.sharedDevice,
      socketPath: deviceSocket,
      logger,
    });
    closers.add(() => served.release());
  }
  return { agent, metrics, exposition: () => metrics.exposition() };
}

async function openGateway(
  context: CommandContext,
  parts: {
    readonly tenants: Tenants;
    readonly agent: OpenAgent;
    readonly listen: EndpointAddress;
    readonly adminListen: EndpointAddress;
    readonly options: UpOptions;
    readonly closers: Closers;
  },
): Promise<Gateway> {
  const { tenants, agent, options, closers } = parts;
  const { clock, logger } = context;
  const open = async (free: boolean): Promise<Gateway> => {
    const gateway = createGateway({
      directory: agent.agent.directory,
      tenants,
      clock,
      ids: systemIds,
      logger,
      metrics: agent.metrics,
      exposition: agent.exposition,
      listen: free ? { ...parts.listen, port: 0 } : parts.listen,
      adminListen: free ? { ...parts.adminListen, port: 0 } : parts.adminListen,
      allowAnonymous: options.allowAnonymous === true,
    });
    await gateway.start();
    closers.add(() => gateway.close());
    return gateway;
  };
  try {
    return await open(false);
  } catch (error) {
    if (options.freePorts === true && AimError.is(error, 'ERR_PORT_IN_USE')) return open(true);
    throw error;
  }
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

function toUrl({ host, port }: EndpointAddress): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** The wish to stop, from a signal or from `down`; the first one counts. */
interface Stop {
  readonly reason: Promise<string>;
  readonly signal: AbortSignal;
  request(reason: string, options: { readonly restoreLayout: boolean }): void;
  restoreLayout(): boolean;
  forget(): void;
}

function createStop(context: CommandContext): Stop {
  const controller = new AbortController();
  let restore = false;
  let resolve: (reason: string) => void = () => undefined;
  const reason = new Promise<string>((settle) => {
    resolve = settle;
  });
  const request: Stop['request'] = (why, { restoreLayout }) => {
    restore ||= restoreLayout;
    resolve(why);
    controller.abort(
      new AimError({ code: 'ERR_STOPPED', kind: 'unavailable', message: `stopped by ${why}` }),
    );
  };
  const forget = context.io.onStopSignal((name) => request(name, { restoreLayout: false }));
  return { reason, signal: controller.signal, request, restoreLayout: () => restore, forget };
}

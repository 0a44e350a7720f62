/**
 * One node under an agent with its gateway, in one process: what `up` and `agent` have in common. Owns the composition
 * and the order in which things are opened; what runs when is the command's.
 */
import path from 'node:path';
import {
  type Agent,
  type ControlHooks,
  createAgent,
  detectHost,
  serveControl,
} from '@aim-gpu/agent';
import { createLastingLauncher, createProcessLauncher } from '@aim-gpu/backends';
import {
  AimError,
  DEFAULT_GATEWAY_POLICY,
  type EndpointAddress,
  type Fleet,
  type FleetNode,
  type GatewayPolicy,
  type Launcher,
  systemIds,
} from '@aim-gpu/core';
import { serveSharedDevice } from '@aim-gpu/core/node';
import { readDeviceSocket } from '@aim-gpu/driver-simulated';
import { createGateway, type Gateway } from '@aim-gpu/gateway';
import { createMetrics } from '@aim-gpu/metrics';
import { createModelLibrary } from '@aim-gpu/sizing';
import { openAccessLog } from './access-log-writer.js';
import type { Closers } from './closers.js';
import type { CommandContext } from './context.js';
import { type DriverOptions, type OpenNode, openNode } from './drivers.js';
import { createEngineSampler } from './engine-sampler.js';
import { createEngineChoice } from './engines.js';
import { type FleetOptions, toDriver } from './fleet-input.js';
import { createLiveTenants } from './live-tenants.js';
import { createHostHookRunner } from './partition-hooks.js';
import { resumeCommand } from './resume-command.js';
import { readCalibrations } from './speed-calibrations.js';
import type { Stop } from './stop.js';

/** Options of commands that serve a node. */
export interface ServeOptions extends FleetOptions, DriverOptions {
  readonly freePorts?: boolean;
  readonly partial?: boolean;
  readonly allowAnonymous?: boolean;
  /** PEM files; both or none. */
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  /** File, or `-`. */
  readonly accessLog?: string;
}

/** What is served. */
export interface ServedNode {
  readonly agent: Agent;
  readonly gateway: Gateway;
  /** What the control socket shows; for the API over TCP as well. */
  readonly hooks: ControlHooks;
}

/** What {@link serveNode} needs beside its context. */
export interface ServeNodeParts {
  readonly fleet: Fleet;
  readonly node: FleetNode;
  readonly options: ServeOptions;
  readonly listen: EndpointAddress;
  readonly adminListen: EndpointAddress;
  /** Engines outlive this process. */
  readonly lasting: boolean;
  readonly stop: Stop;
  readonly closers: Closers;
}

const LOOPBACK = /^(?:127\.\d+\.\d+\.\d+|::1|localhost)$/;

/** Opens agent, gateway and control socket; everything is closed by the closers. Throws what each of them throws. */
export async function serveNode(
  context: CommandContext,
  parts: ServeNodeParts,
): Promise<ServedNode> {
  const { fleet, node, options, listen, closers, lasting, stop } = parts;
  const { clock, rng, logger, store, stateDirectory } = context;
  // Before anything is taken: a key that is missing must not cost the neighbours a lock.
  const live = await createLiveTenants({
    fleet,
    env: context.io.env,
    mayBeAnonymous: options.allowAnonymous === true || LOOPBACK.test(listen.host),
    store,
    clock,
    logger,
  });
  // A label that the definitions do not know must not fail a request.
  const metrics = createMetrics({ onUnknown: 'log', logger });
  const here = openNode(context, node, options);
  // Engines that may not open their devices would die one after another.
  await here.rocm?.assertUsable();
  const others = fleet.nodes.filter((other) => other !== node && other.driver === 'simulated');
  const deviceSocket = toDeviceSocket(context, here, options);
  let gateway: Gateway | null = null;
  const agent = createAgent({
    node: node.name,
    fleet,
    models: createModelLibrary(),
    calibrations: () => calibrationsOrNone(context),
    driver: here.driver,
    otherDrivers: others.map((other) => openNode(context, other, options).driver),
    launcher: toLauncher(context, lasting),
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
    lasting,
    onFleet: async (next) => {
      const take = await live.prepare(next);
      return () => {
        take();
        gateway?.applyPolicy(toGatewayPolicy(next));
      };
    },
    hookRunner: createHostHookRunner({ clock }),
    resumeCommand: (state) =>
      resumeCommand(context, state, { ...options, node: node.name, driver: node.driver }),
  });
  // What ends in another way than in order leaves lasting engines to the next agent.
  closers.add(() => agent.close({ keepEngines: lasting }));
  await agent.open();
  if (here.simulated !== null && deviceSocket !== null) {
    const device = here.simulated.sharedDevice;
    const served = await serveSharedDevice({ device, socketPath: deviceSocket, logger });
    closers.add(() => served.release());
  }
  await (await live.prepare(agent.fleet))();
  const opened = await openGateway(context, parts, {
    fleet: agent.fleet,
    tenants: live.tenants,
    directory: agent.directory,
    metrics,
    exposition: () => metrics.exposition(),
    sample: createEngineSampler(() => agent.fleet),
  });
  gateway = opened;
  const hooks: ControlHooks = {
    gateway: () => ({ url: toUrl(opened.address), adminUrl: toUrl(opened.adminAddress) }),
    down: ({ restoreLayout }) => stop.request('down', { restoreLayout }),
    readFleet: (text, { base }) => readFleetText(text, base, options),
  };
  const { socketPath } = context;
  const control = await serveControl({ socketPath, logger, target: agent.control(hooks) });
  closers.add(() => control.release());
  return { agent, gateway: opened, hooks };
}

/** Where simulated engines find their device: here, with the machine whose tree `--root` names, or nowhere. */
function toDeviceSocket(
  context: CommandContext,
  here: OpenNode,
  { root }: DriverOptions,
): string | null {
  if (here.simulated !== null) return path.join(context.stateDirectory, 'device.sock');
  return root === undefined ? null : readDeviceSocket(context.resolve(root));
}

function toLauncher(context: CommandContext, lasting: boolean): Launcher {
  const { clock, logger, stateDirectory } = context;
  const common = { clock, ids: systemIds, logger };
  return lasting
    ? createLastingLauncher({ ...common, owner: stateDirectory })
    : createProcessLauncher(common);
}

/** A fleet as a client of the control socket sent it; for the driver that runs here. */
async function readFleetText(
  text: string,
  base: string | null,
  { driver }: FleetOptions,
): Promise<Fleet> {
  const { parseFleet } = await import('@aim-gpu/fleet');
  const file = path.join(base ?? '/', 'fleet.yaml');
  const parsed = parseFleet(text, {
    file,
    ...(driver === undefined ? {} : { driver: toDriver(driver) }),
  });
  return parsed.fleet;
}

async function openGateway(
  context: CommandContext,
  { listen, adminListen, options, closers }: ServeNodeParts,
  {
    fleet,
    ...sources
  }: Pick<
    Parameters<typeof createGateway>[0],
    'tenants' | 'directory' | 'metrics' | 'exposition' | 'sample'
  > & { readonly fleet: Fleet },
): Promise<Gateway> {
  const { clock, logger, store } = context;
  const adminToken = context.io.env['AIM_GPU_ADMIN_TOKEN'];
  const tls = toTlsFiles(context, options);
  const log = options.accessLog === undefined ? null : openAccessLog(context, options.accessLog);
  // Closed after the gateway: the last requests end with it.
  if (log !== null) closers.add(() => log.close());
  const open = async (free: boolean): Promise<Gateway> => {
    const gateway = createGateway({
      ...sources,
      clock,
      ids: systemIds,
      logger,
      listen: free ? { ...listen, port: 0 } : listen,
      adminListen: free ? { ...adminListen, port: 0 } : adminListen,
      allowAnonymous: options.allowAnonymous === true,
      store,
      ...(tls === null ? {} : { tls }),
      ...(log === null ? {} : { accessLog: log.write }),
      ...(adminToken === undefined || adminToken === '' ? {} : { adminToken }),
    });
    gateway.applyPolicy(toGatewayPolicy(fleet));
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

/** A fleet that an earlier version wrote down says nothing of it. */
function toGatewayPolicy({ policy }: Fleet): GatewayPolicy {
  return policy.gateway ?? DEFAULT_GATEWAY_POLICY;
}

function toTlsFiles(
  context: CommandContext,
  { tlsCert, tlsKey }: ServeOptions,
): { readonly certFile: string; readonly keyFile: string } | null {
  if (tlsCert === undefined && tlsKey === undefined) return null;
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new AimError({
      code: 'ERR_USAGE',
      kind: 'invalid',
      message: 'a certificate needs its key, and a key its certificate',
      hint: 'give both --tls-cert and --tls-key',
    });
  }
  return { certFile: context.resolve(tlsCert), keyFile: context.resolve(tlsKey) };
}

/** An address as a URL. */
export function toUrl({ host, port }: EndpointAddress): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Measured paces make a plan better; a file of theirs that cannot be read must not keep a node from being planned. */
async function calibrationsOrNone(context: CommandContext): ReturnType<typeof readCalibrations> {
  try {
    return await readCalibrations(context);
  } catch (error) {
    context.logger.warn('calibrations-not-read', { message: String(error) });
    return [];
  }
}

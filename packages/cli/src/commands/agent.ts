/**
 * `aim-gpu agent [F]`: one node's agent as a service. Its engines outlive it and are taken over by the next one, which
 * goes on with the fleet that was applied last; `down` stops them with it. Owns the order of its start: what serves
 * already is served again before anything is planned.
 */
import { readDesiredFleet, serveApi } from '@aim-gpu/agent';
import { AimError, type Fleet, type Reason } from '@aim-gpu/core';
import { createClosers } from '../closers.js';
import type { CommandContext } from '../context.js';
import { chooseNode, readFleet } from '../fleet-input.js';
import { parseListenAddress } from '../listen-address.js';
import { readTextFile } from '../read-text-file.js';
import { type ServedNode, type ServeOptions, serveNode, toUrl } from '../serve-node.js';
import { createStop, untilStopped } from '../stop.js';
import { createSystemdNotifier, systemdUnit } from '../systemd.js';
import { createUpReport, type UpReport } from '../up-report.js';
import { sayWarnings } from '../warnings.js';

/** Options of `agent`. */
export interface AgentCommandOptions extends ServeOptions {
  readonly node?: string;
  readonly listen: string;
  readonly adminListen: string;
  readonly apiListen?: string;
  readonly apiToken?: string;
  readonly apiCert?: string;
  readonly apiKey?: string;
  readonly printUnit?: boolean;
}

/** Runs `agent` until a signal or `down`. Exit code 0 after a clean end. */
export async function agent(
  context: CommandContext,
  file: string | undefined,
  options: AgentCommandOptions,
): Promise<number> {
  if (options.printUnit === true) return printUnit(context, file, options);
  const listen = parseListenAddress(options.listen, '--listen');
  const adminListen = parseListenAddress(options.adminListen, '--admin-listen');
  const stored = await readDesiredFleet(context.store);
  const given = file === undefined ? null : await readFleet(context, file, options);
  const fleet = given?.fleet ?? stored;
  if (fleet === null) throw nothingToServe();
  const node = chooseNode(fleet, {
    hostName: context.io.hostName,
    ...(options.node === undefined ? {} : { name: options.node }),
  });
  const report = createUpReport(context);
  const notifier = createSystemdNotifier({ ...context, env: context.io.env });
  const stop = createStop(context);
  const closers = createClosers();
  closers.add(stop.forget);
  try {
    const parts = { fleet, node, options, listen, adminListen, lasting: true, stop, closers };
    const served = await serveNode(context, parts);
    await openApi(context, served, options, (close) => closers.add(close));
    await notifier.ready();
    closers.add(notifier.watch(() => served.agent.status().then(() => true)));
    report.ready({
      node: node.name,
      gateway: toUrl(served.gateway.address),
      admin: toUrl(served.gateway.adminAddress),
      socket: context.socketPath,
      places: {},
    });
    await untilStopped(stop, () => bringTo(context, { served, given, report, stop }));
    const reason = await stop.reason;
    report.stopping(reason);
    await notifier.stopping();
    await served.gateway.drain();
    await served.agent.close({
      keepEngines: reason !== 'down',
      restoreLayout: stop.restoreLayout(),
    });
  } finally {
    await closers.closeAll();
  }
  report.stopped();
  return 0;
}

/** Brings the node to the file that was given, unless that is what it serves already. A refusal is said, not fatal. */
async function bringTo(
  context: CommandContext,
  {
    served,
    given,
    report,
    stop,
  }: {
    readonly served: ServedNode;
    readonly given: { readonly fleet: Fleet; readonly warnings: readonly Reason[] } | null;
    readonly report: UpReport;
    readonly stop: ReturnType<typeof createStop>;
  },
): Promise<void> {
  const { agent: node } = served;
  if (given === null) return;
  sayWarnings(context, given.warnings);
  if (node.resumed && JSON.stringify(node.fleet) === JSON.stringify(given.fleet)) return;
  const silence = node.onInstanceChange((status) => report.instance(status));
  try {
    const { plan } = await node.applyFleet(given.fleet, {
      signal: stop.signal,
      onLayoutProgress: (progress) => report.layout(progress),
    });
    report.planned(plan);
  } catch (error) {
    // Nothing runs that could go on: somebody must look. What runs goes on, and says why it is not more.
    if (!node.resumed || !AimError.is(error)) throw error;
    context.logger.error('fleet-refused', { code: error.code, message: error.message });
  } finally {
    silence();
  }
}

async function openApi(
  context: CommandContext,
  { agent: node, hooks }: ServedNode,
  options: AgentCommandOptions,
  onOpen: (close: () => Promise<void>) => void,
): Promise<void> {
  if (options.apiListen === undefined) return;
  if (options.apiToken === undefined) throw noToken();
  const read = (name: string): Promise<string> => readTextFile(context.resolve(name));
  const { apiCert, apiKey } = options;
  const served = await serveApi({
    target: node.control(hooks),
    listen: parseListenAddress(options.apiListen, '--api-listen'),
    token: (await read(options.apiToken)).trim(),
    tls:
      apiCert === undefined || apiKey === undefined
        ? null
        : { cert: await read(apiCert), key: await read(apiKey) },
    logger: context.logger,
  });
  onOpen(() => served.release());
  context.say(`api      ${served.address.host}:${served.address.port}`);
}

function printUnit(
  context: CommandContext,
  file: string | undefined,
  options: AgentCommandOptions,
): number {
  const flags = [
    ['--state-dir', context.stateDirectory],
    ['--node', options.node],
    ['--driver', options.driver],
    ['--listen', options.listen],
    ['--admin-listen', options.adminListen],
    ['--access-log', toAccessLog(context, options)],
    ['--api-listen', options.apiListen],
    ['--api-token', options.apiToken && context.resolve(options.apiToken)],
    ['--api-cert', options.apiCert && context.resolve(options.apiCert)],
    ['--api-key', options.apiKey && context.resolve(options.apiKey)],
  ].flatMap(([flag, value]) => (value === undefined || value === '' ? [] : [`${flag}`, value]));
  const fleet = file === undefined ? [] : [context.resolve(file)];
  const unit = systemdUnit([...context.io.program, 'agent', ...fleet, ...flags]);
  if (context.json) context.print({ unit });
  else context.say(unit.trimEnd());
  return 0;
}

/** The same file wherever the unit starts; `-` stays what it is. */
function toAccessLog(context: CommandContext, { accessLog }: ServeOptions): string | undefined {
  return accessLog === undefined || accessLog === '-' ? accessLog : context.resolve(accessLog);
}

function nothingToServe(): AimError {
  return new AimError({
    code: 'ERR_USAGE',
    kind: 'invalid',
    message: 'no fleet was applied to this state directory yet',
    hint: 'name a fleet file the first time: aim-gpu agent fleet.yaml',
  });
}

function noToken(): AimError {
  return new AimError({
    code: 'ERR_USAGE',
    kind: 'invalid',
    message: '--api-listen needs --api-token FILE',
    hint: 'openssl rand -hex 32 > token && chmod 600 token',
  });
}

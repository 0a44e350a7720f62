/**
 * The fleet a command works on: the file, with what the command line changes in it, and the warnings to tell.
 */
import { AimError, type Fleet, type FleetNode, type Reason } from '@aim-gpu/core';
import type { CommandContext } from './context.js';

/** Options of commands that read a fleet file. */
export interface FleetOptions {
  /** Wins over every node's own driver. */
  readonly driver?: string;
}

/** A fleet with what should be said about it. */
export interface FleetInput {
  readonly fleet: Fleet;
  readonly warnings: readonly Reason[];
}

/** Reads a fleet file. Throws `ERR_FILE_MISSING`, `ERR_CONFIG_INVALID`, and `ERR_USAGE` for an unknown driver. */
export async function readFleet(
  context: CommandContext,
  file: string,
  options: FleetOptions,
): Promise<FleetInput> {
  const driver = options.driver === undefined ? {} : { driver: toDriver(options.driver) };
  // Loaded here: an agent that goes on with its stored fleet reads no file.
  const { missingKeys, readFleetFile } = await import('@aim-gpu/fleet');
  const { fleet, warnings } = await readFleetFile(context.resolve(file), driver);
  const keys = missingKeys(fleet, context.io.env).map(
    ({ tenant, name }): Reason => ({
      code: 'key-missing',
      message: `tenant ${tenant}: the environment variable ${name} of its key is not set; \`up\` refuses to start without it`,
    }),
  );
  return { fleet, warnings: [...warnings, ...keys] };
}

/** Reads the value of `--driver`. Throws `ERR_USAGE`. */
export function toDriver(text: string): FleetNode['driver'] {
  if (text === 'simulated' || text === 'rocm') return text;
  throw new AimError({
    code: 'ERR_USAGE',
    kind: 'invalid',
    message: `--driver must be simulated or rocm, not ${text}`,
    hint: 'leave it out to use what the fleet file says',
  });
}

/**
 * The node that `up` runs: the named one, the only one, or the one named like this host.
 * Throws `ERR_NODE_UNKNOWN` (missing) with the names there are.
 */
export function chooseNode(
  fleet: Fleet,
  options: { readonly name?: string; readonly hostName: string },
): FleetNode {
  const { name, hostName } = options;
  const [only, ...more] = fleet.nodes;
  if (name === undefined && only !== undefined && more.length === 0) return only;
  const wanted = name ?? hostName;
  const found = fleet.nodes.find((node) => node.name === wanted);
  if (found !== undefined) return found;
  const names = fleet.nodes.map((node) => node.name).join(', ');
  throw new AimError({
    code: 'ERR_NODE_UNKNOWN',
    kind: 'missing',
    message:
      name === undefined
        ? `the fleet has several nodes and none is named like this host, ${hostName}`
        : `the fleet has no node ${name}`,
    hint: `use --node with one of: ${names}`,
    details: { nodes: fleet.nodes.map((node) => node.name) },
  });
}

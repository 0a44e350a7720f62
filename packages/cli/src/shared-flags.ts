/**
 * Options that several commands take, and how their values are read.
 */
import { toMilliseconds } from '@aim-gpu/core';
import { type Command, InvalidArgumentError } from 'commander';

/** Options of commands that read a fleet file. */
export function withFleetOptions(command: Command): Command {
  return command.option('--driver <name>', 'simulated or rocm, for every node');
}

/** Where the rocm driver reads. */
export function withRoot(command: Command): Command {
  return command.option(
    '--root <dir>',
    'root of a tree with sys and proc, or a capture, for the rocm driver',
  );
}

/** Options of commands that open devices. */
export function withDeviceOptions(command: Command): Command {
  return withRoot(withFleetOptions(command)).option(
    '--realistic-timing',
    'let simulated switches and reloads take as long as real ones',
  );
}

/** What changes of real cards may do to the whole node. */
export function withReload(command: Command): Command {
  return command.option(
    '--allow-driver-reload',
    'let a change of a memory mode unload and load amdgpu, which stops every GPU of the node',
  );
}

/** Options of commands that serve a node. */
export function withServeOptions(command: Command): Command {
  return withReload(withDeviceOptions(command))
    .option(
      '--node <name>',
      'node of the fleet to run; by default the only one, or the one named like this host',
    )
    .option('--listen <address>', 'where the gateway listens', '127.0.0.1:8080')
    .option(
      '--admin-listen <address>',
      'where health, metrics and the admin API listen',
      '127.0.0.1:8081',
    )
    .option('--free-ports', 'take free ports when the ones asked for are in use')
    .option('--partial', 'start what can be placed and leave the rest')
    .option('--allow-anonymous', 'serve without keys on other addresses than loopback')
    .option(
      '--tls-cert <file>',
      'serve TLS with this certificate chain; read again when it changes',
    )
    .option('--tls-key <file>', 'the key of --tls-cert')
    .option(
      '--access-log <file>',
      'write a line of JSON for each request, never its text; - is the output of this command',
    );
}

/** Reads a time such as `30s`. */
export function toTimeout(text: string): number {
  const value = toMilliseconds(text);
  if (value === null) throw new InvalidArgumentError('a time such as 30s or 2m');
  return value;
}

/** Reads a whole number of at least 1 for commander. */
export function toWhole(text: string): number {
  if (/^\d+$/.test(text) && Number(text) >= 1 && Number.isSafeInteger(Number(text)))
    return Number(text);
  throw new InvalidArgumentError('a whole number of at least 1');
}

/** Reads whole numbers of at least 1 with commas between them for commander. */
export function toWholes(text: string): number[] {
  return text.split(',').map((part) => toWhole(part.trim()));
}

/** Reads a number of at least 0 for commander. */
export function toNumber(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value;
  throw new InvalidArgumentError('a number of at least 0');
}

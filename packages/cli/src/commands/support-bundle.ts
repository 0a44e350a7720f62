/**
 * `aim-gpu support-bundle`: what somebody needs to see who was not there, in one file, without secrets. Prompts may be
 * in an engine's output, so that is left out unless asked for.
 */
import { writeFile } from 'node:fs/promises';
import { arch, cpus, release, totalmem } from 'node:os';
import { gzipSync } from 'node:zlib';
import { type ControlClient, createControlClient } from '@aim-gpu/agent';
import { toAimError, toErrorDocument } from '@aim-gpu/core';
import type { CommandContext } from '../context.js';
import { redact } from '../redact.js';

/** Options of `support-bundle`. */
export interface SupportBundleOptions {
  readonly out?: string;
  /** Include the last lines of every engine. */
  readonly withLogs?: boolean;
}

/** Runs `support-bundle`. What cannot be had is said in the file; no agent needs to run. */
export async function supportBundle(
  context: CommandContext,
  options: SupportBundleOptions,
): Promise<number> {
  const client = createControlClient({ socketPath: context.socketPath });
  const status = await orError(() => client.status());
  const bundle = redact({
    kind: 'SupportBundle',
    host: {
      platform: process.platform,
      kernel: release(),
      arch: arch(),
      node: process.version,
      cpus: cpus().length,
      memoryBytes: totalmem(),
    },
    status,
    fleet: await orError(() => client.fleet()),
    plan: await orError(() => client.plan()),
    events: await orError(() => client.events()),
    logs: options.withLogs === true ? await logsOf(client, status) : 'left out; see --with-logs',
  });
  const file = context.resolve(options.out ?? 'aim-gpu-support.json.gz');
  await writeFile(file, gzipSync(JSON.stringify(bundle, null, 1)), { mode: 0o600 });
  if (context.json) context.print({ file });
  else context.say(`${file}\nlook through it before you send it: zless ${file}`);
  return 0;
}

async function logsOf(client: ControlClient, status: unknown): Promise<object> {
  const { instances = [] } = status as { instances?: readonly { readonly instance: string }[] };
  const entries = await Promise.all(
    instances.map(async ({ instance }) => [instance, await orError(() => client.logs(instance))]),
  );
  return Object.fromEntries(entries);
}

async function orError(read: () => Promise<unknown>): Promise<unknown> {
  try {
    return await read();
  } catch (error) {
    return { error: toErrorDocument(toAimError(error)) };
  }
}

/** What `status --json` says, as far as tests look at it. */
import { run } from './command.js';

/** One instance. */
interface InstanceView {
  readonly instance: string;
  readonly workload: string;
  readonly state: string;
  readonly pid: number;
  readonly restarts: number;
  readonly endpoint: { readonly host: string; readonly port: number } | null;
}

/** The node. */
export interface NodeView {
  readonly state: string;
  readonly fleet: string;
  readonly plan: string;
  readonly cards: readonly { readonly layout: { readonly compute: string } }[];
  readonly instances: readonly InstanceView[];
}

/** Reads it. */
export async function viewNode(stateDirectory: string): Promise<NodeView> {
  const ended = await run(['status', '--json', '--state-dir', stateDirectory]);
  return JSON.parse(ended.stdout) as NodeView;
}

/** Process ids by instance. */
export function pidsOf(view: NodeView): Readonly<Record<string, number>> {
  return Object.fromEntries(view.instances.map(({ instance, pid }) => [instance, pid]));
}

/** A TCP port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const { createServer } = await import('node:net');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

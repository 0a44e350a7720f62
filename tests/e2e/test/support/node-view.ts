/** What the node says of itself on its control socket, as far as tests look at it. */
import { request } from 'node:http';
import path from 'node:path';

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

/** Reads it, as `status --json` does, without a process for each look. Rejects when nobody listens. */
export function viewNode(stateDirectory: string): Promise<NodeView> {
  const socketPath = path.join(stateDirectory, 'aim-gpu.sock');
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path: '/v1/status', agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        text += part;
      });
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 200) resolve(JSON.parse(text) as NodeView);
        else reject(new Error(`status ${response.statusCode}: ${text}`));
      });
    });
    asked.setTimeout(10_000, () => asked.destroy(new Error('no answer within 10 s')));
    asked.on('error', reject);
    asked.end();
  });
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

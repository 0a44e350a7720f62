// One proxy in a process of its own, so that its CPU time is its own: `proxy-process.ts <name> <port> <upstream port>`.
import {
  cardId,
  type Endpoint,
  type EndpointDirectory,
  type InstanceId,
  nodeName,
  silentLogger,
  systemClock,
  systemIds,
  workloadName,
} from '@aim-gpu/core';
import { createMetrics } from '@aim-gpu/metrics';
import { createGateway, resolveTenants } from '../src/index.js';
import { PEERS } from './peers.js';

/** The gateway as `up` composes it: real metrics, a tenant with a key and limits, QoS on. */
async function startGateway(port: number, upstreamPort: number): Promise<void> {
  const workload = workloadName('m');
  const endpoint: Endpoint = {
    instance: 'm-0' as InstanceId,
    workload,
    address: { host: '127.0.0.1', port: upstreamPort },
    node: nodeName('node-a'),
    card: cardId('0000:0c:00.0'),
    partition: 0,
    state: 'ready',
    maxNumSeqs: 1024,
    kvCapacityTokens: 10_000_000,
  };
  const model = {
    workload,
    aliases: [],
    adapters: [],
    band: 'interactive' as const,
    fallback: null,
    maxModelLen: 32_768,
  };
  const directory: EndpointDirectory = {
    models: () => [model],
    endpoints: () => [endpoint],
    request: () => Promise.resolve(),
    subscribe: () => () => undefined,
  };
  const tenants = await resolveTenants(
    [
      {
        name: 'team' as never,
        keys: [{ kind: 'env', name: 'KEY' }],
        weight: 1,
        bands: ['interactive', 'standard'],
        limits: {
          requestsPerMinute: 100_000_000,
          inputTokensPerMinute: 1e12,
          outputTokensPerMinute: 1e12,
          concurrent: 100_000,
        },
      },
    ],
    { env: { KEY: 'sk-bench' } },
  );
  const metrics = createMetrics();
  const gateway = createGateway({
    directory,
    tenants,
    clock: systemClock,
    ids: systemIds,
    logger: silentLogger,
    metrics,
    exposition: () => metrics.exposition(),
    listen: { host: '127.0.0.1', port },
    adminListen: { host: '127.0.0.1', port: 0 },
  });
  await gateway.start();
}

const [name = '', port = '', upstreamPort = ''] = process.argv.slice(2);
const peer = PEERS[name];
if (peer === undefined) await startGateway(Number(port), Number(upstreamPort));
else await peer(Number(port), `http://127.0.0.1:${upstreamPort}`);
process.send?.('up');

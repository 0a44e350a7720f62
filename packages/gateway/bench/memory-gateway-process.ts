// The gateway of the memory bench in a process of its own, as `up` composes it: `memory-gateway-process.ts <port>
// <upstream port> <directory>`. Says what it holds whenever it is asked.
import {
  type Clock,
  cardId,
  type Endpoint,
  type EndpointDirectory,
  type InstanceId,
  nodeName,
  silentLogger,
  systemClock,
  systemIds,
  tenantName,
  workloadName,
} from '@aim-gpu/core';
import { createFileStateStore } from '@aim-gpu/core/node';
import { createMetrics } from '@aim-gpu/metrics';
import { createGateway, resolveTenants } from '../src/index.js';

const [port = '', upstreamPort = '', directory = ''] = process.argv.slice(2);

let armed = 0;
/** The host's clock, and how many of its timers are armed. */
const clock: Clock = {
  ...systemClock,
  timer: (ms, callback) => {
    let isArmed = true;
    armed += 1;
    const cancel = systemClock.timer(ms, () => {
      isArmed = false;
      armed -= 1;
      callback();
    });
    return () => {
      if (isArmed) armed -= 1;
      isArmed = false;
      cancel();
    };
  },
};

const workload = workloadName('m');
const endpoint: Endpoint = {
  instance: 'm-0' as InstanceId,
  workload,
  address: { host: '127.0.0.1', port: Number(upstreamPort) },
  node: nodeName('node-a'),
  card: cardId('0000:0c:00.0'),
  partition: 0,
  state: 'ready',
  maxNumSeqs: 1024,
  kvCapacityTokens: 10_000_000,
};
const served: EndpointDirectory = {
  models: () => [
    {
      workload,
      aliases: [],
      adapters: [],
      band: 'interactive',
      fallback: null,
      maxModelLen: 32_768,
    },
  ],
  endpoints: () => [endpoint],
  request: () => Promise.resolve(),
  subscribe: () => () => undefined,
};
const tenants = await resolveTenants(
  [
    {
      name: tenantName('team'),
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
let ended = 0;
const gateway = createGateway({
  directory: served,
  tenants,
  clock,
  ids: systemIds,
  logger: silentLogger,
  metrics,
  exposition: () => metrics.exposition(),
  listen: { host: '127.0.0.1', port: Number(port) },
  adminListen: { host: '127.0.0.1', port: 0 },
  store: createFileStateStore({ directory, clock }),
  accessLog: () => {
    ended += 1;
  },
});
let warnings = 0;
process.on('warning', () => {
  warnings += 1;
});
await gateway.start();
process.send?.('up');

interface Handle {
  eventNames?(): (string | symbol)[];
  listenerCount?(name: string | symbol): number;
}

/** Listeners on everything that is open: sockets, servers, the channel to the parent, the process. */
function countListeners(): number {
  const inside = process as unknown as { _getActiveHandles(): Handle[] };
  return [process as Handle, ...inside._getActiveHandles()].reduce(
    (sum, handle) =>
      sum +
      (handle.eventNames?.() ?? []).reduce(
        (count, name) => count + (handle.listenerCount?.(name) ?? 0),
        0,
      ),
    0,
  );
}

async function holds(): Promise<Record<string, number>> {
  const { host, port: adminPort } = gateway.adminAddress;
  const read = async (path: string): Promise<Record<string, unknown>> => {
    const headers = { connection: 'close' };
    const response = await fetch(`http://${host}:${adminPort}${path}`, { headers });
    return (await response.json()) as Record<string, unknown>;
  };
  const queues = await read('/v1/queues');
  const requests = await read('/v1/requests');
  // The two connections above have to go before anything is counted.
  await clock.sleep(100);
  globalThis.gc?.();
  const resources = process.getActiveResourcesInfo();
  return {
    permits: Number(queues['inFlight']),
    waiting: Number(queues['waiting']),
    exchanges: (requests['requests'] as unknown[]).length,
    sockets: resources.filter((name) => name === 'TCPSocketWrap').length,
    timers: armed,
    listeners: countListeners(),
    warnings,
    ended,
    heapUsedBytes: process.memoryUsage().heapUsed,
  };
}

process.on('message', () => {
  void holds().then((figures) => process.send?.(figures));
});

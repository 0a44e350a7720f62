/**
 * Speed over the running system: TPOT of one model alone on its partition, sharing the partition with a busy one, and
 * beside a busy one on another partition; each agrees with the speed model's prediction within 15 %.
 *
 * The engines keep to simulated durations on the real clock, so a machine that stands still for a while spoils a
 * measurement: each may be taken three times. A model that disagrees would miss every time.
 */
import { driveLoad } from '@aim-gpu/backends';
import { type EndpointAddress, systemClock, workloadName } from '@aim-gpu/core';
import { findProduct } from '@aim-gpu/core/products';
import { readFleetFile } from '@aim-gpu/fleet';
import { type CardMember, predictTogether, toPartitionSpeed } from '@aim-gpu/performance';
import { createModelLibrary, sizeWorkload } from '@aim-gpu/sizing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPlace, type Place, run } from './support/command.js';
import { type Running, startUp } from './support/running.js';

const FLEET = `apiVersion: aim-gpu/v1alpha1
kind: Fleet
metadata: { name: speed }
nodes:
  - name: node-a
    driver: simulated
    cards: { product: MI300X, count: 1 }
models:
  - { name: one, source: Qwen/Qwen3-8B, concurrency: 16, maxModelLen: 2048, placement: { pin: { node: node-a, card: "0000:0c:00.0", partition: 0 } } }
  - { name: same, source: Qwen/Qwen3-8B, concurrency: 16, maxModelLen: 2048, placement: { pin: { node: node-a, card: "0000:0c:00.0", partition: 0 } } }
  - { name: other, source: Qwen/Qwen3-8B, concurrency: 16, maxModelLen: 2048, placement: { exclusive: true } }
policy: { slowdown: 100% }
`;

const LOAD = { promptTokens: 128, outputTokens: 96, concurrency: 4 };
const ATTEMPTS = 3;
const TOLERANCE = 0.15;

let place: Place;
let file: string;
let up: Running;
let gateway: EndpointAddress;
const instances = new Map<string, InstanceView>();

interface InstanceView {
  readonly instance: string;
  readonly workload: string;
  readonly shares: readonly { readonly partition: number; readonly memoryBytes: number }[];
}

beforeAll(async () => {
  place = createPlace();
  file = place.write('fleet.yaml', FLEET);
  up = await startUp(file, place.stateDirectory);
  const url = new URL(up.ready.gateway);
  gateway = { host: url.hostname, port: Number(url.port) };
  const status = await run(['status', '--json', '--state-dir', place.stateDirectory]);
  for (const view of (JSON.parse(status.stdout) as { instances: InstanceView[] }).instances) {
    instances.set(view.workload, view);
  }
}, 90_000);

afterAll(async () => {
  await up.stop();
  place.remove();
}, 60_000);

/** The prediction for model `one` while those named are as busy as it. */
async function predictedTpotMs(models: readonly string[]): Promise<number> {
  const { fleet } = await readFleetFile(file);
  const library = createModelLibrary();
  const product = findProduct('MI300X');
  if (product === null) throw new Error('MI300X is not in the catalogue');
  const status = await run([
    'gpus',
    '--driver',
    'simulated',
    '--json',
    '--state-dir',
    place.stateDirectory,
  ]);
  const { cards } = JSON.parse(status.stdout) as {
    cards: { layout: { compute: 'DPX'; memory: 'NPS1' }; partitions: { xcds: number }[] }[];
  };
  const card = cards[0];
  if (card === undefined) throw new Error('there is no card');
  const members = await Promise.all(
    models.map(async (model): Promise<CardMember> => {
      const workload = fleet.models.find((entry) => entry.name === workloadName(model));
      const view = instances.get(model);
      const share = view?.shares[0];
      if (workload === undefined || share === undefined) throw new Error(`${model} is not running`);
      const demand = sizeWorkload(workload, await library.load(workload.source));
      const kvBytes = share.memoryBytes - (demand.memory.totalBytes - demand.memory.kvBytes);
      return {
        id: model,
        partitions: [share.partition],
        step: demand.step,
        speed: toPartitionSpeed({
          product,
          xcds: card.partitions[0]?.xcds ?? 0,
          layout: card.layout,
        }),
        traffic: { ...LOAD, arrivals: { kind: 'closed', concurrency: LOAD.concurrency } },
        kvCapacityTokens: Math.floor(kvBytes / demand.kv.bytesPerToken),
        maxNumSeqs: demand.maxNumSeqs,
        maxNumBatchedTokens: demand.maxNumBatchedTokens,
      };
    }),
  );
  const mine = predictTogether(members).find((member) => member.id === 'one');
  if (mine?.together.ok !== true) throw new Error('the load is above capacity');
  return mine.together.tpotMs.mean;
}

/** TPOT of model `one` as a client sees it, while the models named are driven as hard. */
async function measuredTpotMs(busy: readonly string[]): Promise<number> {
  const stop = new AbortController();
  const drive = (model: string, requests: number, signal?: AbortSignal) =>
    driveLoad({
      endpoint: gateway,
      model,
      ...LOAD,
      requests,
      clock: systemClock,
      ...(signal === undefined ? {} : { signal }),
    });
  const background = busy.map((model) => drive(model, 10_000, stop.signal).catch(() => null));
  try {
    // The neighbours' activity is a moving average: let it settle before measuring.
    if (busy.length > 0) await drive('one', LOAD.concurrency);
    const { summary } = await drive('one', 6 * LOAD.concurrency);
    expect(summary.failed).toBe(0);
    return summary.tpotMs?.mean ?? 0;
  } finally {
    stop.abort();
    await Promise.all(background);
  }
}

const SITUATIONS: readonly { readonly name: string; readonly busy: readonly string[] }[] = [
  { name: 'alone on its partition', busy: [] },
  { name: 'sharing its partition with a busy one', busy: ['same'] },
  { name: 'beside a busy one on another partition', busy: ['other'] },
];

describe('TPOT of a model', () => {
  it.each(SITUATIONS)(
    '$name agrees with the prediction',
    { timeout: 120_000 },
    async ({ busy }) => {
      const predicted = await predictedTpotMs(['one', ...busy]);
      const measured: number[] = [];
      while (measured.length < ATTEMPTS) {
        measured.push(await measuredTpotMs(busy));
        if (Math.abs((measured.at(-1) ?? 0) / predicted - 1) <= TOLERANCE) break;
      }
      console.log(
        `predicted ${predicted.toFixed(2)} ms, measured ${measured.map((ms) => ms.toFixed(2)).join(', ')} ms`,
      );
      expect(Math.abs((measured.at(-1) ?? 0) / predicted - 1)).toBeLessThanOrEqual(TOLERANCE);
    },
  );

  it('is much worse on a shared partition than beside another one', {
    timeout: 60_000,
  }, async () => {
    const shared = await predictedTpotMs(['one', 'same']);
    const beside = await predictedTpotMs(['one', 'other']);
    expect(shared / beside).toBeGreaterThan(1.4);
  });
});

/**
 * Builder of whole fleets for tests: one simulated node with one MI300X and one model.
 */
import { cardId, hiveId, nodeName } from '../ids.js';
import { ratio } from '../units.js';
import type { Fleet } from '../workload.js';
import { aWorkload } from './a-workload.js';

/** Makes a fleet of one simulated node, one MI300X and one workload, with the fleet file's default policy; overrides replace whole fields. */
export function aFleet(overrides: Partial<Fleet> = {}): Fleet {
  return {
    name: 'test',
    nodes: [
      {
        name: nodeName('node0'),
        driver: 'simulated',
        cards: [{ id: cardId('0000:0c:00.0'), product: 'MI300X', hive: hiveId('hive0') }],
      },
    ],
    models: [aWorkload()],
    tenants: [],
    policy: {
      objective: 'stable',
      repartition: { allow: true, maxDowntimeMs: 120_000 },
      memoryReserve: ratio(0.02),
      slowdown: ratio(0.1),
    },
    ...overrides,
  };
}

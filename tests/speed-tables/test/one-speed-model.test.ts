/**
 * No second model of speed: only the speed model's package turns a product's peak rates into times, and whoever needs a
 * time imports it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

const root = path.resolve(import.meta.dirname, '../../..');

function sources(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => path.join(directory, file));
}

const files = ['packages', 'examples', 'tests'].flatMap((group) =>
  readdirSync(path.join(root, group)).flatMap((name) => {
    const directory = path.join(root, group, name, 'src');
    try {
      return sources(directory);
    } catch {
      return [];
    }
  }),
);

function containing(pattern: RegExp): string[] {
  return files
    .filter((file) => pattern.test(readFileSync(file, 'utf8')))
    .map((file) => path.relative(root, file))
    .sort();
}

test('peak rates are read by the speed model alone', () => {
  const readers = containing(/\bpeaks\b|memoryBytesPerSecond|[fF]lopsPerSecond/).filter(
    (file) => !file.startsWith('packages/core/src/products/'),
  );
  expect(readers.length).toBeGreaterThan(0);
  expect(readers.filter((file) => !file.startsWith('packages/performance/src/'))).toEqual([]);
});

test('efficiencies and latencies of engines stand in the speed model alone', () => {
  const holders = containing(/weightEfficiency|kvEfficiency|layerMs|prefillEfficiency/);
  expect(holders.filter((file) => !file.startsWith('packages/performance/src/'))).toEqual([]);
});

test.each([
  ['the planner', 'packages/scheduler/src/latency.ts', 'predictTogether'],
  [
    'the simulated engine',
    'packages/backends/src/simulated-engine/engine-core.ts',
    'createEngineSimulation',
  ],
  [
    'co-tenants of the simulated engine',
    'packages/backends/src/simulated-engine/tenancies.ts',
    'coTenantSlowdown',
  ],
  ['overload in simulated time', 'tests/overload/src/engine.ts', 'createEngineSimulation'],
])('%s takes its times from it', (_, file, name) => {
  const text = readFileSync(path.join(root, file), 'utf8');
  expect(text).toMatch(/from '@aim-gpu\/performance'/);
  expect(text).toContain(name);
});

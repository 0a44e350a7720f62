/**
 * Every conformance case over both drivers, each on a fresh machine. Prints the count of each group.
 */
import {
  type ConformanceGroup,
  type ConformanceMachine,
  conformanceCases,
  runConformanceCase,
} from '@aim-gpu/core/testing';
import { afterAll, describe, expect, it } from 'vitest';
import { type OpenConformance, openRocm, openSimulated } from './support/subjects.js';

interface Subjects extends ConformanceMachine {
  /** Groups that are run; all unless said. An older kernel differs in its rules only. */
  readonly groups?: readonly ConformanceGroup[];
}

const LAYOUTS: readonly ConformanceGroup[] = [
  'discovery',
  'sums',
  'legal switch',
  'illegal switch',
  'order of memory and compute',
];
const RULES: readonly ConformanceGroup[] = [
  'busy',
  'permission',
  'read-back',
  'partial change',
  'staged memory',
  'identity',
  'reboot and reload',
  'concurrency',
  'cancel and timeout',
  'watch',
];
const OLDER: readonly ConformanceGroup[] = ['busy', 'staged memory', 'reboot and reload'];
const MACHINES: readonly Subjects[] = [
  { product: 'MI300X', cards: 2, hives: 1, busyScope: 'card', groups: RULES },
  { product: 'MI300X', cards: 2, hives: 2, busyScope: 'node', groups: OLDER },
  { product: 'MI300X', cards: 1, hives: 1, busyScope: 'card', groups: LAYOUTS },
  { product: 'MI355X', cards: 1, hives: 1, busyScope: 'card' },
  { product: 'MI300A', cards: 1, hives: 1, busyScope: 'card' },
  { product: 'MI308X', cards: 1, hives: 1, busyScope: 'card', groups: LAYOUTS },
];
/** The same silicon as one of the others, so that only what is in memory is worth its time. */
const SISTERS: readonly Subjects[] = [
  { product: 'MI325X', cards: 2, hives: 1, busyScope: 'card' },
  { product: 'MI350X', cards: 2, hives: 1, busyScope: 'node' },
];
const DRIVERS: readonly (readonly [string, OpenConformance, readonly Subjects[]])[] = [
  ['simulated in memory', openSimulated, [...MACHINES, ...SISTERS]],
  ['rocm over a materialized tree', openRocm, MACHINES],
];

const counts = new Map<ConformanceGroup, Map<string, number>>();
afterAll(() => {
  const rows = [...counts].map(
    ([group, byDriver]) =>
      `${group}: ${[...byDriver].map(([kind, n]) => `${kind} ${n}`).join(', ')}`,
  );
  console.log(`conformance cases per group\n${rows.join('\n')}`);
});

describe.each(DRIVERS)('%s', (driver, open, machines) => {
  describe.each(machines)('$cards x $product, $hives hives, busy scope $busyScope', (machine) => {
    const { groups } = machine;
    const cases = conformanceCases(machine).filter(
      (one) => groups === undefined || groups.includes(one.group),
    );
    it.each(cases.map((one) => [`${one.group}: ${one.name}`, one] as const))(
      '%s',
      async (_name, one) => {
        const subject = await open(machine);
        try {
          expect(await runConformanceCase(one, subject)).toEqual({ outcome: 'passed' });
        } finally {
          await subject.close();
        }
        const byDriver = counts.get(one.group) ?? new Map<string, number>();
        counts.set(one.group, byDriver);
        const kind = `${driver} ${one.positive ? 'positive' : 'negative'}`;
        byDriver.set(kind, (byDriver.get(kind) ?? 0) + 1);
      },
    );
  });
});

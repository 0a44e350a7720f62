/**
 * Conformance that cannot fail proves nothing: drivers with one rule broken on purpose, and the groups that notice.
 */
import type { GpuDriver } from '@aim-gpu/core';
import {
  type ConformanceGroup,
  type ConformanceMachine,
  conformanceCases,
  runConformanceCase,
} from '@aim-gpu/core/testing';
import type { FileTree } from '@aim-gpu/driver-rocm';
import { describe, expect, it } from 'vitest';
import { type OpenConformance, openRocmWith, openSimulated } from './support/subjects.js';

const MACHINE: ConformanceMachine = { product: 'MI300X', cards: 1, hives: 1, busyScope: 'card' };

/** The simulated driver with some of its calls replaced. */
function simulatedWith(broken: (driver: GpuDriver) => Partial<GpuDriver>): OpenConformance {
  return async (machine) => {
    const subject = await openSimulated(machine);
    return { ...subject, driver: { ...subject.driver, ...broken(subject.driver) } };
  };
}

/** Names of the cases of a group that fail. */
async function failing(open: OpenConformance, group: ConformanceGroup): Promise<readonly string[]> {
  const failed: string[] = [];
  for (const one of conformanceCases(MACHINE).filter((entry) => entry.group === group)) {
    const subject = await open(MACHINE);
    try {
      // A driver that throws where it must not has failed as well.
      const result = await runConformanceCase(one, subject).catch(() => null);
      if (result?.outcome !== 'passed') failed.push(one.name);
    } finally {
      await subject.close();
    }
  }
  return failed;
}

describe('the simulated driver with one rule broken', () => {
  const breaks: readonly [string, ConformanceGroup, OpenConformance][] = [
    [
      'says ok and switches nothing',
      'read-back',
      simulatedWith((driver) => ({
        setComputeMode: (_card, _mode, call) => driver.discover(call),
      })),
    ],
    [
      'ignores the generation',
      'concurrency',
      simulatedWith((driver) => ({
        setComputeMode: async (card, mode, call) =>
          driver.setComputeMode(card, mode, {
            ...call,
            expect: (await driver.discover()).generation,
          }),
      })),
    ],
    [
      'reloads when it should only stage',
      'staged memory',
      simulatedWith((driver) => ({
        stageMemoryMode: async (card, mode, call) => {
          const { generation } = await driver.stageMemoryMode(card, mode, call);
          return driver.reload({ expect: generation });
        },
      })),
    ],
    ['names no holders', 'busy', simulatedWith(() => ({ holders: () => Promise.resolve([]) }))],
    ['tells nothing', 'watch', simulatedWith(() => ({ watch: () => () => undefined }))],
    [
      'counts a card twice',
      'sums',
      simulatedWith((driver) => ({
        discover: async (call) => {
          const inventory = await driver.discover(call);
          const cards = inventory.cards.map((card) => ({
            ...card,
            partitions: [...card.partitions, ...card.partitions],
          }));
          return { ...inventory, cards };
        },
      })),
    ],
  ];
  it.each(breaks)('%s: %s notices', async (_name, group, open) => {
    expect(await failing(openSimulated, group)).toEqual([]);
    expect(await failing(open, group)).not.toEqual([]);
  });
});

describe('the driver of real cards with one rule broken', () => {
  const breaks: readonly [string, ConformanceGroup, (files: FileTree) => FileTree][] = [
    [
      'takes every write for done',
      'busy',
      (files) => ({
        ...files,
        write: async (file, text) => {
          await files.write(file, text);
          return null;
        },
      }),
    ],
    [
      'reads its own wish instead of the card',
      'read-back',
      (files) => {
        const wishes = new Map<string, string>();
        return {
          ...files,
          read: async (file) => {
            const wish = wishes.get(file);
            return wish === undefined ? files.read(file) : { kind: 'text', text: wish };
          },
          write: (file, text) => {
            wishes.set(file, text);
            return files.write(file, text);
          },
        };
      },
    ],
    [
      'sees no process',
      'busy',
      (files) => ({
        ...files,
        list: (directory) =>
          directory.startsWith('proc')
            ? Promise.resolve({ kind: 'absent' })
            : files.list(directory),
      }),
    ],
  ];
  it.each(breaks)('%s: %s notices', async (_name, group, alter) => {
    expect(await failing(openRocmWith(alter), group)).not.toEqual([]);
  });
});

/**
 * The tool's word against the kernel's: what is said when they differ, and which of them is right (by the rules for
 * contradictions between sources).
 */
import { nodeName, systemClock } from '@aim-gpu/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createRocmDriver, crossCheck, parseAmdSmi } from '../src/index.js';
import { writeFullNode } from './support/full-node.js';
import { capture, createTree, type TestTree } from './support/trees.js';

let tree: TestTree;
beforeEach(() => {
  tree = createTree();
  writeFullNode(tree);
});
afterEach(() => tree.remove());

const BUSES = ['05', '27', '47', '65', '85', 'a7', 'c7', 'e5'];
/** What amd-smi says of the full node of 64 partitions. */
const LIST = BUSES.flatMap((bus, card) =>
  Array.from({ length: 8 }, (_, partition) => ({
    gpu: 8 * card + partition,
    bdf: `0000:${bus}:00.${partition}`,
    partition_id: partition,
  })),
);
const modes = (
  change: (row: Record<string, unknown>) => Record<string, unknown> = (row) => row,
) => ({
  current_partition: LIST.map(({ gpu, partition_id }) =>
    change({
      gpu_id: gpu,
      memory: 'NPS4',
      accelerator_type: 'CPX',
      partition_id: String(partition_id),
    }),
  ),
});

async function check(...documents: readonly unknown[]): Promise<readonly string[]> {
  const driver = createRocmDriver({ node: nodeName('n'), clock: systemClock, root: tree.root });
  const reports = documents.map((document) => parseAmdSmi(JSON.stringify(document)));
  const problems = crossCheck({ inventory: await driver.discover(), reports });
  return problems.map((problem) => `${problem.code}: ${problem.message}`);
}

describe('agreement', () => {
  it('says nothing', async () => {
    expect(await check(LIST, modes())).toEqual([]);
    expect(await check()).toEqual([]);
  });

  it('includes secondaries that say N/A, or mirror their primary', async () => {
    const silent = modes((row) =>
      row['partition_id'] === '0' ? row : { ...row, memory: 'N/A', accelerator_type: 'N/A' },
    );
    expect(await check(LIST, silent)).toEqual([]);
  });

  it('includes the whole card’s memory on its first partition, and MiB', async () => {
    const memory = LIST.map((gpu) => ({
      ...gpu,
      vram: { size: { value: gpu.partition_id === 0 ? 196_592 : 24_574, unit: 'MB' } },
    }));
    expect(await check(memory)).toEqual([]);
  });
});

describe('disagreement', () => {
  it('about a mode: sysfs is right, and secondaries are not asked', async () => {
    const wrong = modes((row) => ({
      ...row,
      accelerator_type: (row['gpu_id'] as number) < 8 ? 'SPX' : 'CPX',
    }));
    expect(await check(LIST, wrong)).toEqual([
      'TOOL_MODE_DISAGREES: compute mode of 0000:05:00.0: sysfs says CPX, the tool SPX; sysfs is right',
    ]);
  });

  it('about the number of partitions: KFD is right', async () => {
    expect(await check(LIST.slice(0, 63))).toEqual([
      'TOOL_PARTITIONS_DISAGREE: 0000:e5:00.0: KFD shows 8 partitions and the tool 7; KFD is right once a switch has settled',
    ]);
  });

  it('about a card: the kernel is right', async () => {
    const [first, ...rest] = await check(LIST.slice(8), [{ gpu: 64, bdf: '0000:f5:00.0' }]);
    expect(first).toMatch(/^TOOL_LACKS_CARD: 0000:05:00\.0 /);
    expect(rest).toEqual([expect.stringMatching(/^TOOL_ONLY_CARD: the tool shows 0000:f5:00\.0/)]);
  });

  it('about a capacity: KFD is right', async () => {
    const memory = LIST.map((gpu) => ({ ...gpu, vram: { size: { value: 49_148, unit: 'MB' } } }));
    const said = await check(memory);
    expect(said).toHaveLength(64);
    expect(said[1]).toBe(
      'TOOL_MEMORY_DISAGREES: memory of 0000:05:00.0 partition 1: KFD says 25767706624 bytes, the tool 51535413248; KFD is right',
    );
  });
});

describe('profiles', () => {
  const profiles = (rows: readonly (readonly [string, string])[]) => ({
    partition_profiles: rows.map(([type, caps], index) => ({
      gpu_id: 0,
      profile_index: index,
      memory_partition_caps: caps,
      accelerator_type: type,
      num_partitions: 1,
    })),
  });

  it('that the files offer as well are no news, nor are those without memory modes', async () => {
    const known = profiles([
      ['SPX', 'NPS1'],
      ['DPX', 'NPS1,NPS2'],
      ['CPX*', 'NPS1,NPS4'],
      ['TPX', 'N/A'],
    ]);
    expect(await check(LIST, known)).toEqual([]);
  });

  it('that the files do not offer are told and not used', async () => {
    expect(await check(LIST, profiles([['CPX*', 'NPS1,NPS2,NPS4']]))).toEqual([
      "TOOL_PROFILES_DISAGREE: 0000:05:00.0: the tool lists CPX/NPS2, which the kernel's files do not offer: they are not used",
    ]);
  });
});

it('capture 39 is of another machine: its cards are not these', async () => {
  const said = await check(JSON.parse(capture('39-amd-smi-uuid-by-bdf-mi355x.json')));
  // Three addresses are cards of both; seen as one partition each.
  expect(said.filter((line) => line.startsWith('TOOL_LACKS_CARD')).length).toBe(4);
  expect(said.filter((line) => line.startsWith('TOOL_ONLY_CARD')).length).toBe(4);
});

/**
 * Every file that discovery reads × everything that a file can be instead: each is a problem with code and place, the
 * rest of the node is read as before, and nothing is guessed.
 */

import type { Inventory } from '@aim-gpu/core';
import { nodeName, systemClock } from '@aim-gpu/core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { discoverCards } from '../../src/discovery.js';
import { createHostFiles } from '../../src/host-files.js';
import { createRocmDriver } from '../../src/index.js';
import { driverDirectory, FULL_NODE, writeFullNode } from '../support/full-node.js';
import { createTree, type TestTree } from '../support/trees.js';

const NODES = 'sys/class/kfd/kfd/topology/nodes';
const NODE = nodeName('n');
const MIB = 2 ** 20;

let tree: TestTree;
/** What the file under test held; it is put back afterwards, since a whole node takes long to write. */
let whole: { readonly file: string; readonly text: string } | null = null;
beforeAll(() => {
  tree = createTree();
  writeFullNode(tree);
});
afterEach(() => {
  if (whole === null) return;
  tree.removeFile(whole.file);
  tree.write(whole.file, whole.text);
  whole = null;
});
afterAll(() => tree.remove());

const take = (file: string): string => {
  whole = { file, text: tree.readFile(file) };
  return whole.text;
};

const discover = async (): Promise<Inventory> =>
  createRocmDriver({ node: NODE, clock: systemClock, root: tree.root }).discover();

const CARD = driverDirectory(0);
const FILES = [
  `${NODES}/2/properties`,
  `${NODES}/2/mem_banks/0/properties`,
  ...[
    'vendor',
    'device',
    'current_compute_partition',
    'current_memory_partition',
    'available_compute_partition',
    'available_memory_partition',
    'numa_node',
    'mem_info_vram_total',
  ].map((name) => `${CARD}/${name}`),
];

type Break = (file: string, text: string) => void;
const replace =
  (make: Break): Break =>
  (file, text) => {
    tree.removeFile(file);
    make(file, text);
  };
const BREAKS: Readonly<Record<string, Break>> = {
  empty: (file) => tree.write(file, ''),
  '1 MiB of junk': (file) => tree.write(file, 'x9\n'.repeat(MIB / 3)),
  binary: (file) => tree.write(file, new Uint8Array([0, 255, 10, 7, 0])),
  'half a line': (file, text) =>
    tree.write(file, text.slice(0, Math.ceil(text.trimEnd().length / 2))),
  'a symlink loop': replace((file) => tree.link(file, file.split('/').at(-1) ?? '')),
  'a directory': replace((file) => tree.write(`${file}/inside`, '')),
  'a named pipe': replace((file) => tree.pipe(file)),
};
/** A single digit has no half, and half of an id, `0x10`, is another vendor’s or none. */
const NO_HALF: readonly string[] = [`${CARD}/numa_node`];

describe.each(Object.entries(BREAKS))('%s in place of', (name, damage) => {
  const files = FILES.filter((file) => name !== 'half a line' || !NO_HALF.includes(file));

  it.each(files)('%s', async (file) => {
    const before = await discover();
    damage(file, take(file));
    const after = await discover();
    const fresh = after.problems.filter(
      (problem) => !before.problems.some((old) => old.message === problem.message),
    );
    // The file itself is named; what is missing because of it may be told too.
    expect(fresh.map((problem) => problem.where)).toContain(file);
    expect(fresh.every((problem) => problem.code !== '' && problem.message !== '')).toBe(true);
    // The other seven cards are as they were.
    expect(after.cards.slice(1)).toEqual(before.cards.slice(1));
    expect(after.cards).toHaveLength(FULL_NODE.cards);
    const [was, is] = [before.cards[0], after.cards[0]];
    for (const key of ['product', 'hive', 'numaNode', 'memoryBytes'] as const)
      expect([was?.[key], null]).toContain(is?.[key] ?? null);
    expect([was?.layout.compute, null]).toContain(is?.layout.compute);
    expect([was?.layout.memory, null]).toContain(is?.layout.memory);
    for (const partition of is?.partitions ?? []) {
      const old = was?.partitions.find((entry) => entry.index === partition.index);
      expect([old?.memoryBytes, null]).toContain(partition.memoryBytes);
      expect({ ...partition, memoryBytes: null }).toEqual({ ...old, memoryBytes: null });
    }
  });
});

describe('CRLF in place of LF', () => {
  it.each(FILES)('changes nothing in %s', async (file) => {
    const before = await discover();
    tree.write(file, take(file).replaceAll('\n', '\r\n'));
    expect(await discover()).toEqual(before);
  });
});

describe('a file that vanishes between list and read', () => {
  it.each(FILES)('%s is missing, and told where that matters', async (file) => {
    const before = await discover();
    const files = createHostFiles(tree.root);
    const { inventory } = await discoverCards({
      node: NODE,
      tree: {
        ...files,
        read: (asked) => (asked === file ? Promise.resolve({ kind: 'absent' }) : files.read(asked)),
      },
    });
    const told = inventory.problems.length > before.problems.length;
    // The kernel has the one only where there is a choice, and the other is never missed.
    const optional = /\/(?:vendor|available_memory_partition)$/.test(file);
    expect(told).toBe(!optional);
    expect(inventory.cards).toHaveLength(FULL_NODE.cards);
  });
});

it('reads no file twice on a full node', async () => {
  const files = createHostFiles(tree.root);
  const seen: string[] = [];
  await discoverCards({
    node: NODE,
    tree: {
      ...files,
      read: (file) => {
        seen.push(file);
        return files.read(file);
      },
      list: (directory) => {
        seen.push(`${directory}/`);
        return files.list(directory);
      },
    },
  });
  expect(seen.length).toBeGreaterThan(190);
  expect(seen.filter((file, index) => seen.indexOf(file) !== index)).toEqual([]);
});

describe('trees of', () => {
  it('0 nodes have no card and no problem', async () => {
    const empty = createTree();
    const driver = createRocmDriver({ node: NODE, clock: systemClock, root: empty.root });
    expect(await driver.discover()).toMatchObject({ cards: [], problems: [] });
    empty.write(`${NODES}/generation_id`, '1\n');
    expect(await driver.discover()).toMatchObject({ cards: [], problems: [] });
    empty.remove();
  });

  it('1,000 nodes are read whole, no file twice', async () => {
    const properties = tree.readFile(`${NODES}/2/properties`);
    for (let node = 100; node < 1100; node += 1) {
      const [domain, place] = [Math.floor(node / 250) + 1, (node % 250) * 0x100];
      tree.write(
        `${NODES}/${node}/properties`,
        properties
          .replace(/location_id \d+/, `location_id ${place}`)
          .replace(/domain \d+/, `domain ${domain}`),
      );
    }
    const files = createHostFiles(tree.root);
    const seen: string[] = [];
    const note =
      <T>(read: (file: string) => T) =>
      (file: string): T => {
        seen.push(file);
        return read(file);
      };
    const { inventory } = await discoverCards({
      node: NODE,
      tree: { ...files, read: note(files.read), readHead: note(files.readHead) },
    });
    expect(inventory.cards).toHaveLength(1000 + FULL_NODE.cards);
    expect(new Set(seen).size).toBe(seen.length);
  });
});

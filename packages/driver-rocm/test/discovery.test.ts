/**
 * Discovery over captures of real machines, and over what a machine can do to its reader.
 */
import { nodeName, systemClock } from '@aim-gpu/core';
import { createManualClock } from '@aim-gpu/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { discoverCards } from '../src/discovery.js';
import { createHostFiles } from '../src/host-files.js';
import { createRocmDriver } from '../src/index.js';
import {
  capture,
  createTree,
  type TestTree,
  writeBank,
  writePartitionFiles,
  writePlatformDevice,
  writeTopology,
} from './support/trees.js';

const DRIVER = 'sys/module/amdgpu/drivers/pci:amdgpu/0000:05:00.0';
const NODES = 'sys/class/kfd/kfd/topology/nodes';

let tree: TestTree;
beforeEach(() => {
  tree = createTree();
});
afterEach(() => tree.remove());

const open = () =>
  createRocmDriver({ node: nodeName('node0'), clock: systemClock, root: tree.root });

describe('capture 09 (grade C): 8 MI300X in CPX, a BMC took the 64th minor', () => {
  beforeEach(() => writeTopology(tree));

  it('shows 8 cards of one hive with 63 partitions', async () => {
    const { cards } = await open().discover();
    expect(cards).toHaveLength(8);
    expect(cards.every((card) => card.product === 'MI300X')).toBe(true);
    expect(new Set(cards.map((card) => card.hive))).toEqual(new Set(['0xd2ca1ad46147c377']));
    expect(cards.reduce((sum, card) => sum + card.partitions.length, 0)).toBe(63);
    expect(cards.map((card) => card.id).slice(0, 2)).toEqual(['0000:05:00.0', '0000:27:00.0']);
  });

  it('derives CPX from the counts, and says nothing of the memory mode', async () => {
    const { cards } = await open().discover();
    expect(cards.map((card) => card.layout)).toEqual(
      Array.from({ length: 8 }, () => ({ compute: 'CPX', memory: null })),
    );
  });

  it('numbers partitions and render nodes as the kernel does, 128 + 8i', async () => {
    const { cards } = await open().discover();
    expect(
      cards[1]?.partitions.map(({ index, renderMinor, kfdNode }) => [index, renderMinor, kfdNode]),
    ).toEqual(Array.from({ length: 8 }, (_, index) => [index, 136 + index, 10 + index]));
    expect(cards[0]?.partitions[0]).toMatchObject({ xcds: 1, computeUnits: 38 });
  });

  it('gives no partition a uuid: a card’s partitions share one', async () => {
    const { cards } = await open().discover();
    expect(
      cards.flatMap((card) => card.partitions).every((partition) => partition.uuid === null),
    ).toBe(true);
  });

  it('reads no file twice', async () => {
    for (let node = 2; node < 65; node += 1) writeBank(tree, node);
    const files = createHostFiles(tree.root);
    const read: string[] = [];
    const { inventory } = await discoverCards({
      node: nodeName('node0'),
      tree: {
        ...files,
        read: (file) => {
          read.push(file);
          return files.read(file);
        },
      },
    });
    expect(inventory.cards).toHaveLength(8);
    expect(read.length).toBeGreaterThan(120);
    expect(new Set(read).size).toBe(read.length);
  });

  it('names the partition that is missing, and why that happens', async () => {
    const { problems } = await open().discover();
    const missing = problems.filter((problem) => problem.code === 'PARTITION_MISSING');
    expect(missing).toHaveLength(1);
    expect(missing[0]?.message).toMatch(/0000:e5:00\.0.*7 of 8.*missing: 7.*DRM minors/);
  });
});

describe('captures 10 and 21 (grade V): one partition of an MI300X', () => {
  it('has the capacity that the driver caps it to: 24574 MiB', async () => {
    tree.write(`${NODES}/2/properties`, capture('10-kfd-node2-properties-mi300x-cpx.txt'));
    writeBank(tree, 2);
    const { cards } = await open().discover();
    expect(cards[0]?.partitions[0]?.memoryBytes).toBe(25_767_706_624);
    expect(25_767_706_624 / 2 ** 20).toBe(24_574);
    expect(cards[0]).toMatchObject({ memoryBytes: null, product: 'MI300X' });
  });
});

describe('capture 26 (grade V): the partition files of an MI300X in SPX', () => {
  beforeEach(() => writePartitionFiles(tree));

  it('are the layout, and what the card offers', async () => {
    tree.write(`${DRIVER}/device`, '0x74a1\n');
    tree.write(`${DRIVER}/vendor`, '0x1002\n');
    const { cards, problems } = await open().discover();
    expect(cards[0]).toMatchObject({
      id: '0000:05:00.0',
      product: 'MI300X',
      layout: { compute: 'SPX', memory: 'NPS1' },
      writable: true,
    });
    const offered = cards[0]?.offered?.map(({ compute, memory }) => `${compute}/${memory}`);
    expect(offered).toEqual([
      'SPX/NPS1',
      'DPX/NPS1',
      'DPX/NPS2',
      'QPX/NPS1',
      'QPX/NPS4',
      'CPX/NPS1',
      'CPX/NPS4',
    ]);
    expect(problems.map((problem) => problem.code)).toEqual(['SYSFS_FILE_ABSENT', 'KFD_ABSENT']);
  });

  it('win over what the counts would allow', async () => {
    writeTopology(tree);
    const { cards, problems } = await open().discover();
    expect(cards[0]?.layout).toEqual({ compute: 'SPX', memory: 'NPS1' });
    const disagreement = problems.find((problem) => problem.code === 'LAYOUT_DISAGREES');
    expect(disagreement?.message).toMatch(/0000:05:00\.0 says it is in SPX.*1 partitions.*shows 8/);
  });

  it('without a device id leave the product open', async () => {
    const { cards } = await open().discover();
    expect(cards[0]).toMatchObject({ product: null, offered: null, writable: false });
  });
});

describe('capture 23 (grade X): a platform device named with a dot, amdgpu_xcp.29', () => {
  it('is no card by itself: nothing in it names one', async () => {
    writePlatformDevice(tree);
    expect(await open().discover()).toMatchObject({ cards: [], problems: [] });
  });

  it('changes nothing of what KFD says of its render node 162: partition 2 of the fifth card', async () => {
    writePlatformDevice(tree);
    writeTopology(tree);
    const { cards } = await open().discover();
    expect(cards[4]?.partitions[2]).toMatchObject({ index: 2, renderMinor: 162 });
  });
});

describe('trees put together by hand', () => {
  const card = (name: string, files: Record<string, string>): void => {
    for (const [file, content] of Object.entries(files))
      tree.write(`sys/class/drm/${name}/device/${file}`, content);
  };

  it('of a thousand nodes are read, with few files open at a time', async () => {
    const properties = capture('10-kfd-node2-properties-mi300x-cpx.txt');
    for (let node = 0; node < 1000; node += 1) {
      const location = 0x100 * (node % 250) + (node % 8);
      tree.write(
        `${NODES}/${node}/properties`,
        properties
          .replace(/location_id \d+/, `location_id ${location}`)
          .replace(/domain \d+/, `domain ${Math.floor(node / 250)}`),
      );
    }
    const { cards, problems } = await open().discover();
    expect(cards).toHaveLength(1000);
    expect([...new Set(problems.map((problem) => problem.code))].toSorted()).toEqual([
      'KFD_BANK_ABSENT',
      'PARTITION_MISSING',
      'SYSFS_CARD_ABSENT',
    ]);
  });

  it('find cards through the DRM class by uevent, and leave other vendors out', async () => {
    card('card1', {
      uevent: 'DRIVER=amdgpu\nPCI_SLOT_NAME=0000:0C:00.0\n',
      vendor: '0x1002',
      device: '0x74a1',
      numa_node: '1\n',
      mem_info_vram_total: '206141652992\n',
    });
    card('card0', { uevent: 'PCI_SLOT_NAME=0000:03:00.0\n', vendor: '0x1a03' });
    card('card2', { uevent: 'nothing\n' });
    const { cards } = await open().discover();
    expect(cards).toHaveLength(1);
    expect(cards[0]).toMatchObject({
      id: '0000:0c:00.0',
      numaNode: 1,
      memoryBytes: 206_141_652_992,
    });
  });

  it('show no uuid for one partition of several, and one for a whole card', async () => {
    const properties = capture('10-kfd-node2-properties-mi300x-cpx.txt');
    tree.write(`${NODES}/2/properties`, properties);
    expect((await open().discover()).cards[0]?.partitions[0]?.uuid).toBeNull();
    tree.write(`${NODES}/2/properties`, properties.replace(/num_xcc \d+/, 'num_xcc 8'));
    const [whole] = (await open().discover()).cards;
    expect(whole).toMatchObject({ layout: { compute: 'SPX', memory: null } });
    expect(whole?.partitions[0]?.uuid).toMatch(/^GPU-[0-9a-f]{16}$/);
  });

  it('bear ids and addresses that no machine has', async () => {
    const properties = capture('10-kfd-node2-properties-mi300x-cpx.txt');
    const long = '9'.repeat(40);
    tree.write(
      `${NODES}/2/properties`,
      properties
        .replace(/hive_id \d+/, `hive_id ${long}`)
        .replace(/unique_id \d+/, 'unique_id 18446744073709551616')
        .replace(/device_id \d+/, `device_id ${long}`)
        .replace(/drm_render_minor \d+/, 'drm_render_minor 0'),
    );
    tree.write(`${NODES}/3/properties`, properties.replace(/domain \d+/, 'domain 4294967296'));
    const { cards, problems } = await open().discover();
    expect(cards).toHaveLength(1);
    expect(cards[0]).toMatchObject({ hive: null, product: null, layout: { compute: null } });
    expect(cards[0]?.partitions[0]).toMatchObject({ renderMinor: null, uuid: null });
    expect(problems.map((problem) => problem.code)).toEqual([
      'KFD_NODE_INVALID',
      'PRODUCT_UNKNOWN',
      'SYSFS_CARD_ABSENT',
      'KFD_BANK_ABSENT',
      'KFD_MINOR_ABSENT',
    ]);
  });

  it('offer nothing known where the memory mode is not said', async () => {
    card('card1', {
      uevent: 'PCI_SLOT_NAME=0000:0c:00.0\n',
      vendor: '0x1002',
      device: '0x74a1',
      available_compute_partition: 'SPX, DPX, QPX, CPX\n',
    });
    expect((await open().discover()).cards[0]?.offered).toBeNull();
  });

  it('recognise virtual functions as read-only', async () => {
    card('card1', { uevent: 'PCI_SLOT_NAME=0000:0c:00.0\n', vendor: '0x1002', device: '0x74b5' });
    const { cards } = await open().discover();
    expect(cards[0]).toMatchObject({ product: 'MI300X', writable: false });
  });

  it('tell newer kernels’ partition bits from older ones’ function bits', async () => {
    const properties = capture('10-kfd-node2-properties-mi300x-cpx.txt');
    for (const [node, location] of [
      [2, 0x10000500],
      [3, 0x20000500],
    ] as const) {
      const unique = `unique_id ${1000 + node}`;
      tree.write(
        `${NODES}/${node}/properties`,
        properties
          .replace(/location_id \d+/, `location_id ${location}`)
          .replace(/unique_id \d+/, unique),
      );
    }
    const { cards } = await open().discover();
    expect(cards[0]?.partitions.map(({ index, uuid }) => [index, uuid])).toEqual([
      [1, 'GPU-00000000000003ea'],
      [2, 'GPU-00000000000003eb'],
    ]);
  });

  const PROPERTIES = `${NODES}/2/properties`;
  const BROKEN: readonly (readonly [string, () => void, string | null])[] = [
    ['an empty file', () => tree.write(PROPERTIES, ''), 'KFD_NODE_INVALID'],
    ['1 MiB of junk', () => tree.write(PROPERTIES, 'x'.repeat(2 ** 20)), 'KFD_NODE_UNREADABLE'],
    ['binary', () => tree.write(PROPERTIES, new Uint8Array([0, 1, 2, 255])), 'KFD_NODE_UNREADABLE'],
    [
      'half a line',
      () => tree.write(PROPERTIES, 'simd_count 152\nvendor_id 4098\nlocation'),
      'KFD_NODE_INVALID',
    ],
    [
      'a directory instead of a file',
      () => tree.write(`${PROPERTIES}/x`, ''),
      'KFD_NODE_UNREADABLE',
    ],
    [
      'a named pipe that nobody writes to',
      () => {
        tree.pipe(PROPERTIES);
      },
      'KFD_NODE_INVALID',
    ],
    ['a symlink loop', () => tree.link(PROPERTIES, 'properties'), 'KFD_NODE_UNREADABLE'],
    ['a node without its file', () => tree.write(`${NODES}/2/name`, ''), 'KFD_NODE_UNREADABLE'],
    [
      'another vendor',
      () => tree.write(PROPERTIES, 'simd_count 152\nvendor_id 4318\nlocation_id 1280\n'),
      null,
    ],
  ];

  it.each(BROKEN)('bear %s', async (_, make, code) => {
    make();
    const { cards, problems } = await open().discover();
    expect(cards).toEqual([]);
    expect(problems.map((problem) => problem.code)).toEqual(code === null ? [] : [code]);
    expect(problems.every((problem) => problem.where.startsWith('sys/'))).toBe(true);
  });

  it('read CRLF as LF', async () => {
    tree.write(
      PROPERTIES,
      capture('10-kfd-node2-properties-mi300x-cpx.txt').replaceAll('\n', '\r\n'),
    );
    expect((await open().discover()).cards).toHaveLength(1);
  });

  it('report a bank without a size and modes nobody knows', async () => {
    tree.write(PROPERTIES, capture('10-kfd-node2-properties-mi300x-cpx.txt'));
    tree.write(`${NODES}/2/mem_banks/0/properties`, 'heap_type 1\nsize_in_bytes many\n');
    tree.write(`${NODES}/2/mem_banks/1/properties`, 'heap_type 3\n');
    tree.write(`${DRIVER}/current_compute_partition`, `ZPX${'z'.repeat(60)}\n`);
    tree.write(`${DRIVER}/current_memory_partition/x`, '');
    const { problems } = await open().discover();
    expect(problems.map((problem) => problem.code).toSorted()).toEqual([
      'KFD_BANK_INVALID',
      'PARTITION_MISSING',
      'SYSFS_FILE_ABSENT',
      'SYSFS_UNREADABLE',
      'SYSFS_VALUE_UNKNOWN',
    ]);
  });
});

describe('the driver', () => {
  it('finds nothing on a host without amdgpu, and that is no problem', async () => {
    expect(await open().discover()).toMatchObject({ driver: 'rocm', cards: [], problems: [] });
  });

  it('has a generation that follows what is observed', async () => {
    writeTopology(tree);
    const before = await open().discover();
    expect((await open().discover()).generation).toBe(before.generation);
    writeBank(tree, 2);
    expect((await open().discover()).generation).not.toBe(before.generation);
  });

  it('lists who holds a card, with pid, command and user (a made-up /proc)', async () => {
    writeTopology(tree);
    tree.link('proc/77/fd/3', '/dev/null');
    tree.link('proc/77/fd/4', '/dev/dri/renderD129');
    tree.write('proc/77/comm', 'vllm\n');
    tree.write('proc/77/status', 'Name:\tvllm\nUid:\t1000\t1000\t1000\t1000\n');
    tree.link('proc/78/fd/3', '/dev/kfd');
    tree.link('proc/79/fd/3', '/dev/dri/renderD140');
    const driver = open();
    const { cards } = await driver.discover();
    const [first] = cards;
    if (first === undefined) throw new Error('the capture has cards');
    expect(await driver.holders(first.id)).toEqual([
      { pid: 77, command: 'vllm', user: '1000', device: '/dev/dri/renderD129' },
      { pid: 78, command: null, user: null, device: '/dev/kfd' },
    ]);
    await expect(driver.holders('0000:ff:00.0' as never)).rejects.toMatchObject({
      code: 'ERR_DEVICE_UNKNOWN',
      kind: 'missing',
    });
  });

  it('heeds its signal', async () => {
    await expect(
      open().discover({ signal: AbortSignal.abort(new Error('stop')) }),
    ).rejects.toThrowError('stop');
  });

  it('goes on watching after its listener has thrown', async () => {
    const clock = createManualClock();
    const driver = createRocmDriver({ node: nodeName('node0'), clock, root: tree.root });
    let calls = 0;
    driver.watch(() => {
      calls += 1;
      throw new Error('the listener is broken');
    });
    const look = async (): Promise<void> => {
      await expect.poll(() => clock.pending(), { timeout: 5000, interval: 2 }).toBe(1);
      await clock.advance(1000);
      // Its reading has ended when the next look is due: nothing is changed under it.
      await expect.poll(() => clock.pending(), { timeout: 5000, interval: 2 }).toBe(1);
    };
    await look();
    writeTopology(tree);
    await look();
    await look();
    writeBank(tree, 2);
    await look();
    await look();
    expect(calls).toBe(2);
    await driver.close();
    await driver.close();
    expect(clock.pending()).toBe(0);
  });

  it('tells of changes while it is watched, and then no more', async () => {
    const clock = createManualClock();
    const driver = createRocmDriver({
      node: nodeName('node0'),
      clock,
      root: tree.root,
      watchIntervalMs: 100,
    });
    const seen: number[] = [];
    const stop = driver.watch(
      ({ before, after }) => void seen.push(after.cards.length - before.cards.length),
    );
    const look = async (): Promise<void> => {
      await expect.poll(() => clock.pending(), { timeout: 5000, interval: 2 }).toBe(1);
      await clock.advance(100);
    };
    await look();
    writeTopology(tree);
    await look();
    await look();
    for (let round = 0; round < 100 && seen.length === 0; round += 1) await look();
    expect(seen).toEqual([8]);
    stop();
    await driver.close();
    await new Promise((resolve) => setTimeout(resolve, 20));
    await clock.advance(1000);
    expect(clock.pending()).toBe(0);
  });
});

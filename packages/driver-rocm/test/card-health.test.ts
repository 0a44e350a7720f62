/**
 * Health, holders and guests: files of which no capture is public, so these trees are put together by hand from the
 * kernel's formats. They prove the reader, not hardware.
 */
import { nodeName, systemClock } from '@aim-gpu/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHostFiles, createRocmDriver, type FileTree } from '../src/index.js';
import { driverDirectory, writeFullNode } from './support/full-node.js';
import { createTree, type TestTree } from './support/trees.js';

const NODES = 'sys/class/kfd/kfd/topology/nodes';
const CARD = driverDirectory(0);

let tree: TestTree;
beforeEach(() => {
  tree = createTree();
  writeFullNode(tree);
});
afterEach(() => tree.remove());

const open = (files?: FileTree) =>
  createRocmDriver({
    node: nodeName('n'),
    clock: systemClock,
    root: tree.root,
    ...(files === undefined ? {} : { files }),
  });
const first = async (files?: FileTree) => (await open(files).health())[0];

describe('health', () => {
  it('is null where the kernel has no such files', async () => {
    const health = await first();
    expect(health).toMatchObject({
      card: '0000:05:00.0',
      resetting: false,
      ras: null,
      retiredPages: null,
      memoryUsedBytes: null,
      memoryAllocation: null,
      hasCleanerShader: false,
    });
    expect(health?.partitions).toHaveLength(8);
    expect(health?.partitions[0]).toEqual({ index: 0, memoryUsedBytes: null, isolated: null });
  });

  it('reads errors of each block, with and without deferred ones', async () => {
    tree.write(`${CARD}/ras/umc_err_count`, 'ue: 0\nce: 12\nde: 3\n');
    tree.write(`${CARD}/ras/gfx_err_count`, 'ue: 1\nce: 0\n');
    tree.write(`${CARD}/ras/sdma_err_count`, 'junk\n');
    tree.write(
      `${CARD}/ras/gpu_vram_bad_pages`,
      '0x0000abcd : 0x00001000 : R\n0x0000abce : 0x00001000 : P\n',
    );
    expect(await first()).toMatchObject({
      ras: [
        { block: 'gfx', uncorrectable: 1, correctable: 0, deferred: null },
        { block: 'umc', uncorrectable: 0, correctable: 12, deferred: 3 },
      ],
      retiredPages: 1,
    });
  });

  it.each([
    ['CAPPING', 'capping'],
    ['EVEN', 'capping'],
    ['ALL', 'all'],
    ['SOMETHING', null],
  ])('knows the allocation mode %s', async (text, mode) => {
    tree.write(`${CARD}/compute_partition_mem_alloc_mode`, `${text}\n`);
    expect((await first())?.memoryAllocation).toBe(mode);
  });

  it('reads isolation of each partition by its place', async () => {
    tree.write(`${CARD}/enforce_isolation`, '0 1 2 x 0 0\n');
    tree.write(`${CARD}/run_cleaner_shader`, '');
    const health = await first();
    expect(health?.hasCleanerShader).toBe(true);
    expect(health?.partitions.map((partition) => partition.isolated)).toEqual([
      false,
      true,
      true,
      null,
      false,
      false,
      null,
      null,
    ]);
  });

  it('takes one number on all partitions for the use of the card (as captured in CPX)', async () => {
    for (let node = 2; node < 10; node += 1)
      tree.write(`${NODES}/${node}/mem_banks/0/used_memory`, '1048576\n');
    const pool = await first();
    expect(pool?.memoryUsedBytes).toBe(1_048_576);
    expect(pool?.partitions.every((partition) => partition.memoryUsedBytes === null)).toBe(true);
    tree.write(`${NODES}/3/mem_banks/0/used_memory`, '2097152\n');
    tree.write(`${CARD}/mem_info_vram_used`, '9437184\n');
    const own = await first();
    expect(own?.memoryUsedBytes).toBe(9_437_184);
    expect(own?.partitions[1]?.memoryUsedBytes).toBe(2_097_152);
  });

  it('and discovery know a card that is being reset: the kernel answers EPERM', async () => {
    const files = createHostFiles(tree.root);
    const resetting: FileTree = {
      ...files,
      read: (file) =>
        file === `${CARD}/current_compute_partition`
          ? Promise.resolve({ kind: 'unreadable', reason: 'EPERM' })
          : files.read(file),
    };
    expect((await first(resetting))?.resetting).toBe(true);
    const { cards, problems } = await open(resetting).discover();
    expect(problems).toMatchObject([
      { code: 'CARD_RESETTING', where: `${CARD}/current_compute_partition` },
    ]);
    // Counts of XCDs allow CPX only.
    expect(cards[0]?.layout).toEqual({ compute: 'CPX', memory: 'NPS4' });
  });
});

describe('holders', () => {
  const holders = async () => {
    const driver = open();
    const [card] = (await driver.discover()).cards;
    if (card === undefined) throw new Error('the node has cards');
    return driver.holders(card.id);
  };

  it('are also those that the compute driver lists, whose files only root could see', async () => {
    for (let node = 2; node < 66; node += 1)
      tree.write(`${NODES}/${node}/gpu_id`, `${1000 + node}\n`);
    tree.write('sys/class/kfd/kfd/proc/500/vram_1002', '4096\n');
    tree.write('sys/class/kfd/kfd/proc/500/pasid', '32770\n');
    tree.write('sys/class/kfd/kfd/proc/501/vram_1060', '4096\n');
    tree.write('sys/class/kfd/kfd/proc/502/vram_1002', '0\n');
    tree.write('proc/500/comm', 'vllm\n');
    expect(await holders()).toEqual([
      { pid: 500, command: 'vllm', user: null, device: '/sys/class/kfd/kfd/proc/500' },
      // It has memory of no card yet: any of them may be next.
      { pid: 502, command: null, user: null, device: '/sys/class/kfd/kfd/proc/502' },
    ]);
  });

  it('of whom the card is unknown count, and are told once', async () => {
    tree.write('sys/class/kfd/kfd/proc/500/vram_7', '4096\n');
    tree.link('proc/500/fd/3', '/dev/kfd');
    tree.link('proc/500/fd/4', '/dev/dri/renderD129');
    expect(await holders()).toEqual([
      { pid: 500, command: null, user: null, device: '/dev/dri/renderD129' },
    ]);
  });
});

describe('guests', () => {
  it('a card passed through to a virtual machine is read-only', async () => {
    tree.write(
      'proc/cpuinfo',
      `processor\t: 0\nflags\t\t: fpu vme hypervisor sse\n${'x'.repeat(2 ** 20)}`,
    );
    const { cards, problems } = await open().discover();
    expect(cards.every((card) => !card.writable)).toBe(true);
    expect(problems.map((problem) => problem.code)).toEqual(
      Array(8).fill('CARD_IS_PASSED_THROUGH'),
    );
  });

  it('bare metal is not', async () => {
    tree.write('proc/cpuinfo', 'processor\t: 0\nflags\t\t: fpu vme sse\n');
    const { cards, problems } = await open().discover();
    expect(cards.every((card) => card.writable)).toBe(true);
    expect(problems).toEqual([]);
  });

  it('an APU has its memory from KFD and one memory mode', async () => {
    tree.write(`${CARD}/device`, '0x74a0\n');
    tree.write(`${CARD}/mem_info_vram_total`, '536870912\n');
    tree.write(`${CARD}/available_compute_partition`, 'SPX, TPX, CPX\n');
    tree.write(`${CARD}/current_memory_partition`, 'NPS1\n');
    tree.removeFile(`${CARD}/available_memory_partition`);
    const [card] = (await open().discover()).cards;
    expect(card).toMatchObject({ product: 'MI300A', memoryBytes: null });
    expect(card?.offered?.map(({ compute, memory }) => `${compute}/${memory}`)).toEqual([
      'SPX/NPS1',
      'TPX/NPS1',
      'CPX/NPS1',
    ]);
  });

  it('a layout that only some firmware has is offered where the card itself lists it', async () => {
    tree.write(`${CARD}/device`, '0x75a3\n');
    tree.write(`${CARD}/current_memory_partition`, 'NPS2\n');
    tree.write(`${CARD}/available_memory_partition`, 'NPS1, NPS2\n');
    const offers = async (list: string): Promise<boolean | undefined> => {
      tree.write(`${CARD}/available_compute_partition`, `${list}\n`);
      const [card] = (await open().discover()).cards;
      return card?.offered?.some((layout) => layout.compute === 'CPX' && layout.memory === 'NPS2');
    };
    expect(await offers('DPX, CPX')).toBe(true);
    expect(await offers('DPX')).toBe(false);
    // An older kernel lists all modes there are, which says nothing of NPS2.
    expect(await offers('SPX, DPX, QPX, CPX')).toBe(false);
  });
});

describe('render nodes', () => {
  it('that KFD shows and the host does not have are told', async () => {
    tree.removeFile('sys/class/drm/renderD130');
    const { problems } = await open().discover();
    expect(problems.map((problem) => `${problem.code} ${problem.message}`)).toEqual([
      'RENDER_NODE_MISSING the host has no such render node as KFD shows of partition 2 of 0000:05:00.0',
    ]);
  });

  it.each(['amdgpu_xcp.2', 'amdgpu_xcp_2'])('of a platform device %s count', async (name) => {
    tree.removeFile('sys/class/drm/renderD130');
    tree.write(`sys/devices/platform/${name}/drm/renderD130/dev`, '226:130\n');
    expect((await open().discover()).problems).toEqual([]);
  });
});

/**
 * A capture of a host, read back, is that host: the same inventory, health and holders, with ids and names replaced.
 */
import { nodeName, systemClock } from '@aim-gpu/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type Capture,
  createCaptureFiles,
  createHostCommands,
  createHostFiles,
  createRocmDriver,
  examineHost,
  formatCapture,
  parseAmdSmi,
  parseCapture,
  recordCapture,
} from '../../src/index.js';
import { driverDirectory, writeFullNode } from '../support/full-node.js';
import {
  capture,
  createTree,
  type TestTree,
  writeAmdSmi,
  writeTopology,
} from '../support/trees.js';

const HOST = 'gpu-host-17';
const NODES = 'sys/class/kfd/kfd/topology/nodes';
const commands = createHostCommands({ clock: systemClock });

let tree: TestTree;
beforeEach(() => {
  tree = createTree();
});
afterEach(() => tree.remove());

const record = async (): Promise<Capture> =>
  parseCapture(
    formatCapture(
      await recordCapture({
        files: createHostFiles(tree.root),
        root: tree.root,
        commands,
        clock: systemClock,
        hide: [HOST, 'alice'],
      }),
    ),
  );
const open = (files?: ReturnType<typeof createCaptureFiles>) =>
  createRocmDriver({
    node: nodeName('node0'),
    clock: systemClock,
    ...(files === undefined ? { root: tree.root } : { files }),
  });

/** A busy host with everything that should not leave it. */
function writeBusyNode(): void {
  writeFullNode(tree);
  writeAmdSmi(tree);
  tree.write('proc/sys/kernel/osrelease', '6.8.0-79-generic\n');
  tree.write('proc/cpuinfo', `processor : 0\nmodel name : ${HOST} CPU\nflags : fpu sse\n`);
  tree.link('proc/77/fd/3', '/srv/alice/secret-weights.safetensors');
  tree.link('proc/77/fd/4', '/dev/dri/renderD129');
  tree.write('proc/77/comm', 'secret-model\n');
  tree.write('proc/77/status', 'Name:\tsecret-model\nUid:\t1017\t1017\t1017\t1017\n');
  tree.link('proc/90/fd/3', '/srv/alice/diary.txt');
  tree.write('proc/90/comm', 'editor\n');
  tree.write(
    'proc/self/status',
    'Name:\tnode\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t0 44\nCapEff:\t000001ffffffffff\n',
  );
  tree.write('proc/modules', `amdgpu 20 1 - Live 0x0\n${HOST}_module 1 0 - Live 0x0\n`);
  tree.write(`${driverDirectory(0)}/unique_id`, 'e3a5d0c2b1f40917\n');
  tree.write(`${driverDirectory(0)}/enforce_isolation`, '0 1 0 0 0 0 0 0\n');
  tree.write(`${driverDirectory(0)}/ras/umc_err_count`, 'ue: 1\nce: 2\n');
}

describe('a capture of a busy node of 64 partitions', () => {
  beforeEach(writeBusyNode);

  it('shows the same cards and partitions, ids apart', async () => {
    const there = await open().discover();
    const back = await open(createCaptureFiles(await record())).discover();
    const withoutIds = (inventory: typeof there) => ({
      cards: inventory.cards.map(({ hive: _, partitions, ...card }) => ({
        ...card,
        partitions: partitions.map(({ uuid, ...rest }) => ({ ...rest, hasUuid: uuid !== null })),
      })),
      problems: inventory.problems,
    });
    expect(there.cards).toHaveLength(8);
    expect(withoutIds(back)).toEqual(withoutIds(there));
    // One stand-in for each id: one hive still, 64 uuids still.
    expect(new Set(back.cards.map((card) => card.hive)).size).toBe(1);
    expect(
      new Set(back.cards.flatMap((card) => card.partitions.map(({ uuid }) => uuid))).size,
    ).toBe(64);
    expect(back.cards[0]?.hive).not.toBe(there.cards[0]?.hive);
  });

  it('shows the same health and holders, names apart', async () => {
    const files = createCaptureFiles(await record());
    expect(await open(files).health()).toEqual(await open().health());
    const [card] = (await open(files).discover()).cards;
    if (card === undefined) throw new Error('the node has cards');
    expect(await open(files).holders(card.id)).toEqual([
      { pid: 77, command: 'process-1', user: '1000', device: '/dev/dri/renderD129' },
    ]);
  });

  it('keeps nothing of the host, its users, their files, or other processes', async () => {
    const text = formatCapture(await record());
    for (const word of [HOST, 'alice', 'secret', 'diary', 'editor', '1017', 'e3a5d0c2b1f40917'])
      expect(text).not.toContain(word);
    // The ids of the captures that the tree and the tool are made of.
    expect(text).not.toContain('16404946649897475');
    expect(text).not.toContain('15188982192727901047');
    expect(text).not.toMatch(/c6ff75a3|c130ee448403/);
    expect(text).not.toContain('proc/90');
  });

  it('has what the tool printed, to be parsed', async () => {
    const { commands: runs } = await record();
    expect(runs.map((run) => run.argv.join(' '))).toEqual([
      'amd-smi version',
      'amd-smi list --json',
      'amd-smi partition --json',
      'amd-smi process --json',
    ]);
    const [, list, partition, process] = runs.map((run) => parseAmdSmi(run.stdout));
    expect(list?.gpus.map((gpu) => gpu.pci)).toContain('0000:f5:00.0');
    expect(new Set(list?.gpus.map((gpu) => gpu.uuid)).size).toBe(8);
    expect(partition?.gpus[0]).toMatchObject({ compute: 'SPX', memory: 'NPS1' });
    expect(process?.gpus[0]?.processes).toEqual([{ pid: 77, name: 'process', memoryBytes: null }]);
  });

  it('can be examined like the host: the same findings', async () => {
    const files = createCaptureFiles(await record());
    const examine = (from: typeof files, root: string) =>
      examineHost({ node: nodeName('node0'), files: from, root, commands });
    const there = (await examine(createHostFiles(tree.root), tree.root)).findings;
    const back = (await examine(files, tree.root)).findings;
    const codes = (list: typeof there) => list.map((finding) => finding.code);
    expect(codes(there)).toContain('UNCORRECTABLE_ERRORS');
    expect(codes(there)).toContain('HELD');
    // The tool is not run again: a capture has its output, not the program.
    const withoutTool = (list: readonly string[]) =>
      list.filter((code) => !code.startsWith('TOOL_'));
    expect(withoutTool(codes(back))).toEqual(withoutTool(codes(there)));
  });
});

describe('a capture of what is broken', () => {
  it('keeps the breaks: a missing minor, a loop, junk', async () => {
    writeTopology(tree);
    tree.link(`${NODES}/70/properties`, 'properties');
    tree.write(`${NODES}/71/properties`, new Uint8Array([0, 1, 2]));
    const there = await open().discover();
    const back = await open(createCaptureFiles(await record())).discover();
    expect(back.problems).toEqual(there.problems);
    expect(back.cards.map((card) => card.partitions.length)).toEqual([8, 8, 8, 8, 8, 8, 8, 7]);
  });

  it('of a host without GPUs is small and says so', async () => {
    const made = await record();
    expect(await open(createCaptureFiles(made)).discover()).toMatchObject({
      cards: [],
      problems: [],
    });
    expect(formatCapture(made).length).toBeLessThan(2000);
  });

  it('is read-only', async () => {
    expect(await createCaptureFiles(await record()).write('sys/x', 'CPX')).toBe('EROFS');
  });
});

describe('what is no capture', () => {
  it.each([
    ['nothing', ''],
    ['half of one', '{"format": "aim-gpu-capture/1"'],
    ['another document', '{"format": "aim-gpu-capture/2"}'],
    ['a list', '[]'],
    ['a file that is a number', '{"format":"aim-gpu-capture/1","files":{"a":1}}'],
    ['a tool’s output', capture('36-amd-smi-partition-m-json-mi355x.json')],
  ])('%s is refused', (_, text) => {
    expect(() => parseCapture(text)).toThrowError(
      expect.objectContaining({ code: 'ERR_CONFIG_INVALID', kind: 'invalid' }),
    );
  });

  it('keeps names of files from reaching prototypes', async () => {
    const text = JSON.stringify({
      format: 'aim-gpu-capture/1',
      files: {},
      unreadable: {},
      lists: {},
      links: {},
      access: {},
      commands: [],
    });
    const files = createCaptureFiles(parseCapture(text));
    expect(await files.read('constructor')).toEqual({ kind: 'absent' });
    expect(await files.linkTarget('toString')).toBeNull();
  });
});

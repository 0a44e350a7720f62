/**
 * The simulated machine against what real ones showed: each capture that another project published is set beside the
 * same thing of the simulator: modes offered, capacities, CUs, numbers of nodes, words of errors.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { cardId, createRng, hiveId, type Layout, nodeName } from '@aim-gpu/core';
import { bringIntoLayout, createMemoryStateStore } from '@aim-gpu/core/testing';
import { parseAmdSmi } from '@aim-gpu/driver-rocm';
import {
  createSimulatedDriver,
  type KernelVariant,
  type MaterializedMachine,
  ROCM_6_KERNEL,
  type SimulatedDriver,
} from '@aim-gpu/driver-simulated';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createIdleClock, type IdleClock } from './support/idle-clock.js';

const FIXTURES = path.resolve(import.meta.dirname, '../../../packages/driver-rocm/test/fixtures');
const fixture = (name: string): Promise<string> => readFile(path.join(FIXTURES, name), 'utf8');

let directory: string;
let clock: IdleClock;
let driver: SimulatedDriver | null = null;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'aim-gpu-replay-'));
  clock = createIdleClock();
});
afterEach(async () => {
  await driver?.close();
  clock.stop();
  await rm(directory, { recursive: true, force: true });
});

interface Machine {
  readonly driver: SimulatedDriver;
  readonly tree: MaterializedMachine;
  read(file: string): Promise<string>;
}

async function open(options: {
  readonly product: string;
  readonly addresses: readonly string[];
  readonly layout?: Layout;
  readonly kernel?: Partial<KernelVariant>;
}): Promise<Machine> {
  const made = createSimulatedDriver({
    node: nodeName('node-a'),
    cards: options.addresses.map((address) => ({
      id: cardId(address),
      product: options.product,
      hive: hiveId('0x1'),
    })),
    store: createMemoryStateStore(),
    clock,
    rng: createRng(9),
    timing: 'short',
    processes: { startTime: () => 'a' },
    ...(options.kernel === undefined ? {} : { kernel: options.kernel }),
  });
  driver = made;
  if (options.layout !== undefined) await bringIntoLayout(made, options.layout);
  const tree = await made.materialize(directory, { pollMs: 5000 });
  return { driver: made, tree, read: (file) => readFile(path.join(directory, file), 'utf8') };
}

const EIGHT = ['05', '15', '65', '75', '85', '95', 'e5', 'f5'].map((bus) => `0000:${bus}:00.0`);

/** `name value` lines. */
function properties(text: string): ReadonlyMap<string, string> {
  return new Map(
    text.split('\n').flatMap((line) => {
      const [name, value] = line.trim().split(/\s+/);
      return name === undefined || value === undefined ? [] : [[name, value] as const];
    }),
  );
}

it('26: the four partition files of an MI300X in SPX/NPS1', async () => {
  const { read } = await open({ product: 'MI300X', addresses: ['0000:05:00.0'] });
  const captured = (await fixture('26-sysfs-partition-files-mi300x-spx.txt'))
    .split('cat /')
    .slice(1);
  expect(captured).toHaveLength(4);
  for (const part of captured) {
    const [file = '', text = ''] = part.split('\n');
    expect((await read(file.trim())).trim()).toBe(text.trim());
  }
});

it('28, 36, 37: what amd-smi partition says of 8 MI355X', async () => {
  const { tree } = await open({ product: 'MI355X', addresses: EIGHT });
  const ours = async (...flags: string[]): Promise<unknown> =>
    JSON.parse((await tree.runTool('amd-smi', ['partition', ...flags, '--json'])).stdout);
  const one = JSON.parse(await fixture('28-amd-smi-partition-g3-json-mi355x.json'));
  const { partition_resources: _, ...told } = one;
  expect(await ours('-g', '3')).toEqual(told);
  expect(await ours('-m')).toEqual(
    JSON.parse(await fixture('36-amd-smi-partition-m-json-mi355x.json')),
  );
  const all = JSON.parse(await fixture('37-amd-smi-partition-json-mi355x-8gpu.json'));
  expect(await ours('-c')).toEqual({ current_partition: all.current_partition });
  expect(await ours('-a')).toEqual({ partition_profiles: all.partition_profiles });
});

it('09, 10, 21: KFD nodes of 8 MI300X in CPX/NPS1 whose last partition has no minor', async () => {
  const { driver: machine, read } = await open({
    product: 'MI300X',
    addresses: EIGHT,
    layout: { compute: 'CPX', memory: 'NPS1' },
    kernel: { ...ROCM_6_KERNEL, bmc: true },
  });
  const { cards } = await machine.discover();
  const captured = (await fixture('09-kfd-topology-mi300x-cpx-all-nodes.txt'))
    .split('### nodes/')
    .filter((part) => /^\d+\/properties/.test(part))
    .map((part) => properties(part.slice(part.indexOf('\n'))));
  const gpus = captured.filter((node) => node.get('simd_count') !== '0');
  const partitions = cards.flatMap((card) => card.partitions);
  expect(gpus).toHaveLength(63);
  expect(partitions).toHaveLength(gpus.length);
  expect(captured.length - gpus.length).toBe(2);
  expect(partitions.map((partition) => String(partition.renderMinor))).toEqual(
    gpus.map((node) => node.get('drm_render_minor')),
  );
  const node = properties(await fixture('10-kfd-node2-properties-mi300x-cpx.txt'));
  const mine = properties(await read('sys/class/kfd/kfd/topology/nodes/2/properties'));
  for (const name of [
    'simd_count',
    'simd_per_cu',
    'array_count',
    'cu_per_simd_array',
    'gfx_target_version',
    'vendor_id',
    'device_id',
    'location_id',
    'domain',
    'drm_render_minor',
    'num_sdma_engines',
    'num_cp_queues',
    'num_xcc',
    'lds_size_in_kb',
    'wave_front_size',
    'local_mem_size',
  ]) {
    expect([name, mine.get(name)]).toEqual([name, node.get(name)]);
  }
  const bank = properties(await fixture('21-kfd-membanks-mi300x-cpx-nps1.txt'));
  const ours = properties(await read('sys/class/kfd/kfd/topology/nodes/3/mem_banks/0/properties'));
  expect(Object.fromEntries(ours)).toMatchObject({
    heap_type: bank.get('heap_type'),
    size_in_bytes: bank.get('size_in_bytes'),
    width: bank.get('width'),
  });
});

it('23: names and numbers of the platform devices of partitions', async () => {
  const { read } = await open({ product: 'MI300X', addresses: EIGHT, kernel: ROCM_6_KERNEL });
  const captured = await fixture('23-sysfs-find-amdgpu_xcp-dot-excerpt.txt');
  const node = /(sys\/devices\/platform\/amdgpu_xcp\.\d+\/drm\/renderD\d+)$/m.exec(captured)?.[1];
  expect(await read(`${node}/dev`)).toBe('226:162\n');
});

it.each([
  ['14: MI300X', 'MI300X', '14-amd-smi-partition-accelerator-dpx-table-excerpt.txt'],
  ['18: MI300A', 'MI300A', '18-amd-smi-partition-mi300a-fixed-preview.txt'],
])('%s: profiles and their engines', async (_name, product, file) => {
  const { tree } = await open({ product, addresses: EIGHT });
  const told = (await tree.runTool('amd-smi', ['partition', '-a', '--json', '-g', '0'])).stdout;
  const rows = JSON.parse(told).partition_profiles as Record<string, unknown>[];
  const captured = (await fixture(file)).split('\n').flatMap((line) => {
    const found = /(XCC|DECODER|DMA|JPEG)\s+(\d+)(?:\s+(\d+))?\s*$/.exec(line);
    return found === null ? [] : [{ type: found[1], instances: Number(found[2]) }];
  });
  expect(captured.length).toBeGreaterThan(0);
  expect(
    rows.slice(0, captured.length).map((row) => ({
      type: row['resource_type'],
      instances: row['resource_instances'],
    })),
  ).toEqual(captured);
});

it('33: DPX/NPS1 of an MI300X has 98296 MiB and 152 CUs a partition, render node 184', async () => {
  const { driver: machine } = await open({
    product: 'MI300X',
    addresses: EIGHT,
    layout: { compute: 'DPX', memory: 'NPS1' },
  });
  const captured = await fixture('33-dra-resourceslice-devices-dpx-nps1.yaml');
  const memory = [...captured.matchAll(/memory:\s*(?:\n\s*value:\s*)?"?(\d+)Mi/g)].map((m) => m[1]);
  const units = [...captured.matchAll(/computeUnits:\s*(?:\n\s*value:\s*)?"?(\d+)/g)].map(
    (m) => m[1],
  );
  const partitions = (await machine.discover()).cards[7]?.partitions ?? [];
  expect(new Set(memory)).toEqual(
    new Set(partitions.map((p) => `${(p.memoryBytes ?? 0) / 2 ** 20}`)),
  );
  expect(new Set(units)).toEqual(new Set(partitions.map((p) => String(p.computeUnits))));
  expect(captured).toContain(`-${partitions[0]?.renderMinor}`);
});

it.each<[string, string, Partial<KernelVariant>, (machine: Machine) => Promise<string>]>([
  [
    '06: without rights',
    '06-err-no-perm.txt',
    ROCM_6_KERNEL,
    async ({ driver: machine }) => {
      await machine.close();
      const user = createSimulatedDriver({
        node: nodeName('node-a'),
        cards: [{ id: cardId('0000:11:00.0'), product: 'MI300X', hive: hiveId('0x1') }],
        store: createMemoryStateStore(),
        clock,
        rng: createRng(1),
        timing: 'short',
        privileged: false,
      });
      const tree = await user.materialize(path.join(directory, 'user'));
      const { stderr } = await tree.runTool('amd-smi', ['set', '-g', '0', '-C', 'SPX']);
      await user.close();
      return stderr;
    },
  ],
  [
    '07: busy',
    '07-err-busy.txt',
    ROCM_6_KERNEL,
    async ({ driver: machine, tree }) => {
      await machine.hold({ card: cardId('0000:11:00.0'), pid: 77, command: 'exporter' });
      return (await tree.runTool('amd-smi', ['set', '-g', '0', '-C', 'SPX'])).stderr;
    },
  ],
  [
    '08: SPX in NPS4',
    '08-err-setting-unavailable.txt',
    ROCM_6_KERNEL,
    async ({ driver: machine, tree }) => {
      await bringIntoLayout(machine, { compute: 'QPX', memory: 'NPS4' });
      await tree.refresh();
      const { stdout, stderr } = await tree.runTool('amd-smi', ['set', '-g', '0', '-C', 'SPX']);
      return `${stdout}${stderr}`;
    },
  ],
])('%s: the same error, read by the same reader', async (_name, file, kernel, provoke) => {
  const machine = await open({
    product: 'MI300X',
    addresses: ['0000:11:00.0'],
    layout: { compute: 'DPX', memory: 'NPS1' },
    kernel,
  });
  const ours = parseAmdSmi(await provoke(machine)).errors;
  const theirs = parseAmdSmi(await fixture(file)).errors;
  expect(theirs.length).toBeGreaterThan(0);
  expect(ours).toEqual(theirs);
});

it('01: what a switch that worked says, by the same reader', async () => {
  const { tree } = await open({ product: 'MI300X', addresses: EIGHT });
  const ours = await tree.runTool('amd-smi', ['set', '--gpu', 'all', '--compute-partition', 'CPX']);
  const theirs = parseAmdSmi(await fixture('01-set-compute-cpx-8xmi300x.txt'));
  expect(parseAmdSmi(ours.stdout).gpus.map((gpu) => gpu.compute)).toEqual(
    theirs.gpus.map((gpu) => gpu.compute),
  );
  expect(theirs.gpus).toHaveLength(8);
});

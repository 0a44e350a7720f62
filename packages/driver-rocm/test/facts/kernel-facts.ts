/**
 * Facts of the captures of the kernel's files, and of programs that print what the kernel says: discovery over them, or
 * what this package makes of the same card, held against the text.
 */
import { cardId, type Inventory, nodeName, systemClock } from '@aim-gpu/core';
import { findProduct, findProductByPciId, partitionGeometry } from '@aim-gpu/core/products';
import { createHostFiles } from '../../src/host-files.js';
import { createRocmDriver } from '../../src/index.js';
import { readDrmDevices } from '../../src/platform-devices.js';
import { writeFullNode } from '../support/full-node.js';
import {
  capture,
  createTree,
  type TestTree,
  writePartitionFiles,
  writePlatformDevice,
  writeTopology,
} from '../support/trees.js';
import { type Fact, type FixtureFacts, fact } from './fact.js';

const MIB = 2 ** 20;
const NODES = 'sys/class/kfd/kfd/topology/nodes';
const PROPERTIES = capture('10-kfd-node2-properties-mi300x-cpx.txt');

/** Discovers a tree that `write` makes. */
async function discover(write: (tree: TestTree) => void): Promise<Inventory> {
  const tree = createTree();
  try {
    write(tree);
    const driver = createRocmDriver({ node: nodeName('n'), clock: systemClock, root: tree.root });
    return await driver.discover();
  } finally {
    tree.remove();
  }
}

const once = <T>(make: () => Promise<T>): (() => Promise<T>) => {
  let made: Promise<T> | null = null;
  return () => {
    made ??= make();
    return made;
  };
};

const topology = once(() => discover(writeTopology));
const oneNode = once(() => discover((tree) => tree.write(`${NODES}/2/properties`, PROPERTIES)));
const partitionFiles = once(() =>
  discover((tree) => {
    writePartitionFiles(tree);
    tree.write('sys/module/amdgpu/drivers/pci:amdgpu/0000:05:00.0/device', '0x74a1\n');
  }),
);
const fullNode = once(() => discover(writeFullNode));

const CARDS = ['05', '27', '47', '65', '85', 'a7', 'c7', 'e5'].map((bus) => `0000:${bus}:00.0`);
const found = (file: string, pattern: RegExp): string => pattern.exec(capture(file))?.[1] ?? '';

function kernel(file: string, facts: readonly Fact[]): FixtureFacts {
  return { file, facts };
}

const RESOURCES = '33-dra-resourceslice-devices-dpx-nps1.yaml';
const ROCMINFO = '22-rocminfo-agent-mi300x-cpx-nps1-excerpt.txt';
const DMESG = '47-dmesg-unused-partition-node-opened.txt';
const LABELS = '42-k8s-mixed-mode-wrong-label-gpuoperator382.txt';
const CHECKPOINT = '43-kubelet-checkpoint-cpx-capacity0-plugin184.json';

const halfCard = () => {
  const product = findProduct('MI300X');
  return product === null ? [] : partitionGeometry(product, { compute: 'DPX', memory: 'NPS1' });
};

/** The captures, in the order of their numbers. */
export const KERNEL_FACTS: readonly FixtureFacts[] = [
  kernel('09-kfd-topology-mi300x-cpx-all-nodes.txt', [
    fact(
      'every partition with all its fields; the 64th has no minor and no node',
      CARDS.flatMap((card, place) =>
        Array.from({ length: place === 7 ? 7 : 8 }, (_, index) => ({
          card,
          index,
          xcds: 1,
          computeUnits: 38,
          memoryBytes: null,
          renderMinor: 128 + 8 * place + index,
          uuid: null,
          kfdNode: 2 + 8 * place + index,
        })),
      ),
      async () =>
        (await topology()).cards.flatMap((card) =>
          card.partitions.map((partition) => ({ card: card.id, ...partition })),
        ),
    ),
    fact(
      'every card with all its other fields; what the tree does not say is null',
      CARDS.map((id) => ({
        id,
        product: 'MI300X',
        hive: '0xd2ca1ad46147c377',
        numaNode: null,
        memoryBytes: null,
        layout: { compute: 'CPX', memory: null },
        offered: null,
        writable: true,
      })),
      async () => (await topology()).cards.map(({ partitions: _, ...card }) => card),
    ),
    fact(
      'the missing partition is told',
      ['0000:e5:00.0 in CPX shows 7 of 8 partitions; missing: 7'],
      async () =>
        (await topology()).problems
          .filter((problem) => problem.code === 'PARTITION_MISSING')
          .map((problem) => problem.message.split('. The driver')[0]),
    ),
  ]),
  kernel('10-kfd-node2-properties-mi300x-cpx.txt', [
    fact(
      'the card: by location_id, device_id, hive_id',
      { id: '0000:05:00.0', product: 'MI300X', hive: '0xd2ca1ad46147c377' },
      async () => {
        const [card] = (await oneNode()).cards;
        return { id: card?.id, product: card?.product, hive: card?.hive };
      },
    ),
    fact(
      'the partition, all fields',
      [
        {
          index: 0,
          xcds: 1,
          computeUnits: 38,
          memoryBytes: null,
          renderMinor: 128,
          uuid: null,
          kfdNode: 2,
        },
      ],
      async () => (await oneNode()).cards[0]?.partitions,
    ),
    fact(
      'one XCD of eight is CPX; the memory mode is not told',
      { compute: 'CPX', memory: null },
      async () => (await oneNode()).cards[0]?.layout,
    ),
    fact('gfx_target_version is the product’s', findProduct('MI300X')?.gfxTargetVersion, () =>
      Number(found('10-kfd-node2-properties-mi300x-cpx.txt', /gfx_target_version (\d+)/)),
    ),
  ]),
  kernel('21-kfd-membanks-mi300x-cpx-nps1.txt', [
    fact('capacity of the partition', 25_767_706_624, async () => {
      const [, ...bank] = capture('21-kfd-membanks-mi300x-cpx-nps1.txt').split('\n');
      const { cards } = await discover((tree) => {
        tree.write(`${NODES}/3/properties`, PROPERTIES);
        tree.write(`${NODES}/3/mem_banks/0/properties`, bank.join('\n'));
      });
      return cards[0]?.partitions[0]?.memoryBytes;
    }),
    fact(
      'is an eighth of the card as the product table has it',
      (findProduct('MI300X')?.memoryBytes ?? 0) / 8,
      () => Number(found('21-kfd-membanks-mi300x-cpx-nps1.txt', /size_in_bytes (\d+)/)),
    ),
    fact(
      'in MiB',
      24_574,
      () => Number(found('21-kfd-membanks-mi300x-cpx-nps1.txt', /size_in_bytes (\d+)/)) / MIB,
    ),
    fact('in a heap of VRAM', '1', () =>
      found('21-kfd-membanks-mi300x-cpx-nps1.txt', /heap_type (\d+)/),
    ),
  ]),
  kernel(ROCMINFO, [
    fact(
      'its Uuid is the form that discovery gives a unique_id',
      'GPU-dc91284879207f2b',
      async () => {
        const hex = found(ROCMINFO, /Uuid:\s+GPU-([0-9a-f]{16})/);
        const { cards } = await discover((tree) =>
          tree.write(
            `${NODES}/2/properties`,
            PROPERTIES.replace(/unique_id \d+/, `unique_id ${BigInt(`0x${hex}`)}`).replace(
              'num_xcc 1',
              'num_xcc 8',
            ),
          ),
        );
        return cards[0]?.partitions[0]?.uuid;
      },
    ),
    fact('its name is the product of the same device id', 'AMD Instinct MI300X', () =>
      `AMD Instinct ${findProductByPciId('74a1')?.name}` ===
      found(ROCMINFO, /Marketing Name:\s+(\S.*\S)\s*$/m)
        ? found(ROCMINFO, /Marketing Name:\s+(\S.*\S)\s*$/m)
        : null,
    ),
    fact('gfx942 is the table’s 90402', 'gfx942', () => {
      const version = findProduct('MI300X')?.gfxTargetVersion ?? 0;
      return `gfx${Math.floor(version / 10_000)}${Math.floor(version / 100) % 100}${(version % 100).toString(16)}`;
    }),
    fact('its node is KFD’s number', 2, async () =>
      Number(found(ROCMINFO, /Node:\s+(\d+)/)) ===
      (await oneNode()).cards[0]?.partitions[0]?.kfdNode
        ? 2
        : null,
    ),
  ]),
  kernel('23-sysfs-find-amdgpu_xcp-dot-excerpt.txt', [
    fact(
      'one platform device, its name with a dot',
      1,
      async () => (await platform()).platformDevices,
    ),
    fact('its render node', [162], async () => [...((await platform()).renderMinors ?? [])]),
    fact('which is partition 2 of the fifth card by KFD', ['0000:85:00.0', 2], async () => {
      const card = (await topology()).cards.find((entry) =>
        entry.partitions.some((partition) => partition.renderMinor === 162),
      );
      return [card?.id, card?.partitions.find((partition) => partition.renderMinor === 162)?.index];
    }),
    fact('and no card by itself', [], async () => (await discover(writePlatformDevice)).cards),
  ]),
  kernel('26-sysfs-partition-files-mi300x-spx.txt', [
    fact('card', '0000:05:00.0', async () => (await partitionFiles()).cards[0]?.id),
    fact(
      'layout',
      { compute: 'SPX', memory: 'NPS1' },
      async () => (await partitionFiles()).cards[0]?.layout,
    ),
    fact(
      'layouts offered: both lists and the rules of the product',
      ['SPX/NPS1', 'DPX/NPS1', 'DPX/NPS2', 'QPX/NPS1', 'QPX/NPS4', 'CPX/NPS1', 'CPX/NPS4'],
      async () =>
        (await partitionFiles()).cards[0]?.offered?.map(
          ({ compute, memory }) => `${compute}/${memory}`,
        ),
    ),
    fact(
      'partitions, hive, NUMA node and memory are not in it',
      [[], null, null, null],
      async () => {
        const [card] = (await partitionFiles()).cards;
        return [card?.partitions, card?.hive, card?.numaNode, card?.memoryBytes];
      },
    ),
  ]),
  kernel(RESOURCES, [
    fact('memory of half a card in MiB is the geometry’s', 98_296, () =>
      found(RESOURCES, /value: (\d+)Mi/) === String((halfCard()[0]?.memoryBytes ?? 0) / MIB)
        ? 98_296
        : null,
    ),
    fact('compute units likewise', 152, () =>
      found(RESOURCES, /computeUnits:\s+value: "(\d+)"/) === String(halfCard()[0]?.computeUnits)
        ? 152
        : null,
    ),
    fact('SIMDs are four to a unit', 608, () =>
      Number(found(RESOURCES, /simdUnits:\s+value: "(\d+)"/)) === 4 * 152 ? 608 : null,
    ),
    fact(
      'render node 184 is the first of the eighth card, as on a full node',
      '0000:e5:00.0',
      async () => {
        const minor = Number(found(RESOURCES, /renderIndex:\s+int: (\d+)/));
        return (await fullNode()).cards.find((card) =>
          card.partitions.some(
            (partition) => partition.index === 0 && partition.renderMinor === minor,
          ),
        )?.id;
      },
    ),
    fact('the parent’s address is a card', '0003:00:04.0', () =>
      cardId(found(RESOURCES, /parentPciAddr:\s+string: "([^"]+)"/)),
    ),
  ]),
  kernel(LABELS, [
    fact('63 partitions, as the topology of capture 09', 63, async () => {
      const partitions = (await topology()).cards.reduce(
        (sum, card) => sum + card.partitions.length,
        0,
      );
      return found(LABELS, /amd\.com\/spx_nps1:\s+(\d+)/) === String(partitions)
        ? partitions
        : null;
    }),
    fact('sold as SPX while the profile says CPX/NPS4', 'cpx-nps4', () =>
      found(LABELS, /gpu-config-profile=(\S+)/),
    ),
    fact('ROCm', '6.3.2', () => found(LABELS, /rocm=(\S+)/)),
  ]),
  kernel(CHECKPOINT, [
    fact('all it has: one resource', ['amd.com/gpu'], () => Object.keys(registered())),
    fact('with no device', [], () => registered()['amd.com/gpu']),
  ]),
  kernel(DMESG, [
    fact('the render node opened', 153, () => Number(found(DMESG, /renderD(\d+)/))),
    fact('belongs to the fourth card of a full node, partition 1', [3, 1], async () => {
      const { cards } = await fullNode();
      const place = cards.findIndex((card) =>
        card.partitions.some((entry) => entry.renderMinor === 153),
      );
      return [place, cards[place]?.partitions.find((entry) => entry.renderMinor === 153)?.index];
    }),
    fact('which is the partition the kernel names', '1', () =>
      found(DMESG, /partition (\d+) not valid/),
    ),
    fact('the card', '0000:15:00.0', () => cardId(found(DMESG, /^amdgpu (\S+):/))),
  ]),
];

async function platform(): ReturnType<typeof readDrmDevices> {
  const tree = createTree();
  try {
    writePlatformDevice(tree);
    return await readDrmDevices(createHostFiles(tree.root));
  } finally {
    tree.remove();
  }
}

function registered(): Record<string, unknown> {
  const { RegisteredDevices } = JSON.parse(capture(CHECKPOINT)) as {
    RegisteredDevices: Record<string, unknown>;
  };
  return RegisteredDevices;
}

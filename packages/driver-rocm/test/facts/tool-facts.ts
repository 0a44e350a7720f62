/**
 * Facts of the captures that amd-smi and rocm-smi printed, read by the parser.
 */
import { type AmdSmiReport, parseAmdSmi } from '../../src/index.js';
import { capture } from '../support/trees.js';
import { type Fact, type FixtureFacts, fact } from './fact.js';

const MIB = 2 ** 20;
const upTo = (count: number): readonly number[] => Array.from({ length: count }, (_, n) => n);
const distinct = <T>(values: readonly T[]): readonly T[] => [...new Set(values)];

const EMPTY = {
  uuid: null,
  partitionId: null,
  compute: null,
  memory: null,
  memoryTotalBytes: null,
};
const MI355X_PROFILES = [
  { index: 0, type: 'SPX', current: true, memoryModes: ['NPS1'], partitions: 1 },
  { index: 1, type: 'DPX', current: false, memoryModes: ['NPS1', 'NPS2'], partitions: 2 },
  { index: 2, type: 'QPX', current: false, memoryModes: ['NPS1'], partitions: 4 },
  { index: 3, type: 'CPX', current: false, memoryModes: ['NPS1'], partitions: 8 },
];

type Read = <T>(says: string, is: T, of: (report: AmdSmiReport) => unknown) => Fact;

function tool(file: string, make: (read: Read) => readonly Fact[]): FixtureFacts {
  let report: AmdSmiReport | null = null;
  const read: Read = (says, is, of) =>
    fact(says, is, () => {
      report ??= parseAmdSmi(capture(file));
      return of(report);
    });
  return {
    file,
    facts: [
      read('tool', file.startsWith('20-') ? 'rocm-smi' : 'amd-smi', (r) => r.tool),
      ...make(read),
    ],
  };
}

const codes = (report: AmdSmiReport): readonly string[] =>
  report.problems.map((problem) => problem.code);

const setCompute = (file: string, mode: string): FixtureFacts =>
  tool(file, (read) => [
    read('numbers of the GPUs', upTo(8), (r) => r.gpus.map((gpu) => gpu.index)),
    read('compute mode set', [mode], (r) => distinct(r.gpus.map((gpu) => gpu.compute))),
    read('says nothing of the memory mode', [null], (r) =>
      distinct(r.gpus.map((gpu) => gpu.memory)),
    ),
    read('a set is no proof', ['SET_NOT_READ_BACK'], codes),
  ]);

const setMemory = (
  file: string,
  mode: string,
  gpus: number,
  errors: readonly string[],
): FixtureFacts =>
  tool(file, (read) => [
    read('numbers of the GPUs', upTo(gpus), (r) => r.gpus.map((gpu) => gpu.index)),
    read('memory mode set', [mode], (r) => distinct(r.gpus.map((gpu) => gpu.memory))),
    read('a set is no proof', ['SET_NOT_READ_BACK'], codes),
    read('errors after it', errors, (r) =>
      r.errors.map((error) => `${error.name}: ${error.message}`),
    ),
  ]);

const refusal = (
  file: string,
  error: { readonly status: number; readonly name: string; readonly words: string },
): FixtureFacts =>
  tool(file, (read) => [
    read('one error', 1, (r) => r.errors.length),
    read('status', error.status, (r) => r.errors[0]?.status),
    read('name', error.name, (r) => r.errors[0]?.name),
    read('words', error.words, (r) => r.errors[0]?.message),
    read('version', null, (r) => r.version),
    read('no GPU', [], (r) => r.gpus),
    read('nothing else', [], (r) => r.problems),
  ]);

/** The captures, in the order of their numbers. */
export const TOOL_FACTS: readonly FixtureFacts[] = [
  setCompute('01-set-compute-cpx-8xmi300x.txt', 'CPX'),
  setMemory('02-set-memory-nps4-8xmi300x-emfile.txt', 'NPS4', 15, [
    'OSError: [Errno 24] Too many open files',
  ]),
  tool('03-static-partition-cpx-nps4-64.txt', (read) => [
    read('partitions', 64, (r) => r.gpus.length),
    read('partition numbers repeat', [...upTo(8), ...upTo(8)], (r) =>
      r.gpus.slice(0, 16).map((gpu) => gpu.partitionId),
    ),
    read('modes, on secondaries too (before 6.4.1)', ['CPX/NPS4'], (r) =>
      distinct(r.gpus.map((gpu) => `${gpu.compute}/${gpu.memory}`)),
    ),
    read('nothing wrong', [], codes),
  ]),
  setCompute('04-set-compute-spx-8xmi300x.txt', 'SPX'),
  setMemory('05-set-memory-nps1-8xmi300x.txt', 'NPS1', 8, []),
  refusal('06-err-no-perm.txt', {
    status: 10,
    name: 'AMDSMI_STATUS_NO_PERM',
    words: 'Permission Denied; Command requires elevation',
  }),
  refusal('07-err-busy.txt', {
    status: 30,
    name: 'AMDSMI_STATUS_BUSY',
    words: 'Device busy; Unable to set accelerator partition to SPX on GPU ID: 0 BDF:0000:11:00.0',
  }),
  refusal('08-err-setting-unavailable.txt', {
    status: 55,
    name: 'AMDSMI_STATUS_SETTING_UNAVAILABLE',
    words:
      'Please check amd-smi partition --memory --accelerator for available profiles.; Setting is not available; Unable to set accelerator partition to SPX on GPU ID: 0 BDF:0000:11:00.0',
  }),
  tool('13-amd-smi-default-dpx-nps1-rocm702.txt', (read) => [
    read('version', '26.0.2+39589fda', (r) => r.version),
    read('addresses', ['0000:05:00.0', '0000:05:00.1', '0000:26:00.0'], (r) =>
      r.gpus.map((gpu) => gpu.pci),
    ),
    read('modes; the secondary has none', ['DPX/NPS1', 'null/null', 'DPX/NPS1'], (r) =>
      r.gpus.map((gpu) => `${gpu.compute}/${gpu.memory}`),
    ),
    read('memory in MiB; the primary shows the whole card', [196_592, 98_296, 196_592], (r) =>
      r.gpus.map((gpu) => (gpu.memoryTotalBytes ?? 0) / MIB),
    ),
    read('and that is said', ['MEMORY_TOTAL_OF_CARD', 'MEMORY_TOTAL_OF_CARD'], codes),
  ]),
  tool('14-amd-smi-partition-accelerator-dpx-table-excerpt.txt', (read) => [
    read('numbers', [3, 4], (r) => r.gpus.map((gpu) => gpu.index)),
    read('the star marks the mode in force', [null, 'DPX'], (r) =>
      r.gpus.map((gpu) => gpu.compute),
    ),
    read(
      'profiles of GPU 4',
      [
        { index: 0, type: 'SPX', current: false, memoryModes: ['NPS1'], partitions: 1 },
        { index: 1, type: 'DPX', current: true, memoryModes: ['NPS1'], partitions: 2 },
      ],
      (r) => r.gpus[1]?.profiles,
    ),
  ]),
  tool('15-amd-smi-set-help-uuid-shared.txt', (read) => [
    read('numbers', [0, 1, 2], (r) => r.gpus.map((gpu) => gpu.index)),
    read('addresses', ['0000:05:00.0', '0000:05:00.1', '0000:26:00.0'], (r) =>
      r.gpus.map((gpu) => gpu.pci),
    ),
    read('a shared UUID is nobody’s', [null, null, '77ff74a1-0000-1000-8009-1c467da33120'], (r) =>
      r.gpus.map((gpu) => gpu.uuid),
    ),
  ]),
  tool('17-amd-smi-partition-all-na-mi300a-rocm63.txt', (read) => [
    read('numbers', upTo(4), (r) => r.gpus.map((gpu) => gpu.index)),
    read('memory mode alone is told', ['null/NPS1'], (r) =>
      distinct(r.gpus.map((gpu) => `${gpu.compute}/${gpu.memory}`)),
    ),
    read('profiles are not', ['PROFILES_NOT_TOLD'], codes),
  ]),
  tool('18-amd-smi-partition-mi300a-fixed-preview.txt', (read) => [
    read('numbers', upTo(4), (r) => r.gpus.map((gpu) => gpu.index)),
    read('modes', ['SPX/NPS1'], (r) =>
      distinct(r.gpus.map((gpu) => `${gpu.compute}/${gpu.memory}`)),
    ),
    read('partition', [0], (r) => distinct(r.gpus.map((gpu) => gpu.partitionId))),
    read(
      'an APU has no memory modes to choose from',
      [{ index: 0, type: 'SPX', current: true, memoryModes: [], partitions: 1 }],
      (r) => r.gpus[0]?.profiles,
    ),
  ]),
  tool('20-rocm-smi-concise-cpx-nps1-mi300x.txt', (read) => [
    read('numbers', [15, 16, 17, 18, 19, 20, 21, 22, 23, 24], (r) =>
      r.gpus.map((gpu) => gpu.index),
    ),
    read('partitions', [7, 0, 1, 2, 3, 4, 5, 6, 7, 0], (r) => r.gpus.map((gpu) => gpu.partitionId)),
    read('modes', ['CPX/NPS1'], (r) =>
      distinct(r.gpus.map((gpu) => `${gpu.compute}/${gpu.memory}`)),
    ),
  ]),
  refusal('27-err-busy-mi355x-stderr.txt', {
    status: 30,
    name: 'AMDSMI_STATUS_BUSY',
    words: 'Device busy; Unable to set accelerator partition to CPX on GPU ID: 0 BDF:0000:09:00.0.',
  }),
  tool('28-amd-smi-partition-g3-json-mi355x.json', (read) => [
    read(
      'everything told of the one GPU: sixteen sparse rows are four profiles',
      [
        {
          ...EMPTY,
          index: 3,
          pci: null,
          compute: 'SPX',
          memory: 'NPS1',
          partitionId: 0,
          profiles: MI355X_PROFILES,
        },
      ],
      (r) => r.gpus,
    ),
    read('CPX is for NPS1 only', ['NPS1'], (r) => r.gpus[0]?.profiles?.[3]?.memoryModes),
    read('version', null, (r) => r.version),
    read('nothing wrong', [[], []], (r) => [r.errors, r.problems]),
  ]),
  tool('29-amd-smi-partition-a-json-unprivileged.json', (read) => [
    read('GPU 0, of which nothing is told', [{ ...EMPTY, index: 0, pci: null }], (r) => r.gpus),
    read('profiles are for root', ['PROFILES_NOT_TOLD'], codes),
    read('and no error is printed', [], (r) => r.errors),
  ]),
  tool('31-amd-smi-default-spx-passthrough-rocm700.txt', (read) => [
    read('version', '26.0.0+37d158ab', (r) => r.version),
    read(
      'the GPU',
      [
        {
          ...EMPTY,
          index: 0,
          pci: '0003:00:03.0',
          compute: 'SPX',
          memory: 'NPS1',
          memoryTotalBytes: 196_592 * MIB,
          processes: [],
        },
      ],
      (r) => r.gpus,
    ),
    read('nothing wrong', [[], []], (r) => [r.errors, r.problems]),
  ]),
  tool('32-amd-smi-list-mi300x.txt', (read) => [
    read(
      'everything told of the one GPU',
      [
        {
          ...EMPTY,
          index: 0,
          pci: '0003:00:03.0',
          uuid: 'b5ff74a1-0000-1000-806f-3d3e7b684465',
          partitionId: 0,
        },
      ],
      (r) => r.gpus,
    ),
    read('version', null, (r) => r.version),
    read('nothing wrong', [[], []], (r) => [r.errors, r.problems]),
  ]),
  tool('34-amd-smi-static-clock-json-list-layout-mi355x.json.txt', (read) => [
    read('the document is cut off', ['JSON_CUT_OFF'], codes),
    read('where it begins', 'line 2', (r) => r.problems[0]?.where),
    read('and gives nothing', [], (r) => r.gpus),
  ]),
  tool('35-amd-smi-static-asic-json-gpu_data-layout.json', (read) => [
    read('the layout gpu_data, with one GPU', [{ ...EMPTY, index: 0, pci: null }], (r) => r.gpus),
    read('version', null, (r) => r.version),
    read('nothing wrong', [[], []], (r) => [r.errors, r.problems]),
  ]),
  tool('36-amd-smi-partition-m-json-mi355x.json', (read) => [
    read(
      'everything told',
      upTo(8).map((index) => ({ ...EMPTY, index, pci: null, memory: 'NPS1' })),
      (r) => r.gpus,
    ),
    read('version', null, (r) => r.version),
    read('nothing wrong', [[], []], (r) => [r.errors, r.problems]),
  ]),
  tool('37-amd-smi-partition-json-mi355x-8gpu.json', (read) => [
    read(
      'everything told: four tables of eight GPUs',
      upTo(8).map((index) => ({
        ...EMPTY,
        index,
        pci: null,
        compute: 'SPX',
        memory: 'NPS1',
        partitionId: 0,
        profiles: MI355X_PROFILES,
      })),
      (r) => r.gpus,
    ),
    read('version', null, (r) => r.version),
    read('nothing wrong', [[], []], (r) => [r.errors, r.problems]),
  ]),
  tool('39-amd-smi-uuid-by-bdf-mi355x.json', (read) => [
    read(
      'everything told: addresses and UUIDs',
      [
        ['0000:05:00.0', 'c6ff75a3-0000-1000-802a-c130ee448403'],
        ['0000:15:00.0', 'f3ff75a3-0000-1000-802c-b37ceef6feb5'],
        ['0000:65:00.0', '8aff75a3-0000-1000-80a2-810481bf6315'],
        ['0000:75:00.0', '08ff75a3-0000-1000-80da-82c12ef81b5d'],
        ['0000:85:00.0', 'cfff75a3-0000-1000-8010-e0d8795d487e'],
        ['0000:95:00.0', '13ff75a3-0000-1000-8003-b4d1d1d0c537'],
        ['0000:e5:00.0', '64ff75a3-0000-1000-8002-daab8ae76e4e'],
        ['0000:f5:00.0', 'e8ff75a3-0000-1000-808f-a10fb8782ebc'],
      ],
      (r) => r.gpus.map((gpu) => [gpu.pci, gpu.uuid]),
    ),
    read('no numbers', [null], (r) => distinct(r.gpus.map((gpu) => gpu.index))),
    read('nothing wrong', [[], []], (r) => [r.errors, r.problems]),
  ]),
  tool('41-gim-host-partition-empty-output.txt', (read) => [
    read('a host of virtual functions shows no GPU', [], (r) => r.gpus),
    read('and no error', [], (r) => r.errors),
    read('and no version', null, (r) => r.version),
  ]),
  tool('45-amd-smi-metric-usage-xcp-lists.txt', (read) => [
    read('GPU 0 is there', [{ ...EMPTY, index: 0, pci: null }], (r) => r.gpus),
    read('lists of eight partitions', upTo(8), () =>
      distinct(
        [...capture('45-amd-smi-metric-usage-xcp-lists.txt').matchAll(/XCP_(\d):/g)].map((match) =>
          Number(match[1]),
        ),
      ),
    ),
    read('nothing wrong', [[], []], (r) => [r.errors, r.problems]),
  ]),
];

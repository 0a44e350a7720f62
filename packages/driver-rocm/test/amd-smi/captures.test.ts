/**
 * Every capture through the parser: what each shows, and that what is no output of the tools stays unread. Grades and
 * origins are in fixtures/ORIGIN.md.
 */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { type AmdSmiReport, parseAmdSmi } from '../../src/index.js';
import { capture } from '../support/trees.js';

const MIB = 2 ** 20;
const read = (name: string): AmdSmiReport => parseAmdSmi(capture(name));
const codes = (report: AmdSmiReport): readonly string[] =>
  report.problems.map((problem) => problem.code);

const MI355X_PROFILES = [
  { index: 0, type: 'SPX', current: true, memoryModes: ['NPS1'], partitions: 1 },
  { index: 1, type: 'DPX', current: false, memoryModes: ['NPS1', 'NPS2'], partitions: 2 },
  { index: 2, type: 'QPX', current: false, memoryModes: ['NPS1'], partitions: 4 },
  { index: 3, type: 'CPX', current: false, memoryModes: ['NPS1'], partitions: 8 },
];

describe('what a set command prints (grade P)', () => {
  it.each([
    ['01-set-compute-cpx-8xmi300x.txt', 8, { compute: 'CPX', memory: null }],
    ['04-set-compute-spx-8xmi300x.txt', 8, { compute: 'SPX', memory: null }],
    ['02-set-memory-nps4-8xmi300x-emfile.txt', 15, { compute: null, memory: 'NPS4' }],
    ['05-set-memory-nps1-8xmi300x.txt', 8, { compute: null, memory: 'NPS1' }],
  ])('%s: %i GPUs, the mode, and that nobody has read it back', (name, count, facts) => {
    const report = read(name);
    expect(report.tool).toBe('amd-smi');
    expect(report.gpus.map((gpu) => gpu.index)).toEqual(Array.from({ length: count }, (_, n) => n));
    for (const gpu of report.gpus) expect(gpu).toMatchObject(facts);
    expect(codes(report)).toEqual(['SET_NOT_READ_BACK']);
  });

  it('02 ends in an error all the same', () => {
    expect(read('02-set-memory-nps4-8xmi300x-emfile.txt').errors).toEqual([
      { status: null, name: 'OSError', message: '[Errno 24] Too many open files' },
    ]);
    expect(read('05-set-memory-nps1-8xmi300x.txt').errors).toEqual([]);
  });
});

describe('errors', () => {
  it.each([
    ['06-err-no-perm.txt', 10, 'NO_PERM', ['Permission Denied', 'requires elevation']],
    ['07-err-busy.txt', 30, 'BUSY', ['Device busy', 'SPX on GPU ID: 0 BDF:0000:11:00.0']],
    ['08-err-setting-unavailable.txt', 55, 'SETTING_UNAVAILABLE', ['not available', 'BDF:0000:11']],
    ['27-err-busy-mi355x-stderr.txt', 30, 'BUSY', ['Device busy', 'to CPX', 'BDF:0000:09:00.0']],
  ])('%s: one error of status %i', (name, status, short, words) => {
    const { tool, gpus, errors, problems } = read(name);
    expect({ tool, gpus, problems }).toEqual({ tool: 'amd-smi', gpus: [], problems: [] });
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatchObject({ status, name: `AMDSMI_STATUS_${short}` });
    for (const word of words) expect(errors[0]?.message).toContain(word);
  });
});

describe('text', () => {
  it('03 (P): 64 partitions of 8 cards, modes on the secondaries too', () => {
    const { gpus, problems } = read('03-static-partition-cpx-nps4-64.txt');
    expect(gpus).toHaveLength(64);
    expect(gpus.map((gpu) => gpu.partitionId)).toEqual(Array.from({ length: 64 }, (_, n) => n % 8));
    expect(gpus.every((gpu) => gpu.compute === 'CPX' && gpu.memory === 'NPS4')).toBe(true);
    expect(problems).toEqual([]);
  });

  it('13 (X): overview in DPX; the secondary is N/A, the primary’s memory the whole card’s', () => {
    const report = read('13-amd-smi-default-dpx-nps1-rocm702.txt');
    expect(report).toMatchObject({ tool: 'amd-smi', version: '26.0.2+39589fda' });
    expect(report.gpus).toMatchObject([
      { index: 0, pci: '0000:05:00.0', compute: 'DPX', memory: 'NPS1' },
      { index: 1, pci: '0000:05:00.1', compute: null, memory: null, partitionId: null },
      { index: 2, pci: '0000:26:00.0', compute: 'DPX', memory: 'NPS1' },
    ]);
    expect(report.gpus.map((gpu) => (gpu.memoryTotalBytes ?? 0) / MIB)).toEqual([
      196_592, 98_296, 196_592,
    ]);
    expect(codes(report)).toEqual(['MEMORY_TOTAL_OF_CARD', 'MEMORY_TOTAL_OF_CARD']);
  });

  it('14 (X): a table without its head; the star is the mode in force', () => {
    const { gpus } = read('14-amd-smi-partition-accelerator-dpx-table-excerpt.txt');
    expect(gpus.map(({ index, compute }) => [index, compute])).toEqual([
      [3, null],
      [4, 'DPX'],
    ]);
    expect(gpus[0]?.profiles).toBeUndefined();
    expect(gpus[1]?.profiles).toEqual([
      { index: 0, type: 'SPX', current: false, memoryModes: ['NPS1'], partitions: 1 },
      { index: 1, type: 'DPX', current: true, memoryModes: ['NPS1'], partitions: 2 },
    ]);
  });

  it('15 (X): a UUID that two partitions share is nobody’s', () => {
    const { gpus } = read('15-amd-smi-set-help-uuid-shared.txt');
    expect(gpus.map(({ index, pci, uuid }) => [index, pci, uuid])).toEqual([
      [0, '0000:05:00.0', null],
      [1, '0000:05:00.1', null],
      [2, '0000:26:00.0', '77ff74a1-0000-1000-8009-1c467da33120'],
    ]);
  });

  it('17 (X): MI300A where only the memory mode is told', () => {
    const report = read('17-amd-smi-partition-all-na-mi300a-rocm63.txt');
    expect(report.gpus).toHaveLength(4);
    for (const gpu of report.gpus)
      expect(gpu).toMatchObject({ compute: null, memory: 'NPS1', partitionId: null });
    expect(report.gpus.every((gpu) => gpu.profiles === undefined)).toBe(true);
    expect(codes(report)).toEqual(['PROFILES_NOT_TOLD']);
  });

  it('18 (X): MI300A in SPX, without memory modes to choose from, the last row cut off', () => {
    const { gpus, problems } = read('18-amd-smi-partition-mi300a-fixed-preview.txt');
    expect(gpus).toHaveLength(4);
    for (const gpu of gpus)
      expect(gpu).toMatchObject({ compute: 'SPX', memory: 'NPS1', partitionId: 0 });
    expect(gpus[0]?.profiles).toEqual([
      { index: 0, type: 'SPX', current: true, memoryModes: [], partitions: 1 },
    ]);
    expect(problems).toEqual([]);
  });

  it('20 (X): rocm-smi’s concise rows', () => {
    const { tool, gpus } = read('20-rocm-smi-concise-cpx-nps1-mi300x.txt');
    expect(tool).toBe('rocm-smi');
    expect(gpus.map((gpu) => gpu.index)).toEqual([15, 16, 17, 18, 19, 20, 21, 22, 23, 24]);
    expect(gpus.map((gpu) => gpu.partitionId)).toEqual([7, 0, 1, 2, 3, 4, 5, 6, 7, 0]);
    expect(gpus.every((gpu) => gpu.compute === 'CPX' && gpu.memory === 'NPS1')).toBe(true);
  });

  it('31 (X): overview of a passthrough guest without processes', () => {
    const report = read('31-amd-smi-default-spx-passthrough-rocm700.txt');
    expect(report).toMatchObject({ version: '26.0.0+37d158ab', problems: [] });
    expect(report.gpus).toEqual([
      {
        index: 0,
        pci: '0003:00:03.0',
        uuid: null,
        partitionId: null,
        compute: 'SPX',
        memory: 'NPS1',
        memoryTotalBytes: 196_592 * MIB,
        processes: [],
      },
    ]);
  });

  it('32 (V): list', () => {
    expect(read('32-amd-smi-list-mi300x.txt')).toMatchObject({
      tool: 'amd-smi',
      version: null,
      gpus: [
        {
          index: 0,
          pci: '0003:00:03.0',
          uuid: 'b5ff74a1-0000-1000-806f-3d3e7b684465',
          partitionId: 0,
          compute: null,
        },
      ],
      errors: [],
      problems: [],
    });
  });

  it('41 (V): a host of virtual functions prints nothing', () => {
    const { tool, gpus, errors } = read('41-gim-host-partition-empty-output.txt');
    expect({ tool, gpus, errors }).toEqual({ tool: 'amd-smi', gpus: [], errors: [] });
  });

  it('45 (P): usage lists say nothing of the partition but that GPU 0 is there', () => {
    const { tool, gpus, problems } = read('45-amd-smi-metric-usage-xcp-lists.txt');
    expect({ tool, problems }).toEqual({ tool: 'amd-smi', problems: [] });
    expect(gpus).toMatchObject([{ index: 0, compute: null, partitionId: null }]);
  });
});

describe('JSON', () => {
  it('28 (R): sparse rows are four profiles, not sixteen', () => {
    const report = read('28-amd-smi-partition-g3-json-mi355x.json');
    expect(report.gpus).toMatchObject([
      { index: 3, compute: 'SPX', memory: 'NPS1', partitionId: 0, profiles: MI355X_PROFILES },
    ]);
    expect(report.problems).toEqual([]);
  });

  it('29 (X): without root every profile is N/A', () => {
    const report = read('29-amd-smi-partition-a-json-unprivileged.json');
    expect(report.gpus).toMatchObject([{ index: 0, compute: null, memory: null }]);
    expect(report.gpus[0]?.profiles).toBeUndefined();
    expect(codes(report)).toEqual(['PROFILES_NOT_TOLD']);
  });

  it('34 (X): a document that is cut off gives nothing, and says so', () => {
    const report = read('34-amd-smi-static-clock-json-list-layout-mi355x.json.txt');
    expect(report).toMatchObject({ tool: 'amd-smi', gpus: [], errors: [] });
    expect(report.problems).toMatchObject([{ code: 'JSON_CUT_OFF', where: 'line 2' }]);
  });

  it('35 (V): the layout gpu_data', () => {
    expect(read('35-amd-smi-static-asic-json-gpu_data-layout.json')).toMatchObject({
      tool: 'amd-smi',
      gpus: [{ index: 0, pci: null, compute: null }],
      problems: [],
    });
  });

  it('36 (R): memory modes of eight GPUs', () => {
    const { gpus, problems } = read('36-amd-smi-partition-m-json-mi355x.json');
    expect(gpus.map((gpu) => gpu.index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(gpus.every((gpu) => gpu.memory === 'NPS1' && gpu.compute === null)).toBe(true);
    expect(problems).toEqual([]);
  });

  it('37 (R): all four tables of eight GPUs', () => {
    const { gpus, problems } = read('37-amd-smi-partition-json-mi355x-8gpu.json');
    expect(gpus).toHaveLength(8);
    for (const gpu of gpus)
      expect(gpu).toMatchObject({ compute: 'SPX', memory: 'NPS1', profiles: MI355X_PROFILES });
    expect(problems).toEqual([]);
  });

  it('39 (V): addresses and UUIDs alone', () => {
    const { gpus, problems } = read('39-amd-smi-uuid-by-bdf-mi355x.json');
    expect(gpus).toHaveLength(8);
    expect(gpus[0]).toMatchObject({
      index: null,
      pci: '0000:05:00.0',
      uuid: 'c6ff75a3-0000-1000-802a-c130ee448403',
    });
    expect(new Set(gpus.map((gpu) => gpu.uuid)).size).toBe(8);
    expect(problems).toEqual([]);
  });
});

describe('captures that are no output of the tools', () => {
  const OTHERS = ['09', '10', '21', '22', '23', '26', '33', '42', '43', '47'];
  const names = readdirSync(path.join(import.meta.dirname, '../fixtures'));

  it.each(OTHERS)('%s gives no GPU and no error, and says that nothing was known', (number) => {
    const name = names.find((entry) => entry.startsWith(`${number}-`));
    const report = read(name ?? '');
    expect(report).toMatchObject({ tool: 'unknown', version: null, gpus: [], errors: [] });
    expect(codes(report)).toContain('TEXT_UNKNOWN');
  });
});

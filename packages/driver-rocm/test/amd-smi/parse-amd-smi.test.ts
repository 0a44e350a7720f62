/**
 * Layouts of which no capture is public, written by hand from the tools' documented formats: they prove the reader,
 * not the tools. Then bad input.
 */
import { describe, expect, it } from 'vitest';
import { parseAmdSmi } from '../../src/index.js';
import { capture } from '../support/trees.js';

const codes = (text: string): readonly string[] =>
  parseAmdSmi(text).problems.map((problem) => problem.code);

describe('JSON written by hand', () => {
  const LIST = [
    { gpu: 0, bdf: '0000:0C:00.0', uuid: 'abff74a1-0000-1000-80d1-3c23a9580558', partition_id: 0 },
    { gpu: 1, bdf: '0000:0C:00.1', uuid: 'N/A', partition_id: 'N/A' },
    { gpu: 2, bdf: '0000:22:00.0', uuid: '00000000-0000-0000-0000-000000000000' },
    { gpu: 3, bdf: '0000:32:00.0', uuid: 'xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx' },
  ];

  it('reads a list, with addresses in lower case and redacted UUIDs as none', () => {
    const { gpus } = parseAmdSmi(JSON.stringify(LIST));
    expect(gpus.map(({ pci, uuid, partitionId }) => [pci, uuid, partitionId])).toEqual([
      ['0000:0c:00.0', 'abff74a1-0000-1000-80d1-3c23a9580558', 0],
      ['0000:0c:00.1', null, null],
      ['0000:22:00.0', null, null],
      ['0000:32:00.0', null, null],
    ]);
  });

  it('puts several documents on one stream together, between messages', () => {
    const memory = capture('36-amd-smi-partition-m-json-mi355x.json');
    const text = `WARNING: something\n${JSON.stringify(LIST, null, 4)}\r\n${memory}{"current_partition":[{"gpu_id":0,"memory":"NPS1","accelerator_type":"CPX","partition_id":"0"}]}\n`;
    const { gpus, problems } = parseAmdSmi(text);
    expect(gpus).toHaveLength(8);
    expect(gpus[0]).toMatchObject({ pci: '0000:0c:00.0', compute: 'CPX', memory: 'NPS1' });
    expect(problems).toEqual([]);
  });

  it.each([
    ['compute_partition', 'of 24 and 25'],
    ['accelerator_partition', 'of 26'],
  ])('reads static: %s %s', (key) => {
    const gpu = {
      gpu: 0,
      bus: { bdf: '0000:0c:00.0' },
      vram: { type: 'HBM', size: { value: 196_592, unit: 'MB' } },
      partition: { [key]: 'DPX', memory_partition: 'NPS2', partition_id: 0 },
    };
    for (const text of [JSON.stringify([gpu]), JSON.stringify({ gpu_data: [gpu] })]) {
      expect(parseAmdSmi(text).gpus).toMatchObject([
        {
          pci: '0000:0c:00.0',
          compute: 'DPX',
          memory: 'NPS2',
          partitionId: 0,
          memoryTotalBytes: 206_141_652_992,
        },
      ]);
    }
  });

  it('reads processes, and that there are none', () => {
    const list = [
      {
        gpu: 0,
        process_list: [
          {
            process_info: {
              name: 'vllm',
              pid: 4711,
              memory_usage: { vram_mem: { value: 1.5, unit: 'GB' } },
            },
          },
          { process_info: { name: 'N/A', pid: 12, mem_usage: { value: 5, unit: 'B' } } },
        ],
      },
      { gpu: 1, process_list: [{ process_info: 'No running processes detected' }] },
    ];
    expect(parseAmdSmi(JSON.stringify(list)).gpus.map((gpu) => gpu.processes)).toEqual([
      [
        { pid: 4711, name: 'vllm', memoryBytes: 1_610_612_736 },
        { pid: 12, name: null, memoryBytes: 5 },
      ],
      [],
    ]);
  });

  it('reads versions, rocm-smi’s cards and what set says', () => {
    expect(
      parseAmdSmi('[{"tool":"AMDSMI Tool","version":"25.3.0+ede62f2","rocm_version":"6.4.0"}]'),
    ).toMatchObject({ tool: 'amd-smi', version: '25.3.0+ede62f2', gpus: [] });
    const cards = {
      card0: {
        'Compute Partition': 'SPX',
        'Memory Partition': 'NPS1',
        'PCI Bus': '0000:0C:00.0',
        'VRAM Total Memory (B)': '206141652992',
      },
      system: { 'Driver version': '6.12.12' },
    };
    expect(parseAmdSmi(JSON.stringify(cards))).toMatchObject({
      tool: 'rocm-smi',
      gpus: [{ index: 0, pci: '0000:0c:00.0', compute: 'SPX', memoryTotalBytes: 206_141_652_992 }],
    });
    const set = {
      gpu: 0,
      accelerator_partition: 'Successfully set accelerator partition to CPX (profile #3)',
    };
    expect(parseAmdSmi(JSON.stringify([set]))).toMatchObject({
      gpus: [{ compute: 'CPX' }],
      problems: [{ code: 'SET_NOT_READ_BACK' }],
    });
  });

  it('reads errors that --json prints', () => {
    expect(parseAmdSmi('{"error": "Can not find a device: GPU \'9\'", "code": -3}').errors).toEqual(
      [{ status: -3, name: 'AmdSmiException', message: "Can not find a device: GPU '9'" }],
    );
    expect(parseAmdSmi('[{"error": "busy", "code": -1030}]').errors).toEqual([
      { status: 30, name: 'AMDSMI_STATUS_BUSY', message: 'busy' },
    ]);
  });
});

describe('text written by hand', () => {
  it('reads processes and memory below a GPU, and forgets the GPU after its block', () => {
    const { gpus, version } = parseAmdSmi(`
AMDSMI Tool: 24.6.2+2b02a07 | AMDSMI Library version: 24.6.2.0 | ROCm version: 6.2.0
GPU: 0
    BUS:
        BDF: 0000:0C:00.0
    VRAM:
        SIZE: 196592 MB
    PROCESS_INFO:
        NAME: python3
        PID: 4711
        MEMORY_USAGE:
            GTT_MEM: 2.0 MB
            VRAM_MEM: 15 MB
    PROCESS_INFO:
        NAME: N/A
        PID: 4712

GPU: 1
    MEM_USAGE:
        TOTAL_VRAM: 98296 MB
        USED_VRAM: 492 MB
    PROCESS_INFO: No running processes detected
LEGEND:
    PARTITION_ID: 7
`);
    expect(version).toBe('24.6.2+2b02a07');
    expect(gpus).toMatchObject([
      {
        index: 0,
        pci: '0000:0c:00.0',
        memoryTotalBytes: 196_592 * 2 ** 20,
        processes: [
          { pid: 4711, name: 'python3', memoryBytes: 15 * 2 ** 20 },
          { pid: 4712, name: null, memoryBytes: null },
        ],
      },
      { index: 1, memoryTotalBytes: 98_296 * 2 ** 20, partitionId: null, processes: [] },
    ]);
  });

  it('reads processes in the overview', () => {
    const text = capture('31-amd-smi-default-spx-passthrough-rocm700.txt').replace(
      /\| {2}No running.*\|/,
      '|    0       4711  VLLM::EngineCore      2.0 MB  170.5 GB   170.6 GB    N/A |',
    );
    expect(parseAmdSmi(text).gpus[0]?.processes).toEqual([
      { pid: 4711, name: 'VLLM::EngineCore', memoryBytes: Math.round(170.5 * 2 ** 30) },
    ]);
  });

  it('reads rocm-smi’s pairs, and rows of secondaries', () => {
    const report = parseAmdSmi(`
ROCM-SMI version: 3.0.0+unknown
GPU[0]\t\t: Compute Partition: CPX
GPU[0]\t\t: Memory Partition: NPS4
GPU[0]\t\t: PCI Bus: 0000:0C:00.0
GPU[0]\t\t: VRAM Total Memory (B): 25767706624
GPU[2]          : GUID: 5656
1       3     0x74a1,   48427  42.0°C      131.0W    N/A, N/A, 1         145Mhz  900Mhz  0%   auto  750.0W  0%     0%
`);
    expect(report).toMatchObject({
      tool: 'rocm-smi',
      version: '3.0.0+unknown',
      gpus: [
        {
          index: 0,
          pci: '0000:0c:00.0',
          compute: 'CPX',
          memory: 'NPS4',
          memoryTotalBytes: 25_767_706_624,
        },
        { index: 1, compute: null, memory: null, partitionId: 1 },
        { index: 2 },
      ],
    });
  });

  it('says where two places disagree, and keeps the first', () => {
    const report = parseAmdSmi('GPU: 0\n    PARTITION_ID: 0\n\nGPU: 0\n    PARTITION_ID: 1\n');
    expect(report.gpus).toMatchObject([{ index: 0, partitionId: 0 }]);
    expect(report.problems).toMatchObject([{ code: 'VALUES_DISAGREE', where: 'line 5' }]);
  });

  it('names modes and GPUs it cannot place', () => {
    const rows = [
      { gpu_id: 0, profile_index: 0, accelerator_type: 'ZPX', num_partitions: 9 },
      { gpu_id: 0, profile_index: 1, accelerator_type: 'SPX', num_partitions: 1 },
    ];
    expect(codes(JSON.stringify({ partition_profiles: rows }))).toEqual(['MODE_UNKNOWN']);
    expect(codes('[{"gpu": "N/A"}]')).toEqual(['GPU_UNNAMED']);
  });
});

describe('errors written by hand', () => {
  it.each([
    [
      'an exception of the command line tool, printed with exit status 0',
      "amdsmi_cli_exceptions.AmdSmiPermissionDeniedException: AMD-SMI Command 'set' requires elevation Error code: -11",
      [
        {
          status: -11,
          name: 'AmdSmiPermissionDeniedException',
          message: "AMD-SMI Command 'set' requires elevation",
        },
      ],
    ],
    [
      'a driver that could not be reloaded',
      'Error code:\n\t54 | AMDSMI_STATUS_AMDGPU_RESTART_ERR - Restart failed\n',
      [{ status: 54, name: 'AMDSMI_STATUS_AMDGPU_RESTART_ERR', message: 'Restart failed' }],
    ],
    [
      'a status in brackets for each GPU',
      'GPU: 0\n    MEMORY_PARTITION: [AMDSMI_STATUS_NOT_SUPPORTED] Unable to set NPS4\nGPU: 1\n    MEMORY_PARTITION: [AMDSMI_STATUS_NOT_SUPPORTED] Unable to set NPS4\n',
      [
        { status: 2, name: 'AMDSMI_STATUS_NOT_SUPPORTED', message: 'Unable to set NPS4' },
        { status: 2, name: 'AMDSMI_STATUS_NOT_SUPPORTED', message: 'Unable to set NPS4' },
      ],
    ],
    [
      'a bare status, also one of a later version',
      'ERROR:root:AMDSMI Error: AMDSMI_STATUS_INVAL: Invalid parameters.\nAMDSMI_STATUS_NEW: x',
      [
        { status: 1, name: 'AMDSMI_STATUS_INVAL', message: 'Invalid parameters.' },
        { status: null, name: 'AMDSMI_STATUS_NEW', message: 'x' },
      ],
    ],
    [
      'rocm-smi’s line',
      'ERROR: 2 GPU[0]: ras: RSMI_STATUS_NOT_SUPPORTED: This function is not supported',
      [
        {
          status: 2,
          name: 'RSMI_STATUS_NOT_SUPPORTED',
          message: 'GPU[0]: ras: This function is not supported',
        },
      ],
    ],
  ])('%s', (_, text, errors) => {
    expect(parseAmdSmi(text).errors).toEqual(errors);
  });
});

describe('bad input', () => {
  it.each([
    ['nothing', '', ['TEXT_UNKNOWN']],
    ['blank lines', ' \r\n\t\n', ['TEXT_UNKNOWN']],
    ['NUL and junk', '\0\u0001\uFFFD'.repeat(1000), ['TEXT_UNKNOWN']],
    ['half a document', '{"gpu_data": [{"gpu": 0', ['JSON_CUT_OFF', 'TEXT_UNKNOWN']],
    ['balanced and no JSON', '[{"gpu": 0,}]\n', ['JSON_INVALID', 'TEXT_UNKNOWN']],
    ['a document of something else', '{"a": 1}', ['JSON_LAYOUT_UNKNOWN', 'TEXT_UNKNOWN']],
    ['more than the tools print', 'x'.repeat(16 * 2 ** 20 + 1), ['INPUT_TOO_LARGE']],
  ])('%s', (_, text, expected) => {
    expect(codes(text)).toEqual(expected);
    expect(parseAmdSmi(text)).toMatchObject({ tool: 'unknown', gpus: [], errors: [] });
  });

  it.each([
    ['one line of 8 MiB of digits', '1'.repeat(8 * 2 ** 20)],
    ['a million opened brackets', '['.repeat(1_000_000)],
    ['a hundred thousand nested lists', `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
    ['two million empty lines', '\n'.repeat(2_000_000)],
    ['dots and letters', 'a.'.repeat(2_000_000)],
    ['a hundred thousand broken documents', '{"a":}\n'.repeat(100_000)],
  ])('%s is read in bounded time', (_, text) => {
    const { gpus, problems } = parseAmdSmi(text);
    expect(gpus).toEqual([]);
    expect(problems.length).toBeGreaterThan(0);
    expect(problems.length).toBeLessThanOrEqual(200);
  });

  it('CRLF and a byte order mark change nothing', () => {
    const text = capture('32-amd-smi-list-mi300x.txt');
    expect(parseAmdSmi(text.replaceAll('\n', '\r\n'))).toEqual(parseAmdSmi(text));
    const json = capture('36-amd-smi-partition-m-json-mi355x.json');
    expect(parseAmdSmi(`\uFEFF${json.replaceAll('\n', '\r\n')}`)).toEqual(parseAmdSmi(json));
  });
});

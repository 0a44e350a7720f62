/**
 * What `doctor` finds: each rule with a host that breaks it, its evidence and its fix; and that a good host has none.
 */
import { nodeName, systemClock } from '@aim-gpu/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHostCommands, createHostFiles, examineHost, type Finding } from '../../src/index.js';
import { driverDirectory, writeFullNode } from '../support/full-node.js';
import { createTree, type TestTree, writeAmdSmi, writeProgram } from '../support/trees.js';

let tree: TestTree;
beforeEach(() => {
  tree = createTree();
});
afterEach(() => tree.remove());

const commands = createHostCommands({ clock: systemClock });
const examine = () =>
  examineHost({
    node: nodeName('n'),
    files: createHostFiles(tree.root),
    root: tree.root,
    commands,
  });
const find = async (code: string): Promise<Finding | undefined> =>
  (await examine()).findings.find((finding) => finding.code === code);

/** An amd-smi that says nothing of any card, which is no disagreement. */
const quietTool = (): void =>
  writeProgram(tree, 'usr/bin/amd-smi', 'echo \'[{"tool": "AMDSMI Tool", "version": "26.0.2"}]\'');

const STATUS = (uid: number, capabilities: string): string =>
  `Name:\tnode\nUid:\t${uid}\t${uid}\t${uid}\t${uid}\nGid:\t${uid}\t${uid}\t${uid}\t${uid}\nGroups:\t44 109\nCapEff:\t${capabilities}\n`;

describe('a good host', () => {
  it('has no findings', async () => {
    writeFullNode(tree);
    quietTool();
    tree.write('sys/module/amdgpu/version', '6.14.14\n');
    tree.write('proc/sys/kernel/osrelease', '6.8.0-136-generic\n');
    tree.write('dev/kfd', '');
    tree.write('dev/dri/renderD128', '');
    tree.write(
      'proc/self/limits',
      'Limit  Soft Limit  Hard Limit  Units\nMax open files            1048576              1048576              files\n',
    );
    tree.write('sys/fs/cgroup/cgroup.controllers', 'cpu memory dmem\n');
    const { findings, facts, tools } = await examine();
    expect(findings).toEqual([]);
    expect(facts).toMatchObject({ cgroupVersion: 2, hasDeviceMemoryController: true });
    expect(tools.version).toBe('26.0.2');
  });
});

interface Case {
  readonly code: string;
  readonly level: Finding['level'];
  readonly make: () => void;
  readonly evidence: RegExp;
  readonly fix: RegExp | null;
}

const SICK: readonly Case[] = [
  {
    code: 'KERNEL_OLD',
    level: 'warning',
    make: () => tree.write('proc/sys/kernel/osrelease', '5.14.0-570.el9\n'),
    evidence: /osrelease/,
    fix: /newer kernel/,
  },
  {
    code: 'AMDGPU_OLD',
    level: 'warning',
    make: () => tree.write('sys/module/amdgpu/version', '6.10.5\n'),
    evidence: /amdgpu\/version/,
    fix: /amdgpu-dkms/,
  },
  {
    code: 'MODE_FORCED',
    level: 'note',
    make: () => tree.write('sys/module/amdgpu/parameters/user_partt_mode', '4\n'),
    evidence: /user_partt_mode/,
    fix: /module options/,
  },
  {
    code: 'MINOR_TAKEN',
    level: 'warning',
    make: () => tree.write('sys/class/drm/card0/device/vendor', '0x1a03\n'),
    evidence: /card0\/device\/vendor/,
    fix: /modprobe -r ast/,
  },
  {
    code: 'KFD_DEVICE_ABSENT',
    level: 'error',
    make: () => tree.write('dev/dri/renderD128', ''),
    evidence: /dev\/kfd is absent/,
    fix: /CONFIG_HSA_AMD/,
  },
  {
    code: 'CONTAINER_CANNOT_RELOAD',
    level: 'note',
    make: () => {
      tree.write('.dockerenv', '');
      tree.write('proc/self/status', STATUS(0, '00000000a80425fb'));
    },
    evidence: /CapEff.*lib\/modules absent/,
    fix: /SYS_MODULE/,
  },
  {
    code: 'CGROUP_LIMITS',
    level: 'note',
    make: () => {
      tree.write('sys/fs/cgroup/cgroup.controllers', 'cpu memory\n');
      tree.write('sys/fs/cgroup/memory.max', '8589934592\n');
      tree.write('sys/fs/cgroup/pids.max', 'max\n');
      tree.write('sys/fs/cgroup/cpu.max', '200000 100000\n');
    },
    evidence: /memory\.max 8589934592, cpu\.max 2 CPUs/,
    fix: /raise them/,
  },
  {
    code: 'CGROUP_V1',
    level: 'note',
    make: () => tree.write('sys/fs/cgroup/devices/tasks', ''),
    evidence: /cgroup\.controllers is absent/,
    fix: /unified_cgroup_hierarchy/,
  },
  {
    code: 'FEW_OPEN_FILES',
    level: 'warning',
    make: () =>
      tree.write(
        'proc/self/limits',
        'Max open files            1024                 524288               files\n',
      ),
    evidence: /Max open files/,
    fix: /ulimit -n 4096/,
  },
  {
    code: 'HELD_BY_WATCHER',
    level: 'warning',
    make: () => {
      tree.link('proc/900/fd/5', '/dev/kfd');
      tree.write('proc/900/comm', 'gpuagent\n');
      tree.write('proc/900/status', 'Uid:\t0\t0\t0\t0\n');
    },
    evidence: /\/dev\/kfd is open in process 900 of user 0/,
    fix: /stop gpuagent before a repartition/,
  },
  {
    code: 'HELD',
    level: 'note',
    make: () => {
      tree.link('proc/901/fd/5', '/dev/dri/renderD130');
      tree.write('proc/901/comm', 'vllm\n');
    },
    evidence: /renderD130 is open in process 901/,
    fix: /stop process 901/,
  },
  {
    code: 'UNCORRECTABLE_ERRORS',
    level: 'warning',
    make: () => tree.write(`${driverDirectory(2)}/ras/umc_err_count`, 'ue: 2\nce: 0\n'),
    evidence: /umc_err_count: ue 2/,
    fix: /dmesg/,
  },
  {
    code: 'RETIRED_PAGES',
    level: 'note',
    make: () => tree.write(`${driverDirectory(2)}/ras/gpu_vram_bad_pages`, '0x1 : 0x1000 : R\n'),
    evidence: /1 retired/,
    fix: null,
  },
  {
    code: 'PARTITION_MISSING',
    level: 'warning',
    make: () => tree.removeFile('sys/class/kfd/kfd/topology/nodes/65'),
    evidence: /topology\/nodes/,
    fix: /modprobe -r ast/,
  },
  {
    code: 'CARD_IS_PASSED_THROUGH',
    level: 'note',
    make: () => tree.write('proc/cpuinfo', 'flags : fpu hypervisor\n'),
    evidence: /proc\/cpuinfo/,
    fix: null,
  },
  {
    code: 'TOOL_MISSING',
    level: 'note',
    make: () => tree.removeFile('usr/bin/amd-smi'),
    evidence: /usr\/bin\/amd-smi/,
    fix: /amd-smi-lib/,
  },
  {
    code: 'TOOL_LACKS_CARD',
    level: 'warning',
    make: () => writeAmdSmi(tree),
    evidence: /amd-smi list/,
    fix: null,
  },
];

describe('a full node that has', () => {
  beforeEach(() => {
    writeFullNode(tree);
    quietTool();
  });

  it.each(SICK)(
    '$code: $level, with evidence and one fix',
    async ({ code, level, make, evidence, fix }) => {
      expect(await find(code)).toBeUndefined();
      make();
      const found = await find(code);
      expect(found).toMatchObject({ code, level });
      expect(found?.message).not.toBe('');
      expect(found?.evidence).toMatch(evidence);
      if (fix === null) expect(found?.fix).toBeNull();
      else expect(found?.fix).toMatch(fix);
      expect(found?.kind === null).toBe(level !== 'error');
    },
  );

  it('several things wrong tells errors first', async () => {
    for (const { make } of SICK) make();
    const levels = (await examine()).findings.map((finding) => finding.level);
    const order = ['error', 'warning', 'note'];
    expect(levels).toEqual(levels.toSorted((a, b) => order.indexOf(a) - order.indexOf(b)));
    expect(new Set(levels)).toEqual(new Set(order));
  });
});

it('a process that only the tool shows is a holder too', async () => {
  writeFullNode(tree);
  writeAmdSmi(tree);
  const held = (await examine()).findings.filter((finding) => finding.code === 'HELD');
  expect(held).toMatchObject([
    {
      message: expect.stringContaining('process 77 (secret-model)'),
      evidence: expect.stringContaining('GPU 0 of amd-smi'),
    },
  ]);
});

describe('a host without a card', () => {
  const device = (driver: string | null): void => {
    const directory = 'sys/bus/pci/devices/0000:0c:00.0';
    tree.write(`${directory}/vendor`, '0x1002\n');
    tree.write(`${directory}/class`, '0x120000\n');
    tree.write(`${directory}/device`, '0x74a1\n');
    if (driver !== null) tree.link(`${directory}/driver`, `../../../bus/pci/drivers/${driver}`);
  };
  const CASES: readonly (readonly [string, () => void, RegExp])[] = [
    ['NO_GPU', () => undefined, /driver: simulated/],
    ['NO_GPU', () => tree.write('run/.containerenv', ''), /--device=\/dev\/kfd/],
    ['DRIVER_NOT_LOADED', () => device(null), /modprobe amdgpu/],
    ['CARD_OF_OTHER_DRIVER', () => device('vfio-pci'), /unbind of vfio-pci/],
  ];

  it.each(CASES)('%s: the one finding, and what to do', async (code, make, fix) => {
    make();
    const { findings } = await examine();
    expect(findings).toMatchObject([{ code, level: 'error', kind: 'missing' }]);
    expect(findings[0]?.fix).toMatch(fix);
  });
});

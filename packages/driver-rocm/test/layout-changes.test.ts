/**
 * The changing half of the driver over a made-up MI300X whose kernel does what each test wants: it proves the driver's
 * steps, not the hardware. Errnos and wordings are those of the captures and of the kernel's documentation.
 */
import { cardId, nodeName } from '@aim-gpu/core';
import { createManualClock } from '@aim-gpu/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CommandCall, CommandOutcome } from '../src/command-runner.js';
import { createHostFiles } from '../src/host-files.js';
import { createRocmDriver, type FileTree, type RocmDriverOptions } from '../src/index.js';
import { createTree, type TestTree } from './support/trees.js';

const ID = cardId('0000:05:00.0');
const DEVICE = `sys/module/amdgpu/drivers/pci:amdgpu/${ID}`;
const NODES = 'sys/class/kfd/kfd/topology/nodes';
const QUICK = {
  busyRetryMs: 2000,
  busyForMs: 6000,
  settleLookMs: 500,
  settleForMs: 2000,
  switchTimeoutMs: 9000,
  reloadTimeoutMs: 3000,
};

let tree: TestTree;
beforeEach(() => {
  tree = createTree();
  writeCard('SPX', 'NPS1');
});
afterEach(() => tree.remove());

/** One MI300X in a mode, as the kernel would show it. */
function writeCard(compute: 'SPX' | 'CPX', memory: string): void {
  const files = {
    vendor: '0x1002',
    device: '0x74a1',
    current_compute_partition: compute,
    current_memory_partition: memory,
    available_compute_partition: 'SPX, DPX, QPX, CPX',
    available_memory_partition: 'NPS1, NPS2, NPS4',
    numa_node: '0',
    mem_info_vram_total: '206141652992',
    enforce_isolation: '0 0 0 0 0 0 0 0',
    run_cleaner_shader: '',
    compute_partition_mem_alloc_mode: 'CAPPING',
  };
  for (const [name, text] of Object.entries(files)) tree.write(`${DEVICE}/${name}`, `${text}\n`);
  const count = compute === 'SPX' ? 1 : 8;
  tree.write(`${NODES}/0/properties`, 'cpu_cores_count 64\nsimd_count 0\n');
  tree.write(`${NODES}/0/gpu_id`, '0\n');
  for (let index = 0; index < count; index += 1) {
    const lines = [
      `simd_count ${1216 / count}`,
      `num_xcc ${8 / count}`,
      'vendor_id 4098',
      'device_id 29857',
      `location_id ${0x500 + index}`,
      'domain 0',
      `drm_render_minor ${128 + index}`,
      'hive_id 1',
      'gfx_target_version 90402',
    ];
    tree.write(`${NODES}/${index + 1}/properties`, `${lines.join('\n')}\n`);
    tree.write(`${NODES}/${index + 1}/gpu_id`, `${1000 + index}\n`);
  }
}

function open(options: Partial<RocmDriverOptions> = {}) {
  const clock = createManualClock();
  const driver = createRocmDriver({
    node: nodeName('node0'),
    clock,
    root: tree.root,
    timing: QUICK,
    ...options,
  });
  return { clock, driver };
}

/** The tree's files, with another answer to writes. */
function withWrites(write: (file: string, text: string) => string | null): FileTree {
  const files = createHostFiles(tree.root);
  return { ...files, write: (file, text) => Promise.resolve(write(file, text)) };
}

/** Runs a change to its end on the manual clock; what it came to is its value or its error. */
async function settled<T>(
  clock: ReturnType<typeof createManualClock>,
  work: Promise<T>,
): Promise<{ readonly value?: T; readonly error?: unknown }> {
  let end: { value?: T; error?: unknown } | null = null;
  work.then(
    (value) => {
      end = { value };
    },
    (error: unknown) => {
      end = { error };
    },
  );
  // Files are read by threads: time moves on only while the driver waits for it.
  const until = performance.now() + 10_000;
  while (end === null && performance.now() < until) {
    await new Promise((resolve) => setImmediate(resolve));
    if (clock.pending() > 0) await clock.advance(500);
  }
  if (end === null) throw new Error('the change does not end');
  return end;
}

async function change(
  options: Partial<RocmDriverOptions>,
  act: (driver: ReturnType<typeof createRocmDriver>, generation: string) => Promise<unknown>,
) {
  const { clock, driver } = open(options);
  const { generation } = await driver.discover();
  const end = await settled(clock, act(driver, generation));
  return { ...end, clock };
}

describe('a compute switch', () => {
  it('writes the mode and comes back when its partitions are there', async () => {
    const written: string[] = [];
    const files = withWrites((file, text) => {
      written.push(`${file} ${text}`);
      writeCard('CPX', 'NPS1');
      return null;
    });
    const { value } = await change({ files }, (driver, expect) =>
      driver.setComputeMode(ID, 'CPX', { expect }),
    );
    expect(written).toEqual([`${DEVICE}/current_compute_partition CPX`]);
    expect(value).toMatchObject({ cards: [{ layout: { compute: 'CPX', memory: 'NPS1' } }] });
    expect((value as { cards: { partitions: unknown[] }[] }).cards[0]?.partitions).toHaveLength(8);
  });

  it('returns what is there when the kernel says ok and does nothing: the caller compares', async () => {
    const { value, clock } = await change({ files: withWrites(() => null) }, (driver, expect) =>
      driver.setComputeMode(ID, 'CPX', { expect }),
    );
    expect(value).toMatchObject({ cards: [{ layout: { compute: 'SPX' } }] });
    expect(clock.monoMs()).toBeGreaterThanOrEqual(QUICK.settleForMs);
  });

  it('writes nothing when the card is in the mode already', async () => {
    const files = withWrites(() => {
      throw new Error('a write');
    });
    const { value } = await change({ files }, (driver, expect) =>
      driver.setComputeMode(ID, 'SPX', { expect }),
    );
    expect(value).toMatchObject({ cards: [{ layout: { compute: 'SPX' } }] });
  });

  it('tries a busy card again while nobody is seen to hold it', async () => {
    let tries = 0;
    const files = withWrites(() => {
      tries += 1;
      if (tries < 3) return 'EBUSY';
      writeCard('CPX', 'NPS1');
      return null;
    });
    const { value } = await change({ files }, (driver, expect) =>
      driver.setComputeMode(ID, 'CPX', { expect }),
    );
    expect(tries).toBe(3);
    expect(value).toMatchObject({ cards: [{ layout: { compute: 'CPX' } }] });
  });

  it('does not try again on a card that somebody else has changed meanwhile', async () => {
    let tries = 0;
    const files = withWrites(() => {
      tries += 1;
      writeCard('CPX', 'NPS1');
      return 'EBUSY';
    });
    const { error } = await change({ files }, (driver, expect) =>
      driver.setComputeMode(ID, 'QPX', { expect }),
    );
    expect(tries).toBe(1);
    expect(error).toMatchObject({ code: 'ERR_GENERATION_STALE', kind: 'conflict' });
  });

  it('gives up on one that stays busy, after its time', async () => {
    let tries = 0;
    const files = withWrites(() => {
      tries += 1;
      return 'EBUSY';
    });
    const { error } = await change({ files }, (driver, expect) =>
      driver.setComputeMode(ID, 'CPX', { expect }),
    );
    expect(tries).toBe(4);
    expect(error).toMatchObject({ code: 'ERR_DEVICE_BUSY', details: { holders: [] } });
  });

  it('names the holders of a busy card at once', async () => {
    tree.link('proc/77/fd/4', '/dev/dri/renderD128');
    tree.write('proc/77/comm', 'vllm\n');
    const { error, clock } = await change({ files: withWrites(() => 'EBUSY') }, (driver, expect) =>
      driver.setComputeMode(ID, 'CPX', { expect }),
    );
    expect(error).toMatchObject({
      code: 'ERR_DEVICE_BUSY',
      kind: 'conflict',
      details: { holders: [{ pid: 77, command: 'vllm', device: '/dev/dri/renderD128' }] },
    });
    expect(clock.monoMs()).toBe(0);
  });

  it.each([
    ['EACCES', 'ERR_DRIVER_PERMISSION', 'denied'],
    ['EROFS', 'ERR_DRIVER_PERMISSION', 'denied'],
    ['EPERM', 'ERR_DRIVER_PERMISSION', 'denied'],
    ['EINVAL', 'ERR_LAYOUT_UNSUPPORTED', 'refused'],
    ['EOPNOTSUPP', 'ERR_LAYOUT_UNSUPPORTED', 'refused'],
    ['ENOENT', 'ERR_LAYOUT_UNSUPPORTED', 'refused'],
    ['EIO', 'ERR_DRIVER_IO', 'unavailable'],
    ['ENODEV', 'ERR_DRIVER_IO', 'unavailable'],
  ])('%s is %s', async (errno, code, kind) => {
    const { error } = await change({ files: withWrites(() => errno) }, (driver, expect) =>
      driver.setComputeMode(ID, 'CPX', { expect }),
    );
    expect(error).toMatchObject({ code, kind, details: { errno } });
  });

  it('waits out a reset that ends', async () => {
    let tries = 0;
    const files = withWrites(() => {
      tries += 1;
      if (tries === 1) return 'EPERM';
      writeCard('CPX', 'NPS1');
      return null;
    });
    const { value } = await change({ files }, (driver, expect) =>
      driver.setComputeMode(ID, 'CPX', { expect }),
    );
    expect(value).toMatchObject({ cards: [{ layout: { compute: 'CPX' } }] });
  });

  it('says that the outcome is unknown when the kernel does not answer', async () => {
    const files = {
      ...createHostFiles(tree.root),
      write: () => new Promise<null>(() => undefined),
    };
    const { error } = await change({ files }, (driver, expect) =>
      driver.setComputeMode(ID, 'CPX', { expect }),
    );
    expect(error).toMatchObject({ code: 'ERR_SWITCH_TIMEOUT', kind: 'timeout' });
  });

  it('refuses a mode that the card does not offer, an unknown card and a stale generation', async () => {
    const files = withWrites(() => {
      throw new Error('a write');
    });
    const { error } = await change({ files }, (driver, expect) =>
      driver.setComputeMode(ID, 'TPX', { expect }),
    );
    expect(error).toMatchObject({ code: 'ERR_LAYOUT_UNSUPPORTED' });
    const other = await change({ files }, (driver, expect) =>
      driver.setComputeMode(cardId('0000:ff:00.0'), 'CPX', { expect }),
    );
    expect(other.error).toMatchObject({ code: 'ERR_DEVICE_UNKNOWN' });
    const stale = await change({ files }, (driver) =>
      driver.setComputeMode(ID, 'CPX', { expect: 'of yesterday' }),
    );
    expect(stale.error).toMatchObject({ code: 'ERR_GENERATION_STALE', kind: 'conflict' });
  });

  it('stops waiting when it is cancelled', async () => {
    const { clock, driver } = open({ files: withWrites(() => 'EBUSY') });
    const { generation } = await driver.discover();
    const controller = new AbortController();
    const work = driver.setComputeMode(ID, 'CPX', {
      expect: generation,
      signal: controller.signal,
    });
    controller.abort(new Error('enough'));
    expect((await settled(clock, work)).error).toMatchObject({ message: 'enough' });
  });
});

/** Programs of a test: what they were called with, and what they answer. */
function programs(answer: (call: CommandCall) => CommandOutcome) {
  const calls: string[] = [];
  const inputs: (string | undefined)[] = [];
  for (const name of ['amd-smi', 'modprobe']) tree.write(`usr/bin/${name}`, '');
  return {
    calls,
    inputs,
    commands: {
      run: (call: CommandCall) => {
        calls.push([call.file.slice(tree.root.length), ...call.args].join(' '));
        inputs.push(call.input);
        return Promise.resolve(answer(call));
      },
    },
  };
}

const ended = (exitCode: number, stdout = '', stderr = ''): CommandOutcome => ({
  kind: 'ended',
  exitCode,
  stdout,
  stderr,
});

/** The files of a host that hides the two files that are written. */
function withoutModeFiles(): FileTree {
  const files = createHostFiles(tree.root);
  return {
    ...files,
    access: (file) => (file.includes('_partition') ? Promise.resolve(null) : files.access(file)),
  };
}

describe('a host that hides the kernel files', () => {
  it('asks amd-smi, and tells the reason', async () => {
    const told: unknown[] = [];
    const none = (): void => undefined;
    const logger = {
      debug: none,
      info: (event: string, fields?: unknown) => void told.push([event, fields]),
      warn: none,
      error: none,
    };
    const { calls, inputs, commands } = programs(() => {
      writeCard('CPX', 'NPS1');
      return ended(
        0,
        'GPU: 0\n    ACCELERATOR_PARTITION: Successfully set accelerator partition to CPX (profile #3)\n',
      );
    });
    const { value } = await change(
      { files: withoutModeFiles(), commands, logger },
      (driver, expect) => driver.setComputeMode(ID, 'CPX', { expect }),
    );
    expect(value).toMatchObject({ cards: [{ layout: { compute: 'CPX' } }] });
    expect(calls).toEqual([`/usr/bin/amd-smi set --gpu ${ID} --compute-partition CPX`]);
    expect(inputs).toEqual([undefined]);
    expect(told).toEqual([
      ['mode change', expect.objectContaining({ way: 'amd-smi', card: ID, mode: 'CPX' })],
    ]);
  });

  it('answers the question that a memory mode makes it ask', async () => {
    const { calls, inputs, commands } = programs(() => ended(0, ''));
    await change({ files: withoutModeFiles(), commands }, (driver, expect) =>
      driver.stageMemoryMode(ID, 'NPS4', { expect }),
    );
    expect(calls).toEqual([`/usr/bin/amd-smi set --gpu ${ID} --memory-partition NPS4`]);
    expect(inputs).toEqual(['y\n']);
  });

  it.each([
    [
      'a permission refused with exit code 0',
      ended(0, 'PermissionError: Command requires elevation. AMDSMI_STATUS_NO_PERM'),
      'ERR_DRIVER_PERMISSION',
    ],
    [
      'a mode that is not available (status 55)',
      ended(
        1,
        '',
        'amdsmi.amdsmi_exception.AmdSmiLibraryException: Error code:\n\t55 | AMDSMI_STATUS_SETTING_UNAVAILABLE - Setting is not available',
      ),
      'ERR_LAYOUT_UNSUPPORTED',
    ],
    ['an exit code without a word', ended(3), 'ERR_DRIVER_IO'],
    ['a hang', { kind: 'timed-out', stdout: '', stderr: '' } as const, 'ERR_SWITCH_TIMEOUT'],
    [
      'a tool that may not be executed',
      { kind: 'not-started', reason: 'not-executable', message: 'EACCES' } as const,
      'ERR_DRIVER_PERMISSION',
    ],
  ])('%s', async (_name, outcome, code) => {
    const { commands } = programs(() => outcome);
    const { error } = await change({ files: withoutModeFiles(), commands }, (driver, expect) =>
      driver.setComputeMode(ID, 'CPX', { expect }),
    );
    expect(error).toMatchObject({ code });
  });

  it('has no way when there is no tool either', async () => {
    const { error } = await change({ files: withoutModeFiles() }, (driver, expect) =>
      driver.setComputeMode(ID, 'CPX', { expect }),
    );
    expect(error).toMatchObject({ code: 'ERR_LAYOUT_UNSUPPORTED', details: { errno: 'ENOENT' } });
  });
});

describe('a memory mode', () => {
  it('is staged, and in force after a reload', async () => {
    let staged = false;
    const files = withWrites((file) => {
      staged = file.endsWith('current_memory_partition');
      return null;
    });
    const { calls, commands } = programs((call) => {
      if (call.args[0] === 'amdgpu' && staged) writeCard('CPX', 'NPS4');
      return ended(0);
    });
    const { value } = await change({ files, commands, allowReload: true }, async (driver, at) => {
      const { generation } = await driver.stageMemoryMode(ID, 'NPS4', { expect: at });
      return driver.reload({ expect: generation });
    });
    expect(calls).toEqual(['/usr/bin/modprobe -r amdgpu', '/usr/bin/modprobe amdgpu']);
    expect(value).toMatchObject({ cards: [{ layout: { compute: 'CPX', memory: 'NPS4' } }] });
  });

  it('refuses one that the card does not offer', async () => {
    const { error } = await change({ files: withWrites(() => null) }, (driver, expect) =>
      driver.stageMemoryMode(ID, 'NPS8', { expect }),
    );
    expect(error).toMatchObject({ code: 'ERR_LAYOUT_UNSUPPORTED' });
  });

  it('reloads only where that is allowed', async () => {
    const { calls, commands } = programs(() => ended(0));
    const { error } = await change({ commands }, (driver, expect) => driver.reload({ expect }));
    expect(error).toMatchObject({ code: 'ERR_RELOAD_NOT_ALLOWED', kind: 'refused' });
    expect(calls).toEqual([]);
  });

  it('does not touch the driver while anything holds a card', async () => {
    tree.link('proc/78/fd/3', '/dev/kfd');
    const { calls, commands } = programs(() => ended(0));
    const { error } = await change({ commands, allowReload: true }, (driver, expect) =>
      driver.reload({ expect }),
    );
    expect(error).toMatchObject({ code: 'ERR_DEVICE_BUSY', details: { holders: [{ pid: 78 }] } });
    expect(calls).toEqual([]);
  });

  it.each([
    ['in use', ended(1, '', 'modprobe: FATAL: Module amdgpu is in use.\n'), 'ERR_DEVICE_BUSY', 1],
    [
      'not permitted',
      ended(
        1,
        '',
        "modprobe: ERROR: ../libkmod/libkmod-module.c:799 kmod_module_remove_module() could not remove 'amdgpu': Operation not permitted",
      ),
      'ERR_DRIVER_PERMISSION',
      1,
    ],
    ['a hang', { kind: 'timed-out', stdout: '', stderr: '' } as const, 'ERR_SWITCH_TIMEOUT', 1],
  ])('unloading: %s', async (_name, outcome, code, runs) => {
    const { calls, commands } = programs(() => outcome);
    const { error } = await change({ commands, allowReload: true }, (driver, expect) =>
      driver.reload({ expect }),
    );
    expect(error).toMatchObject({ code });
    expect(calls).toHaveLength(runs);
  });

  it('says when the driver was unloaded and would not load again', async () => {
    const { commands } = programs((call) =>
      call.args[0] === '-r' ? ended(0) : ended(1, '', 'modprobe: ERROR: no such device'),
    );
    const { error } = await change({ commands, allowReload: true }, (driver, expect) =>
      driver.reload({ expect }),
    );
    expect(error).toMatchObject({ code: 'ERR_DRIVER_IO', details: { unloaded: true } });
  });

  it('loads a driver that was not loaded', async () => {
    const { calls, commands } = programs((call) =>
      call.args[0] === '-r'
        ? ended(1, '', 'modprobe: FATAL: Module amdgpu is not currently loaded.')
        : ended(0),
    );
    const { value } = await change({ commands, allowReload: true }, (driver, expect) =>
      driver.reload({ expect }),
    );
    expect(calls).toHaveLength(2);
    expect(value).toMatchObject({ cards: [{ id: ID }] });
  });

  it('needs modprobe', async () => {
    const { error } = await change({ allowReload: true }, (driver, expect) =>
      driver.reload({ expect }),
    );
    expect(error).toMatchObject({ code: 'ERR_DRIVER_IO', hint: expect.stringContaining('kmod') });
  });
});

describe('what keeps tenants apart', () => {
  it('sets and reads back allocation, isolation of one partition and the cleaner', async () => {
    const { driver } = open();
    await driver.setMemoryAllocation(ID, 'all');
    await driver.setIsolation(ID, 3, true);
    await driver.cleanPartition(ID, 3);
    const files = createHostFiles(tree.root);
    expect(await files.read(`${DEVICE}/compute_partition_mem_alloc_mode`)).toMatchObject({
      text: 'ALL',
    });
    expect(await files.read(`${DEVICE}/enforce_isolation`)).toMatchObject({
      text: '0 0 0 1 0 0 0 0',
    });
    expect(await files.read(`${DEVICE}/run_cleaner_shader`)).toMatchObject({ text: '3' });
    await driver.setMemoryAllocation(ID, 'capping');
    expect((await driver.health())[0]).toMatchObject({ memoryAllocation: 'capping' });
  });

  it('refuses a partition that is not there, and a kernel that has no such file', async () => {
    const { driver } = open();
    await expect(driver.setIsolation(ID, 9, true)).rejects.toMatchObject({
      code: 'ERR_DEVICE_UNKNOWN',
    });
    const bare = { ...createHostFiles(tree.root), access: () => Promise.resolve(null) };
    await expect(open({ files: bare }).driver.cleanPartition(ID, 0)).rejects.toMatchObject({
      code: 'ERR_LAYOUT_UNSUPPORTED',
    });
  });

  it('does not believe a write that cannot be read back', async () => {
    const { driver } = open({ files: withWrites(() => null) });
    await expect(driver.setMemoryAllocation(ID, 'all')).rejects.toMatchObject({
      code: 'ERR_DRIVER_IO',
      details: { wanted: 'ALL', found: 'CAPPING' },
    });
  });
});

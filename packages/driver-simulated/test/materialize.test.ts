/** The machine as a directory: what a reader finds, what writes do, what the executables say. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  type ComputeMode,
  createRng,
  gib,
  instanceId,
  nodeName,
  systemClock,
  workloadName,
} from '@aim-gpu/core';
import { createMemoryStateStore } from '@aim-gpu/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createSimulatedDriver,
  type MaterializedMachine,
  ROCM_6_KERNEL,
  type SimulatedDriver,
} from '../src/index.js';
import { CARD, createBench, someSimulatedCards } from './simulated-machine.js';

const CARD_FILES = `sys/module/amdgpu/drivers/pci:amdgpu/${CARD}`;
const COMPUTE = `${CARD_FILES}/current_compute_partition`;
const MEMORY = `${CARD_FILES}/current_memory_partition`;

let directory: string;
let driver: SimulatedDriver | null = null;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'aim-gpu-tree-'));
});
afterEach(async () => {
  await driver?.close();
  driver = null;
  await rm(directory, { recursive: true, force: true });
});

const read = (file: string): Promise<string> => readFile(path.join(directory, file), 'utf8');

/** A tree over a machine on a manual clock; `refresh` shows what has changed. */
async function createTree(options: Parameters<typeof createBench>[0] = {}) {
  const bench = createBench(options);
  driver = bench.driver;
  const tree = await bench.driver.materialize(directory);
  const set = async (mode: ComputeMode): Promise<void> => {
    const { generation } = await bench.driver.discover();
    await bench.run(bench.driver.setComputeMode(CARD, mode, { expect: generation }));
    await tree.refresh();
  };
  return { ...bench, tree, set };
}

describe('what a reader finds', () => {
  it('partition files, KFD nodes, DRM devices and the module', async () => {
    const { set } = await createTree();
    expect(await read(COMPUTE)).toBe('SPX\n');
    expect(await read(MEMORY)).toBe('NPS1\n');
    expect(await read(`${CARD_FILES}/available_compute_partition`)).toBe('SPX, DPX, QPX, CPX\n');
    expect(await read(`${CARD_FILES}/available_memory_partition`)).toBe('NPS1, NPS2, NPS4\n');
    expect(await readdir(path.join(directory, 'sys/class/kfd/kfd/topology/nodes'))).toEqual([
      '0',
      '1',
      '2',
    ]);
    await set('CPX');
    expect(await read(COMPUTE)).toBe('CPX\n');
    const nodes = await readdir(path.join(directory, 'sys/class/kfd/kfd/topology/nodes'));
    expect(nodes).toHaveLength(10);
    const properties = await read('sys/class/kfd/kfd/topology/nodes/9/properties');
    expect(properties).toMatch(/^simd_count 152$/m);
    expect(properties).toMatch(/^drm_render_minor 135$/m);
    expect(await readlink(path.join(directory, 'sys/class/drm/card0/device'))).toContain(CARD);
    expect(await read('proc/modules')).toMatch(/^amdgpu /);
    expect(await readdir(path.join(directory, 'dev/dri'))).toHaveLength(9);
  });

  it('older kernels: all modes of the dies, names with a dot, no switch of the allocation mode', async () => {
    await createTree({ kernel: ROCM_6_KERNEL });
    expect(await readdir(path.join(directory, 'sys/devices/platform'))).toContain('amdgpu_xcp.0');
    expect(await readdir(path.join(directory, CARD_FILES))).not.toContain(
      'compute_partition_mem_alloc_mode',
    );
  });

  it('a memory mode that cannot be chosen has no list', async () => {
    await createTree({ cards: someSimulatedCards(1, 'MI300A') });
    expect(await readdir(path.join(directory, CARD_FILES))).not.toContain(
      'available_memory_partition',
    );
    expect(await read(`${CARD_FILES}/available_compute_partition`)).toBe('SPX, TPX, CPX\n');
  });

  it('an empty mode during a switch, and EPERM for who can be told', async () => {
    const { driver: machine, clock, tree } = await createTree();
    const { generation } = await machine.discover();
    const call = machine.setComputeMode(CARD, 'CPX', { expect: generation });
    await clock.advance(50);
    await tree.refresh();
    expect(await read(COMPUTE)).toBe('');
    expect(tree.readError(COMPUTE)).toBe('EPERM');
    expect(tree.readError(MEMORY)).toBeNull();
    await clock.advance(10_000);
    await call;
    await tree.refresh();
    expect(tree.readError(COMPUTE)).toBeNull();
  });

  it('processes that hold a card', async () => {
    const { driver: machine, tree } = await createTree();
    const held = await machine.hold({ card: CARD, pid: 100, command: 'exporter' });
    await tree.refresh();
    expect(await read('proc/100/comm')).toBe('exporter\n');
    expect(await readlink(path.join(directory, 'proc/100/fd/3'))).toBe('/dev/kfd');
    expect(await readlink(path.join(directory, 'proc/100/fd/4'))).toBe('/dev/dri/renderD128');
    await held.release();
  });

  it('memory in use', async () => {
    const { driver: machine, tree } = await createTree();
    await machine.sharedDevice.attach({
      instance: instanceId(workloadName('chat'), 0),
      pid: 100,
      card: CARD,
      partition: 0,
      memoryBytes: gib(7),
    });
    await tree.refresh();
    expect(await read(`${CARD_FILES}/mem_info_vram_used`)).toBe(`${gib(7)}\n`);
  });

  it('63 partitions of 8 cards in CPX where a management controller takes a minor', async () => {
    // F09: 8x MI300X in CPX, 63 GPU nodes, render minors 128 to 190.
    const bench = createBench({ cards: someSimulatedCards(8), kernel: { bmc: true } });
    driver = bench.driver;
    let inventory = await bench.driver.discover();
    for (const { id } of inventory.cards) {
      const { generation } = inventory;
      inventory = await bench.run(bench.driver.setComputeMode(id, 'CPX', { expect: generation }));
    }
    const minors = inventory.cards.flatMap((card) => card.partitions.map((p) => p.renderMinor));
    expect(minors).toEqual(Array.from({ length: 63 }, (_, n) => 128 + n));
    expect(inventory.problems.map((problem) => problem.code)).toEqual(['PARTITION_MISSING']);
    await bench.driver.materialize(directory);
    const nodes = await readdir(path.join(directory, 'sys/class/kfd/kfd/topology/nodes'));
    expect(nodes).toHaveLength(65);
    expect(await readdir(path.join(directory, 'sys/class/drm'))).toContain('card1');
  });
});

describe('writes through the kernel', () => {
  it.each([
    [COMPUTE, 'cpx', null],
    [COMPUTE, 'CPX\n', null],
    [COMPUTE, 'SPX', null],
    [COMPUTE, 'TPX', 'EINVAL'],
    [COMPUTE, 'what', 'EINVAL'],
    [MEMORY, 'NPS4\n', null],
    [MEMORY, 'NPS8', 'EINVAL'],
    [MEMORY, 'NPS3', 'EINVAL'],
    [`${CARD_FILES}/compute_partition_mem_alloc_mode`, 'ALL', null],
    [`${CARD_FILES}/compute_partition_mem_alloc_mode`, 'SOME', 'EINVAL'],
    [`${CARD_FILES}/enforce_isolation`, '1', null],
    [`${CARD_FILES}/enforce_isolation`, '1 1', 'EINVAL'],
    [`${CARD_FILES}/run_cleaner_shader`, '0', null],
    [`${CARD_FILES}/run_cleaner_shader`, '1', 'EINVAL'],
    [`${CARD_FILES}/compute_partition_config/xcp_config`, 'DPX', null],
    [`${CARD_FILES}/compute_partition_config/xcp_config`, 'TPX', 'EINVAL'],
    [`${CARD_FILES}/vendor`, '0x1', 'ENOENT'],
    ['etc/passwd', 'x', 'ENOENT'],
  ])('%s takes %j: %s', async (file, text, errno) => {
    const { tree, run } = await createTree();
    const result = await run(tree.write(file, text));
    expect(result.ok ? null : result.errno).toBe(errno);
  });

  it('blocks until the switch has ended; the partitions appear later', async () => {
    const { tree, run, clock } = await createTree();
    expect(await run(tree.write(COMPUTE, 'DPX'))).toEqual({ ok: true });
    expect(await read(COMPUTE)).toBe('DPX\n');
    await clock.advance(2500);
    await tree.refresh();
    const nodes = await readdir(path.join(directory, 'sys/class/kfd/kfd/topology/nodes'));
    expect(nodes).toHaveLength(4);
  });

  it('busy, in reset, on an APU, without the right', async () => {
    const { driver: machine, tree, clock } = await createTree();
    const held = await machine.hold({ card: CARD, pid: 100, command: 'exporter' });
    expect(await tree.write(COMPUTE, 'DPX')).toMatchObject({ errno: 'EBUSY' });
    await held.release();
    await clock.advance(1000);
    const { generation } = await machine.discover();
    const call = machine.setComputeMode(CARD, 'DPX', { expect: generation });
    await clock.advance(50);
    expect(await tree.write(COMPUTE, 'SPX')).toMatchObject({ errno: 'EPERM' });
    expect(await tree.write(MEMORY, 'NPS2')).toMatchObject({ errno: 'EPERM' });
    await clock.advance(10_000);
    await call;
    await machine.close();
    await createTree({ cards: someSimulatedCards(1, 'MI300A') }).then(async (apu) => {
      expect(await apu.tree.write(MEMORY, 'NPS4')).toMatchObject({ errno: 'EACCES' });
      await apu.driver.close();
    });
    const user = await createTree({ privileged: false });
    expect(await user.tree.write(COMPUTE, 'DPX')).toMatchObject({ errno: 'EACCES' });
  });

  it.each([
    [{ on: 'set-compute', effect: { kind: 'busy' } }, 'EBUSY'],
    [{ on: 'set-compute', effect: { kind: 'io' } }, 'EIO'],
    [{ on: 'set-compute', effect: { kind: 'permission' } }, 'EPERM'],
    [{ on: 'set-compute', effect: { kind: 'no-change' } }, null],
  ] as const)('a fault %j gives %s and leaves the mode', async (fault, errno) => {
    const { tree, run } = await createTree({ faults: [fault] });
    const result = await run(tree.write(COMPUTE, 'CPX'));
    expect(result.ok ? null : result.errno).toBe(errno);
    expect(await read(COMPUTE)).toBe('SPX\n');
  });

  it('options of a card can be read back and go with the next switch', async () => {
    const { tree, run, set } = await createTree();
    await set('DPX');
    await run(tree.write(`${CARD_FILES}/enforce_isolation`, '0 1'));
    await run(tree.write(`${CARD_FILES}/compute_partition_mem_alloc_mode`, 'ALL'));
    await run(tree.write(`${CARD_FILES}/compute_partition_config/xcp_config`, 'CPX'));
    expect(await read(`${CARD_FILES}/enforce_isolation`)).toBe('0 1\n');
    expect(await read(`${CARD_FILES}/compute_partition_mem_alloc_mode`)).toBe('ALL\n');
    const config = `${CARD_FILES}/compute_partition_config`;
    expect(await read(`${config}/supported_nps_configs`)).toBe('NPS1, NPS4\n');
    expect(await read(`${config}/dec/num_shared`)).toBe('2\n');
    await set('QPX');
    expect(await read(`${CARD_FILES}/enforce_isolation`)).toBe('0 0 0 0\n');
    expect(await read(`${CARD_FILES}/compute_partition_mem_alloc_mode`)).toBe('CAPPING\n');
  });
});

describe('a live tree', () => {
  const open = async (
    options: Partial<Parameters<typeof createSimulatedDriver>[0]> = {},
  ): Promise<{ readonly driver: SimulatedDriver; readonly tree: MaterializedMachine }> => {
    driver = createSimulatedDriver({
      node: nodeName('node-a'),
      cards: someSimulatedCards(2),
      store: createMemoryStateStore(),
      clock: systemClock,
      rng: createRng(3),
      timing: 'short',
      ...options,
    });
    return { driver, tree: await driver.materialize(directory) };
  };
  const until = async (holds: () => Promise<boolean>, limitMs = 10_000): Promise<number> => {
    const started = systemClock.monoMs();
    while (!(await holds())) {
      if (systemClock.monoMs() - started > limitMs) throw new Error('never came true');
      await systemClock.sleep(5);
    }
    return systemClock.monoMs() - started;
  };
  const run = (tree: MaterializedMachine, tool: string, argv: readonly string[], input = '') =>
    new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
      const child = execFile(
        path.join(tree.toolsDirectory, tool),
        [...argv],
        (error, stdout, stderr) =>
          resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
      );
      child.stdin?.end(input);
    });

  it('takes up a plain write, refuses one by showing the old text, and follows to the end', async () => {
    const { driver: machine } = await open();
    await writeFile(path.join(directory, COMPUTE), 'TPX');
    await until(async () => (await read(COMPUTE)) === 'SPX\n');
    const before = systemClock.monoMs();
    await writeFile(path.join(directory, COMPUTE), 'DPX\n');
    await until(async () => (await machine.discover()).cards[0]?.layout.compute === null);
    // 100 ms by contract; the bound here only has to tell a loop from none on a busy host.
    expect(systemClock.monoMs() - before).toBeLessThan(1000);
    await until(async () => (await machine.discover()).cards[0]?.partitions.length === 2);
    await until(async () => (await read(COMPUTE)) === 'DPX\n');
  });

  it('amd-smi sets, refuses and reports', async () => {
    const { driver: machine, tree } = await open();
    const version = await run(tree, 'amd-smi', ['version', '--json']);
    expect(JSON.parse(version.stdout)[0].version).toMatch(/^26\./);
    const held = await machine.hold({ card: CARD, pid: process.pid, command: 'vllm' });
    const busy = await run(tree, 'amd-smi', ['set', '-g', CARD, '-C', 'CPX']);
    expect(busy.code).toBe(1);
    expect(busy.stderr).toContain('30 | AMDSMI_STATUS_BUSY - Device busy');
    await held.release();
    await systemClock.sleep(300);
    const set = await run(tree, 'amd-smi', ['set', '-g', CARD, '-C', 'CPX']);
    expect(set).toMatchObject({ code: 0, stderr: '' });
    expect(set.stdout).toContain('Successfully set accelerator partition to CPX (profile #3)');
    expect(await read(COMPUTE)).toBe('CPX\n');
    await until(async () => (await machine.discover()).problems.length === 0);
    const list = await run(tree, 'amd-smi', ['list', '--json']);
    expect(JSON.parse(list.stdout)).toHaveLength(9);
    const secondary = await run(tree, 'amd-smi', ['set', '-g', '0000:0c:00.3', '-C', 'SPX']);
    expect(secondary.stderr).toContain('AMDSMI_STATUS_NOT_SUPPORTED');
    const staged = await run(tree, 'amd-smi', ['set', '-g', 'all', '-M', 'NPS4']);
    expect(staged.code).toBe(0);
    expect(await read(MEMORY)).toBe('NPS1\n');
    const cleaned = await run(tree, 'amd-smi', ['reset', '-g', '0000:0c:00.3', '-l']);
    expect(cleaned.code).toBe(0);
    const isolated = await run(tree, 'amd-smi', ['set', '-g', '0000:0c:00.3', '-R', '1']);
    expect(isolated.code).toBe(0);
    expect(await read(`${CARD_FILES}/enforce_isolation`)).toBe('0 0 0 1 0 0 0 0\n');
    const unknown = await run(tree, 'amd-smi', ['set', '-g', '99', '-C', 'SPX']);
    expect(unknown.code).toBe(255);
    expect((await run(tree, 'amd-smi', ['monitor'])).code).toBe(2);
  }, 30_000);

  it('modprobe unloads and loads, which applies what was staged', async () => {
    const { driver: machine, tree } = await open();
    await tree.write(MEMORY, 'NPS4');
    const held = await machine.hold({ card: CARD, pid: process.pid, command: 'vllm' });
    const used = await run(tree, 'modprobe', ['-r', 'amdgpu']);
    expect(used).toMatchObject({ code: 1, stderr: 'modprobe: FATAL: Module amdgpu is in use.\n' });
    await held.release();
    await systemClock.sleep(300);
    expect((await run(tree, 'modprobe', ['-r', 'amdgpu'])).code).toBe(0);
    expect(await read('proc/modules')).toBe('');
    expect((await machine.discover()).problems.map((p) => p.code)).toEqual(['DRIVER_UNLOADED']);
    expect((await run(tree, 'amd-smi', ['list'])).code).toBe(255);
    expect((await run(tree, 'modprobe', ['-r', 'amdgpu'])).code).toBe(1);
    expect((await run(tree, 'modprobe', ['amdgpu'])).code).toBe(0);
    expect(await read(MEMORY)).toBe('NPS4\n');
    expect(await read(COMPUTE)).toBe('CPX\n');
    expect((await run(tree, 'modprobe', ['nvidia'])).stderr).toContain('not found');
  }, 40_000);

  it('the tool of ROCm 6.4 asks, reloads itself, and fails when the driver is in use', async () => {
    const { driver: machine, tree } = await open({ kernel: ROCM_6_KERNEL });
    const refused = await run(tree, 'amd-smi', ['set', '-g', 'all', '-M', 'NPS4'], '');
    expect(refused.code).toBe(1);
    expect(refused.stdout).toContain('Do you accept these terms?');
    const held = await machine.hold({ card: CARD, pid: process.pid, command: 'vllm' });
    const used = await run(tree, 'amd-smi', ['set', '-g', 'all', '-M', 'NPS4'], 'Y\n');
    expect(used.stderr).toContain('54 | AMDSMI_STATUS_AMDGPU_RESTART_ERR');
    await held.release();
    await systemClock.sleep(300);
    const set = await run(tree, 'amd-smi', ['set', '-g', 'all', '-M', 'NPS4'], 'Y\n');
    expect(set.code).toBe(0);
    expect(await read(MEMORY)).toBe('NPS4\n');
    expect(await read(COMPUTE)).toBe('QPX\n');
    await until(async () => (await machine.discover()).problems.length === 0);
    const spx = await run(tree, 'amd-smi', ['set', '-g', '0', '-C', 'SPX']);
    expect(spx.stderr).toContain('55 | AMDSMI_STATUS_SETTING_UNAVAILABLE');
  }, 40_000);

  it('tools say so when the machine is not running, and when they may not', async () => {
    const user = await open({ privileged: false });
    const denied = await run(user.tree, 'amd-smi', ['set', '-g', '0', '-C', 'CPX']);
    // ROCm 7 exits 0 here; what it prints counts.
    expect(denied.code).toBe(0);
    expect(denied.stderr).toContain('10 | AMDSMI_STATUS_NO_PERM');
    expect((await run(user.tree, 'modprobe', ['-r', 'amdgpu'])).code).toBe(1);
    await user.tree.close();
    await user.tree.close();
    const dead = await run(user.tree, 'amd-smi', ['list']);
    expect(dead.code).toBe(69);
    expect(dead.stderr).toContain('not running');
  });
});

describe('the directory', () => {
  it('that holds something else is refused, one of an earlier machine is taken over', async () => {
    await mkdir(path.join(directory, 'mine'));
    const bench = createBench();
    driver = bench.driver;
    await expect(bench.driver.materialize(directory)).rejects.toMatchObject({
      code: 'ERR_TREE_OCCUPIED',
      kind: 'conflict',
    });
    const own = path.join(directory, 'mine');
    const first = await bench.driver.materialize(own);
    await first.close();
    await writeFile(path.join(own, 'sys/left-behind'), '');
    const second = await bench.driver.materialize(own);
    expect(await readdir(path.join(own, 'sys'))).not.toContain('left-behind');
    await second.close();
  });

  it('may have a path too long for a socket', async () => {
    const bench = createBench();
    driver = bench.driver;
    const deep = path.join(directory, 'a'.repeat(90));
    const tree = await bench.driver.materialize(deep);
    expect(await readdir(deep)).not.toContain('machine.sock');
    await tree.close();
  });

  it('that cannot be written is refused', async () => {
    await writeFile(path.join(directory, 'file'), '');
    const bench = createBench();
    driver = bench.driver;
    await expect(bench.driver.materialize(path.join(directory, 'file/x'))).rejects.toMatchObject({
      code: 'ERR_STATE_IO',
    });
  });
});

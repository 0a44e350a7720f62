/**
 * The two drivers as conformance subjects: the simulated one over its machine in memory, and the one of real cards over
 * the tree that the same machine writes. Below both is one simulated machine, so a difference is a driver's.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  type CardId,
  type Clock,
  cardId,
  createRng,
  type GpuDriver,
  hiveId,
  nodeName,
  type SimulatedCard,
} from '@aim-gpu/core';
import {
  type ConformanceFault,
  type ConformanceMachine,
  type ConformanceSubject,
  createMemoryStateStore,
} from '@aim-gpu/core/testing';
import {
  type CommandRunner,
  createHostFiles,
  createRocmDriver,
  type FileTree,
  type RocmDriver,
} from '@aim-gpu/driver-rocm';
import {
  createSimulatedDriver,
  type FaultRule,
  type MaterializedMachine,
  NEWEST_KERNEL,
  ROCM_6_KERNEL,
  type SimulatedDriver,
} from '@aim-gpu/driver-simulated';
import { createIdleClock, type IdleClock } from './idle-clock.js';

/** A subject that is closed when its case has ended. */
interface OpenSubject extends ConformanceSubject {
  readonly fault: NonNullable<ConformanceSubject['fault']>;
  readonly reboot: NonNullable<ConformanceSubject['reboot']>;
  /** Another driver over the same machine, as the next process has. */
  reopen(): GpuDriver;
  close(): Promise<void>;
}

/** Makes a fresh machine and a driver over it. */
export type OpenConformance = (machine: ConformanceMachine) => Promise<OpenSubject>;

const NODE = nodeName('node-a');
const HOLDER_PID = 4242;

function cardsOf(machine: ConformanceMachine): readonly SimulatedCard[] {
  return Array.from({ length: machine.cards }, (_, index) => ({
    id: cardId(`0000:${(0x0c + index * 16).toString(16).padStart(2, '0')}:00.0`),
    product: machine.product,
    hive: hiveId(`0x${(Math.floor((index * machine.hives) / machine.cards) + 1).toString(16)}`),
  }));
}

interface Machine {
  readonly driver: SimulatedDriver;
  readonly clock: IdleClock;
  /** The same machine, opened as a user without rights. */
  withoutRights(): SimulatedDriver;
}

function createMachine(machine: ConformanceMachine): Machine {
  const clock = createIdleClock();
  const store = createMemoryStateStore();
  const base = machine.busyScope === 'node' ? ROCM_6_KERNEL : NEWEST_KERNEL;
  const open = (privileged: boolean): SimulatedDriver =>
    createSimulatedDriver({
      node: NODE,
      cards: cardsOf(machine),
      store,
      clock,
      rng: createRng(11),
      timing: 'short',
      kernel: { ...base, busyScope: machine.busyScope },
      privileged,
      processes: { startTime: (pid) => (pid === HOLDER_PID ? 'a' : null) },
    });
  return { driver: open(true), clock, withoutRights: () => open(false) };
}

function toRule({ on, times = 1, effect }: ConformanceFault): FaultRule {
  return { on, times, effect };
}

function hold(driver: SimulatedDriver, card: CardId): ReturnType<SimulatedDriver['hold']> {
  return driver.hold({ card, pid: HOLDER_PID, command: 'exporter' });
}

/** The simulated driver, in memory. */
export const openSimulated: OpenConformance = (machine) => {
  const { driver, clock, withoutRights } = createMachine(machine);
  return Promise.resolve({
    driver,
    clock,
    hold: (card) => hold(driver, card),
    fault: (fault) => Promise.resolve(driver.faults.script([toRule(fault)])),
    reboot: async () => void (await driver.reboot()),
    unprivileged: () => Promise.resolve(withoutRights()),
    reopen: () => driver,
    close: async () => {
      await driver.close();
      clock.stop();
    },
  });
};

/** The driver of real cards, over a materialized tree; `alter` lets a test break its file port. */
export function openRocmWith(alter: (files: FileTree) => FileTree): OpenConformance {
  return async (machine) => {
    const { driver: below, clock, withoutRights } = createMachine(machine);
    const directories: string[] = [];
    const openDriver = (directory: string, tree: MaterializedMachine): RocmDriver =>
      createRocmDriver({
        node: NODE,
        clock,
        root: directory,
        files: alter(withErrnos(timeless(createHostFiles(directory), clock), tree)),
        commands: toCommands(tree, clock),
        allowReload: true,
      });
    const open = async (
      simulated: SimulatedDriver,
    ): Promise<{ readonly driver: RocmDriver; readonly tree: MaterializedMachine }> => {
      const directory = await mkdtemp(path.join(tmpdir(), 'aim-gpu-conformance-'));
      directories.push(directory);
      const tree = await simulated.materialize(directory, { pollMs: 2000 });
      return { driver: openDriver(directory, tree), tree };
    };
    const { driver, tree } = await open(below);
    return {
      driver,
      clock,
      hold: async (card) => {
        const lease = await hold(below, card);
        await tree.refresh();
        return lease;
      },
      fault: (fault) => Promise.resolve(below.faults.script([toRule(fault)])),
      reboot: async () => {
        await below.reboot();
        await tree.refresh();
      },
      unprivileged: async () => (await open(withoutRights())).driver,
      reopen: () => openDriver(tree.directory, tree),
      close: async () => {
        await driver.close();
        await below.close();
        clock.stop();
        for (const directory of directories) await rm(directory, { recursive: true, force: true });
      },
    };
  };
}

/** The driver of real cards, over a materialized tree. */
export const openRocm: OpenConformance = openRocmWith((files) => files);

/**
 * The tree's own tools, run in this process, so that the clock knows when they have ended. That the executables work is
 * tested with the tree itself.
 */
function toCommands(tree: MaterializedMachine, clock: Clock): CommandRunner {
  return {
    run: ({ file, args, input, timeoutMs, signal }) => {
      const tool = path.basename(file);
      if (tool !== 'amd-smi' && tool !== 'modprobe')
        return Promise.resolve({ kind: 'not-started', reason: 'missing', message: file });
      return new Promise((resolve, reject) => {
        const cancel = clock.timer(timeoutMs, () =>
          resolve({ kind: 'timed-out', stdout: '', stderr: '' }),
        );
        const call = {
          ...(input === undefined ? {} : { answer: input }),
          ...(signal === undefined ? {} : { signal }),
        };
        tree
          .runTool(tool, args, call)
          .then((result) => resolve({ kind: 'ended', ...result }), reject)
          .finally(cancel);
      });
    },
  };
}

/** Files that are read while time stands still. */
function timeless(files: FileTree, clock: IdleClock): FileTree {
  return {
    ...files,
    read: (file) => clock.during(files.read(file)),
    list: (directory) => clock.during(files.list(directory)),
    readHead: (file) => clock.during(files.readHead(file)),
    linkTarget: (file) => clock.during(files.linkTarget(file)),
    access: (file) => clock.during(files.access(file)),
  };
}

/** Plain files cannot refuse: writes and reads get the errno that the kernel would give. */
function withErrnos(files: FileTree, tree: MaterializedMachine): FileTree {
  return {
    ...files,
    read: async (file) => {
      const reason = tree.readError(file);
      return reason === null ? files.read(file) : { kind: 'unreadable', reason };
    },
    write: async (file, text) => {
      const result = await tree.write(file, text);
      return result.ok ? null : result.errno;
    },
  };
}

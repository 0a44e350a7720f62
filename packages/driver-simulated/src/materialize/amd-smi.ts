/**
 * The simulated amd-smi: what a command line does to the machine, what it prints and how it exits. Owns the grammar of
 * the commands it has (version, list, partition, set, reset --clean-local-data); wording is in smi-text.ts.
 */
import {
  type CallOptions,
  COMPUTE_MODES,
  type ComputeMode,
  MEMORY_MODES,
  type MemoryMode,
} from '@aim-gpu/core';
import type { KernelVariant } from '../kernel.js';
import { productOf } from '../machine.js';
import type { MachineChanges } from '../machine-changes.js';
import { reloadDriver } from '../operations.js';
import type { KernelFiles, KernelWrite } from './kernel-files.js';
import { partitionProfiles } from './partition-resources.js';
import {
  listReport,
  type PartitionSection,
  partitionReport,
  type SmiGpu,
  type SmiStatus,
  toBdf,
  toSmiGpus,
  toTraceback,
  versionReport,
} from './smi-text.js';

/** How a run of a tool ended. */
export interface ToolResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command line and how its user is asked. */
export interface ToolCall extends CallOptions {
  readonly argv: readonly string[];
  /** Prints a question and reads one line; the empty text when there is nobody to answer. */
  readonly ask: (question: string) => Promise<string>;
}

const TERMS = [
  '****** WARNING ******',
  '',
  'Setting Dynamic Memory (NPS) partition modes require users to quit all GPU workloads.',
  'AMD SMI will then attempt to change memory (NPS) partition mode.',
  'Upon a successful set, AMD SMI will then initiate an action to restart AMD GPU driver.',
  "This action will change all GPU's in the hive to the requested memory (NPS) partition mode.",
  '',
  'Please use this utility with caution.',
  '',
  'Do you accept these terms? [Y/N] ',
].join('\n');

/** Makes the tool. */
export function createAmdSmi(options: {
  readonly changes: MachineChanges;
  readonly files: KernelFiles;
  readonly kernel: KernelVariant;
  readonly privileged: boolean;
}): (call: ToolCall) => Promise<ToolResult> {
  const { changes, files, kernel, privileged } = options;

  return async (call) => {
    const command = parseCommand(call.argv);
    if (command === null) return usage(call.argv);
    const { inventory } = await changes.look();
    if (command.name === 'version') return done(versionReport(kernel, command.json));
    const gpus = toSmiGpus(inventory);
    // The tool dies at its start when no driver is loaded (status 34).
    if (gpus.length === 0)
      return failed(
        'ERROR:root:Unable to detect any GPU devices, check amdgpu version and module status (sudo modprobe amdgpu)\n',
        255,
      );
    const chosen = chooseGpus(gpus, command.gpu);
    if (chosen === null) return failed(`Can not find a device: ${command.gpu}\n`, 255);
    switch (command.name) {
      case 'list':
        return done(listReport(chosen, command.json));
      case 'partition':
        return done(
          partitionReport({ gpus: chosen, kernel, sections: command.sections, privileged }),
        );
      case 'clean':
        return cleaned(chosen);
      case 'set':
        return set(command, chosen, call);
    }
  };

  async function cleaned(gpus: readonly SmiGpu[]): Promise<ToolResult> {
    let stdout = '';
    for (const gpu of gpus) {
      const name = 'run_cleaner_shader';
      const write = await files.write({ card: gpu.card.id, name }, String(gpu.partition.index));
      if (!write.ok) return refusal(write, `Unable to clean local data on GPU ID: ${gpu.index}`);
      stdout += `GPU: ${gpu.index}\n    CLEAN_LOCAL_DATA: Successfully clean GPU local data\n\n`;
    }
    return done(stdout);
  }

  async function set(
    command: SetCommand,
    gpus: readonly SmiGpu[],
    call: ToolCall,
  ): Promise<ToolResult> {
    if (!privileged) {
      const text = toTraceback('NO_PERM', 'PermissionError: Command requires elevation');
      // ROCm 7 prints the exception and exits 0.
      return { exitCode: kernel.memoryTool === 'stages' ? 0 : 1, stdout: '', stderr: text };
    }
    if (command.memory !== null && kernel.memoryTool === 'reloads') {
      const answer = await call.ask(TERMS);
      if (!/^y/i.test(answer.trim()))
        return failed('Confirmation not given. Exiting without setting value\n', 1);
    }
    let stdout = '';
    for (const gpu of command.gpu === 'all' ? gpus.filter((g) => g.partition.index === 0) : gpus) {
      const result = await setOne(command, gpu, call);
      if (result.exitCode !== 0) return { ...result, stdout: stdout + result.stdout };
      stdout += result.stdout;
    }
    if (command.memory === null || kernel.memoryTool === 'stages') return done(stdout);
    return reloadAfter(command.memory, gpus, stdout, call);
  }

  async function setOne(command: SetCommand, gpu: SmiGpu, call: ToolCall): Promise<ToolResult> {
    const where = `on GPU ID: ${gpu.index} BDF:${toBdf(gpu)}`;
    const secondary = gpu.partition.index !== 0;
    if (command.isolation !== null) {
      const { state } = await changes.look();
      const known = state.cards.find((entry) => entry.id === gpu.card.id);
      const flags = gpu.card.partitions.map(({ index }) => {
        if (index === gpu.partition.index) return command.isolation;
        return known?.isolated?.[index] === true ? '1' : '0';
      });
      const target = { card: gpu.card.id, name: 'enforce_isolation' } as const;
      const write = await files.write(target, flags.join(' '), call);
      if (!write.ok) return refusal(write, `Unable to set process isolation ${where}`);
      return done(
        `GPU: ${gpu.index}\n    PROCESS_ISOLATION: Successfully set process isolation to ${command.isolation}\n\n`,
      );
    }
    if (command.memory !== null) {
      const sentence = `Unable to set memory partition to ${command.memory} ${where}`;
      if (secondary) return failed(toTraceback('NOT_SUPPORTED', `ValueError: ${sentence}`), 1);
      const target = { card: gpu.card.id, name: 'current_memory_partition' } as const;
      const write = await files.write(target, command.memory, call);
      if (!write.ok) return refusal(write, sentence);
      return done(
        `GPU: ${gpu.index}\n    MEMORY_PARTITION: Successfully set memory partition to ${command.memory}\n\n`,
      );
    }
    const profiles = partitionProfiles(productOf({ product: gpu.card.product ?? '' }), kernel);
    const profile = profiles.find(
      (entry) => entry.compute === command.compute || String(entry.index) === command.compute,
    );
    const sentence = `Unable to set accelerator partition to ${command.compute} ${where}`;
    if (secondary) return failed(toTraceback('NOT_SUPPORTED', `ValueError: ${sentence}`), 1);
    if (profile === undefined) return failed(toTraceback('INVAL', `ValueError: ${sentence}`), 1);
    const target = { card: gpu.card.id, name: 'current_compute_partition' } as const;
    const write = await files.write(target, profile.compute, call);
    const memory = gpu.card.layout.memory;
    if (
      !write.ok &&
      write.errno === 'EINVAL' &&
      !profile.memoryModes.some((mode) => mode === memory)
    ) {
      return unavailable(gpu, profile, sentence);
    }
    if (!write.ok) return refusal(write, sentence);
    if (write.window !== null) await changes.waitFor(write.window, 'end', call);
    return done(
      `GPU: ${gpu.index}\n    ACCELERATOR_PARTITION: Successfully set accelerator partition to ${profile.compute} (profile #${profile.index})\n\n`,
    );
  }

  /** Up to ROCm 6.4 the tool reloads the driver itself. */
  async function reloadAfter(
    memory: MemoryMode,
    gpus: readonly SmiGpu[],
    stdout: string,
    call: ToolCall,
  ): Promise<ToolResult> {
    try {
      const request = { call: 'reload', kind: 'reload', card: null, expect: null } as const;
      const window = await changes.begin({ ...request, work: reloadDriver }, call);
      if (window !== null) await changes.waitFor(window, 'end', call);
      return done(stdout);
    } catch {
      call.signal?.throwIfAborted();
      const gpu = gpus[0];
      const sentence = `ValueError: Unable to set memory partition to ${memory} on GPU ID: ${gpu?.index ?? 0}`;
      return failed(toTraceback('AMDGPU_RESTART_ERR', sentence), 1);
    }
  }
}

function unavailable(
  gpu: SmiGpu,
  profile: { readonly compute: string; readonly index: number },
  sentence: string,
): ToolResult {
  const advice = [
    `Attempted to set accelerator partition to ${profile.compute} (profile #${profile.index}) on GPU ID: ${gpu.index} BDF:${toBdf(gpu)}`,
    '',
    '[AMDSMI_STATUS_SETTING_UNAVAILABLE] Please check amd-smi partition --memory --accelerator for available profiles.',
    'Users may need to switch memory partition to another mode in order to enable the desired accelerator partition.',
    '',
    '',
  ].join('\n');
  const last = `ValueError: [AMDSMI_STATUS_SETTING_UNAVAILABLE] ${sentence}`;
  return { exitCode: 1, stdout: advice, stderr: toTraceback('SETTING_UNAVAILABLE', last) };
}

const STATUS_OF_ERRNO: Readonly<Record<string, SmiStatus>> = {
  EACCES: 'NOT_SUPPORTED',
  EBUSY: 'BUSY',
  EINVAL: 'INVAL',
  ENOENT: 'NOT_SUPPORTED',
  EOPNOTSUPP: 'NOT_SUPPORTED',
  EPERM: 'NO_PERM',
};

function refusal(write: Extract<KernelWrite, { ok: false }>, sentence: string): ToolResult {
  return failed(toTraceback(STATUS_OF_ERRNO[write.errno] ?? 'IO', `ValueError: ${sentence}`), 1);
}

interface SetCommand {
  readonly name: 'set';
  readonly gpu: string;
  readonly json: boolean;
  readonly compute: string | null;
  readonly memory: MemoryMode | null;
  readonly isolation: string | null;
}

type Command =
  | { readonly name: 'version' | 'list' | 'clean'; readonly gpu: string; readonly json: boolean }
  | {
      readonly name: 'partition';
      readonly gpu: string;
      readonly json: boolean;
      readonly sections: readonly PartitionSection[];
    }
  | SetCommand;

const SECTION_FLAGS: Readonly<Record<string, PartitionSection>> = {
  '-c': 'current',
  '--current': 'current',
  '-m': 'memory',
  '--memory': 'memory',
  '-a': 'accelerator',
  '--accelerator': 'accelerator',
};

function parseCommand(argv: readonly string[]): Command | null {
  const [name, ...rest] = argv;
  const flagValue = (...flags: readonly string[]): string | null => {
    const at = rest.findIndex((argument) => flags.includes(argument));
    return at === -1 ? null : (rest[at + 1] ?? '');
  };
  const gpu = flagValue('-g', '--gpu') ?? 'all';
  const json = rest.includes('--json');
  switch (name) {
    case 'version':
    case 'list':
      return { name, gpu, json };
    case 'partition': {
      const sections = rest.flatMap((argument) => SECTION_FLAGS[argument] ?? []);
      const all: readonly PartitionSection[] = ['current', 'memory', 'accelerator'];
      return { name, gpu, json, sections: sections.length === 0 ? all : sections };
    }
    case 'reset':
      return rest.includes('-l') || rest.includes('--clean-local-data')
        ? { name: 'clean', gpu, json }
        : null;
    case 'set': {
      const compute = toCompute(flagValue('-C', '--compute-partition'));
      const memory = toMemory(flagValue('-M', '--memory-partition'));
      const isolation = toFlag(flagValue('-R', '--process-isolation'));
      const asked = [compute, memory, isolation].filter((value) => value !== null).length;
      return asked === 1 ? { name, gpu, json, compute, memory, isolation } : null;
    }
    default:
      return null;
  }
}

function toCompute(text: string | null): ComputeMode | string | null {
  if (text === null) return null;
  const word = text.toUpperCase();
  return COMPUTE_MODES.some((mode) => mode === word) || /^\d$/.test(word) ? word : null;
}

function toMemory(text: string | null): MemoryMode | null {
  const word = text?.toUpperCase();
  return MEMORY_MODES.find((mode) => mode === word) ?? null;
}

function toFlag(text: string | null): string | null {
  return text === '0' || text === '1' ? text : null;
}

/** `all`, an index, a PCI address whose function is the partition, or a UUID. */
function chooseGpus(gpus: readonly SmiGpu[], name: string): readonly SmiGpu[] | null {
  if (name === 'all') return gpus;
  const found = gpus.filter(
    (gpu) =>
      String(gpu.index) === name ||
      toBdf(gpu) === name.toLowerCase() ||
      (gpu.partition.uuid !== null && gpu.partition.uuid === name),
  );
  return found.length === 0 ? null : found;
}

function done(stdout: string): ToolResult {
  return { exitCode: 0, stdout, stderr: '' };
}

function failed(stderr: string, exitCode: number): ToolResult {
  return { exitCode, stdout: '', stderr };
}

function usage(argv: readonly string[]): ToolResult {
  return failed(`amd-smi: this simulated tool does not know: ${argv.join(' ')}\n`, 2);
}

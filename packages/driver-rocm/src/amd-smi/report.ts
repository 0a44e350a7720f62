/**
 * What amd-smi or rocm-smi said, whatever version and layout it came in. Types only; what the text does not say is
 * null or left out, never guessed.
 */
import type { Bytes, ComputeMode, MemoryMode, Problem } from '@aim-gpu/core';

/** A way to partition a card, as the tool lists it. */
export interface AmdSmiProfile {
  /** What `amd-smi set -C` takes in place of a mode. */
  readonly index: number | null;
  readonly type: ComputeMode;
  /** The tool marked it as the one in force. */
  readonly current: boolean;
  /** Memory modes it can be combined with; empty when the tool says N/A, as it does on an APU. */
  readonly memoryModes: readonly MemoryMode[];
  readonly partitions: number | null;
}

/** A process the tool saw on a GPU. */
export interface AmdSmiProcess {
  readonly pid: number;
  readonly name: string | null;
  readonly memoryBytes: Bytes | null;
}

/** One logical GPU as the tool numbers them. */
export interface AmdSmiGpu {
  /** The tool's own number; it shifts with every switch of a layout. */
  readonly index: number | null;
  /** `dddd:bb:dd.f` in lower case; on a partition the function is not a PCI function. */
  readonly pci: string | null;
  /** Null as well when it is redacted, or when several GPUs have the same: it then names none of them. */
  readonly uuid: string | null;
  readonly partitionId: number | null;
  readonly compute: ComputeMode | null;
  readonly memory: MemoryMode | null;
  /** As printed; on the first partition of a split card it may be that of the whole card. */
  readonly memoryTotalBytes: Bytes | null;
  /** Left out when the text lists none. */
  readonly profiles?: readonly AmdSmiProfile[];
  /** Left out when the text does not speak of processes; empty when it says there are none. */
  readonly processes?: readonly AmdSmiProcess[];
}

/** An error the tool printed, whatever its exit status was. */
export interface AmdSmiError {
  /** Status of the library; of the command line tool where only that is printed (negative, or 192 and more). */
  readonly status: number | null;
  /** `AMDSMI_STATUS_…`, or the exception's class. */
  readonly name: string;
  readonly message: string;
}

/** Everything one output says. */
export interface AmdSmiReport {
  readonly tool: 'amd-smi' | 'rocm-smi' | 'unknown';
  readonly version: string | null;
  /** In order of their index; those without one come last. */
  readonly gpus: readonly AmdSmiGpu[];
  readonly errors: readonly AmdSmiError[];
  readonly problems: readonly Problem[];
}

/**
 * How long changes of a layout take, as sourced data: the only copy of these figures. The planner expects the typical
 * values, the simulator draws from the ranges. Owns no clock and waits for nothing.
 */

/** A duration as three figures: about 95 % of cases lie between low and high. */
export interface DurationRange {
  readonly lowMs: number;
  readonly typicalMs: number;
  readonly highMs: number;
  /** Where the figures come from. */
  readonly source: string;
}

/** Durations of the parts of a repartition on one kind of machine. */
export interface SwitchTiming {
  readonly name: string;
  /** One card's compute switch, until the set call returns. */
  readonly compute: DurationRange;
  /** Driver reload of the whole node, until the set call returns. */
  readonly reload: DurationRange;
  /** Staging a memory mode. */
  readonly stage: DurationRange;
  /** From the return of a set call until all partitions are there to be read. */
  readonly settle: DurationRange;
}

/** What real machines take. */
export const HARDWARE_TIMING: SwitchTiming = {
  name: 'hardware',
  compute: {
    lowMs: 1000,
    typicalMs: 5000,
    highMs: 60_000,
    source:
      'no published duration; assumed 5 s between 1 and 60 s, the drain and settle limits of AMD-AGI/Hyperloom',
  },
  reload: {
    lowMs: 30_000,
    typicalMs: 140_000,
    highMs: 300_000,
    source:
      'amd-smi shows a progress bar of 140 s for the reload (AMD partitioning guide); range assumed',
  },
  stage: {
    lowMs: 5,
    typicalMs: 20,
    highMs: 200,
    source: 'assumed: the kernel stores one number (amdgpu_gmc.c)',
  },
  settle: {
    lowMs: 1000,
    typicalMs: 1500,
    highMs: 5000,
    source:
      'new devices appear 1 to 2 s after the set returns, settle limit 5 s (AMD-AGI/Hyperloom)',
  },
};

/** What the simulated machine takes unless told to be realistic: a switch within 8 s, a reload within 20 s. */
export const SHORT_TIMING: SwitchTiming = {
  name: 'short',
  compute: {
    lowMs: 800,
    typicalMs: 2000,
    highMs: 4000,
    source: 'chosen, so that a switch with its settling ends within 8 s',
  },
  reload: {
    lowMs: 4000,
    typicalMs: 8000,
    highMs: 15_000,
    source: 'chosen, so that a reload with its settling ends within 20 s',
  },
  stage: { lowMs: 1, typicalMs: 5, highMs: 20, source: 'chosen' },
  settle: {
    lowMs: 1000,
    typicalMs: 1500,
    highMs: 2000,
    source: 'as real machines: 1 to 2 s',
  },
};

/** The kinds of change a driver makes. */
export type StepKind = 'stage-memory' | 'reload' | 'set-compute';

/**
 * How long one change is expected to take until its result can be read back, in milliseconds: the typical duration
 * of the call plus, where partitions come anew, of their settling.
 */
export function expectedSwitchMs(options: {
  readonly kind: StepKind;
  readonly timing?: SwitchTiming;
}): number {
  const timing = options.timing ?? HARDWARE_TIMING;
  switch (options.kind) {
    case 'stage-memory':
      return timing.stage.typicalMs;
    case 'reload':
      return timing.reload.typicalMs + timing.settle.typicalMs;
    case 'set-compute':
      return timing.compute.typicalMs + timing.settle.typicalMs;
  }
}

/** The timing to expect of a node: short on a simulated one unless it was told to be realistic, else hardware's. */
export function toSwitchTiming(options: {
  readonly driver: string;
  readonly realistic?: boolean;
}): SwitchTiming {
  return options.driver === 'simulated' && options.realistic !== true
    ? SHORT_TIMING
    : HARDWARE_TIMING;
}

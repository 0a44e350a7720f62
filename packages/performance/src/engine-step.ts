/**
 * What goes into a simulated engine core and comes out of it: requests, sequences, steps, counters. Types only.
 */

/** A request for the engine core. */
export interface EngineRequest {
  readonly id: string;
  readonly promptTokens: number;
  /** Tokens it will generate. */
  readonly outputTokens: number;
  /** One key for each full block of the prompt, each standing for the prompt up to that block's end. */
  readonly blockKeys?: readonly string[];
}

/** Where a request stands. */
export type SequenceState = 'waiting' | 'running' | 'finished' | 'cancelled';

/** A request inside the engine core: a live view that changes as steps are taken. */
export interface EngineSequence {
  readonly id: string;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly state: SequenceState;
  /** Tokens emitted so far. */
  readonly generatedTokens: number;
  /** Prompt tokens that the prefix cache supplied at its latest admission. */
  readonly cachedTokens: number;
  readonly preemptions: number;
}

/** What one step did. */
export interface EngineStep {
  /** `idle` when there was nothing to do; then the duration is 0. */
  readonly kind: 'idle' | 'prefill' | 'decode' | 'mixed';
  readonly durationMs: number;
  /** Sequences that emit one token at the end of this step. */
  readonly emitted: readonly EngineSequence[];
  /** Those of `emitted` whose first token it is. */
  readonly first: readonly EngineSequence[];
  /** Those of `emitted` whose last token it is; their blocks are free again. */
  readonly finished: readonly EngineSequence[];
  /** Sequences that lost their blocks and wait to be computed again. */
  readonly preempted: readonly EngineSequence[];
  readonly decodes: number;
  readonly prefillTokens: number;
}

/** Running totals of an engine core. */
export interface EngineCounters {
  readonly running: number;
  readonly waiting: number;
  readonly kvBlocksTotal: number;
  readonly kvBlocksUsed: number;
  readonly steps: number;
  /** Time inside steps. Divided by the wall time it is the engine's `busy`. */
  readonly busyMs: number;
  readonly promptTokens: number;
  readonly generatedTokens: number;
  readonly preemptions: number;
  readonly prefixQueriedTokens: number;
  readonly prefixHitTokens: number;
}

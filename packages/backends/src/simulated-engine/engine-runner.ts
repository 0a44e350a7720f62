/**
 * Drives the discrete-event engine core on a clock. Owns the passing of time and the hand-out of tokens; batching,
 * blocks, preemption and the length of a step come from the core alone.
 */
import type { Clock } from '@aim-gpu/core';
import type {
  EngineCounters,
  EngineSequence,
  EngineSimulation,
  EngineStep,
} from '@aim-gpu/performance';

/** One sequence for the runner. */
interface RunnerRequest {
  readonly id: string;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly blockKeys: readonly string[];
  /** Called when the sequence got its seat, with the time it did. */
  readonly onScheduled: (atMs: number) => void;
  /** Called for each token with the time it was made; `last` with the last one. */
  readonly onToken: (index: number, atMs: number, last: boolean) => void;
}

/** Steps and queue of an engine in motion. */
export interface EngineRunner {
  /** Adds a sequence; the returned function drops it and frees its seat and blocks at once. */
  submit(request: RunnerRequest): () => void;
  /** Totals, with sequences that finish in the step under way still counted as running. */
  counters(): EngineCounters;
  /** Time spent inside steps up to now. */
  busyMs(): number;
  /** Ends the steps; nothing is called back any more. */
  close(): void;
}

/** What {@link createEngineRunner} needs. */
export interface EngineRunnerOptions {
  readonly clock: Clock;
  readonly simulation: EngineSimulation;
  /** Factor on the next step's duration, asked at its start. */
  readonly slowdown: () => number;
  /** Told of each step as it ends. */
  readonly onStep?: (step: EngineStep) => void;
}

/** A timer wakes on whole milliseconds: what is due within half of one counts as due. */
const EARLY_MS = 0.5;
/**
 * Steps follow each other by their computed ends, so a late wake-up is caught up with and costs no time on average. A
 * process that stood still for longer than this does not answer a second's worth of tokens at once.
 */
const MAX_LAG_MS = 250;

interface Entry {
  readonly request: RunnerRequest;
  readonly sequence: EngineSequence;
}

interface StepUnderWay {
  readonly step: EngineStep;
  readonly startMs: number;
  readonly dueMs: number;
}

/** Makes a runner that is idle until the first sequence comes. */
export function createEngineRunner(options: EngineRunnerOptions): EngineRunner {
  const { clock, simulation } = options;
  const entries = new Map<string, Entry>();
  const unscheduled = new Set<Entry>();
  let current: StepUnderWay | null = null;
  let cancelTimer: (() => void) | null = null;
  let waking = false;
  let closed = false;
  let completedMs = 0;

  const begin = (startMs: number): void => {
    const step = simulation.step(options.slowdown());
    current = step.kind === 'idle' ? null : { step, startMs, dueMs: startMs + step.durationMs };
    for (const entry of unscheduled) {
      if (entry.sequence.state === 'waiting') continue;
      unscheduled.delete(entry);
      entry.request.onScheduled(startMs);
    }
  };

  const finish = ({ step, dueMs }: StepUnderWay): void => {
    completedMs += step.durationMs;
    options.onStep?.(step);
    const finished = new Set(step.finished);
    for (const sequence of step.emitted) {
      const entry = entries.get(sequence.id);
      // Dropped while the step was under way.
      if (entry === undefined) continue;
      const last = finished.has(sequence);
      if (last) entries.delete(sequence.id);
      entry.request.onToken(sequence.generatedTokens - 1, dueMs, last);
    }
  };

  const wake = (): void => {
    waking = false;
    cancelTimer?.();
    cancelTimer = null;
    if (closed) return;
    const now = clock.monoMs();
    if (current === null) begin(now);
    while (current !== null && current.dueMs - now <= EARLY_MS) {
      const done: StepUnderWay = current;
      current = null;
      finish(done);
      begin(now - done.dueMs > MAX_LAG_MS ? now : done.dueMs);
    }
    if (current !== null) cancelTimer = clock.timer(Math.max(0, current.dueMs - now), wake);
  };

  return {
    submit: (request) => {
      const sequence = simulation.enqueue({
        id: request.id,
        promptTokens: request.promptTokens,
        outputTokens: request.outputTokens,
        blockKeys: request.blockKeys,
      });
      const entry: Entry = { request, sequence };
      entries.set(request.id, entry);
      unscheduled.add(entry);
      // Sequences that come together (n > 1) start in one step.
      if (current === null && !waking) {
        waking = true;
        queueMicrotask(wake);
      }
      return () => {
        if (entries.get(request.id) !== entry) return;
        entries.delete(request.id);
        unscheduled.delete(entry);
        simulation.cancel(request.id);
      };
    },
    counters: () => {
      const counters = simulation.counters();
      const finishing = current?.step.finished.filter(({ id }) => entries.has(id)).length ?? 0;
      return { ...counters, running: counters.running + finishing };
    },
    busyMs: () => {
      if (current === null) return completedMs;
      const passed = clock.monoMs() - current.startMs;
      return completedMs + Math.min(Math.max(0, passed), current.step.durationMs);
    },
    close: () => {
      closed = true;
      cancelTimer?.();
      entries.clear();
      unscheduled.clear();
    },
  };
}

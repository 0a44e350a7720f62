/**
 * The discrete-event form of the speed model: an engine core that schedules like vLLM V1 (first come first served,
 * chunked prefill mixed with decodes, KV blocks, preemption by recompute of the latest arrived) and says how long
 * each step takes. Owns no clock, no randomness and no I/O: the caller advances it.
 */
import { AimError } from '@aim-gpu/core';
import type { EngineCounters, EngineRequest, EngineSequence, EngineStep } from './engine-step.js';
import { BlockPool } from './internal/block-pool.js';
import { type Sequence, WaitingQueue } from './internal/waiting-queue.js';
import type { StepModel } from './step-model.js';
import { MAX_CONTEXT_TOKENS } from './step-model.js';
import { requireNumber, requireWhole } from './validation.js';

/** Input of {@link createEngineSimulation}; the names are vLLM's. */
export interface EngineSimulationOptions {
  readonly model: StepModel;
  /** KV blocks of the engine, the reserved null block included. */
  readonly kvBlocks: number;
  /** Tokens in a block, by default 16. */
  readonly blockSize?: number;
  readonly maxNumSeqs: number;
  /** Tokens of one step, prompts and decodes together. */
  readonly maxNumBatchedTokens: number;
  /** Whether requests with block keys share the blocks of a common prefix, by default true. */
  readonly prefixCache?: boolean;
}

/** A discrete-event engine core. */
export interface EngineSimulation {
  /**
   * Adds a request at the end of the waiting queue. Throws `ERR_PREDICT_INVALID` for impossible token counts,
   * `ERR_REQUEST_TOO_LONG` when prompt and output exceed the KV pool, `ERR_REQUEST_DUPLICATE` for an id in use.
   */
  enqueue(request: EngineRequest): EngineSequence;
  /** Drops a request and frees its blocks at once; false when it is not here (any more). */
  cancel(id: string): boolean;
  /**
   * Takes one step and says how long it lasts. `slowdown` (at least 1, by default 1) multiplies the duration: what
   * `coTenantSlowdown` gives at the step's start.
   */
  step(slowdown?: number): EngineStep;
  /** Running totals up to now. */
  counters(): EngineCounters;
}

const NOTHING: readonly never[] = [];
const IDLE: EngineStep = {
  kind: 'idle',
  durationMs: 0,
  emitted: NOTHING,
  first: NOTHING,
  finished: NOTHING,
  preempted: NOTHING,
  decodes: 0,
  prefillTokens: 0,
};

/**
 * Makes an engine core whose steps cost what the step model says. Scheduling follows vLLM V1's documented order:
 * running sequences first, each its next token or the rest of its prompt within the step's token budget; when blocks
 * run out the latest arrived is preempted and computed again later; then waiting ones while there are seats, tokens
 * and blocks for their whole known length. One block is reserved as the null block. Throws `ERR_PREDICT_INVALID`.
 */
export function createEngineSimulation(options: EngineSimulationOptions): EngineSimulation {
  const { model } = options;
  const blockSize = requireWhole('blockSize', options.blockSize ?? 16, 1, 65_536);
  const kvBlocks = requireWhole('kvBlocks', options.kvBlocks, 2, 2 ** 40);
  const maxNumSeqs = requireWhole('maxNumSeqs', options.maxNumSeqs, 1, 1_000_000);
  const maxNumBatchedTokens = requireWhole(
    'maxNumBatchedTokens',
    options.maxNumBatchedTokens,
    1,
    MAX_CONTEXT_TOKENS,
  );
  const prefixCache = options.prefixCache ?? true;
  const pool = new BlockPool(kvBlocks - 1);
  const known = new Map<string, Sequence>();
  const running: Sequence[] = [];
  const waiting = new WaitingQueue();
  let steps = 0;
  let busyMs = 0;
  let promptTokens = 0;
  let generatedTokens = 0;
  let preemptions = 0;
  let prefixQueriedTokens = 0;
  let prefixHitTokens = 0;

  const blocksFor = (tokens: number): number => Math.ceil(tokens / blockSize);

  function preempt(sequence: Sequence): void {
    pool.release(sequence);
    sequence.state = 'waiting';
    sequence.computed = 0;
    sequence.preemptions += 1;
    preemptions += 1;
    waiting.putBack(sequence);
  }

  /** Admits the head of the queue with up to `budget` tokens; 0 when it does not fit now. */
  function admit(sequence: Sequence, budget: number): number {
    const hits = prefixCache
      ? pool.countHits(sequence.blockKeys, Math.floor((sequence.total - 1) / blockSize))
      : 0;
    const needed = blocksFor(sequence.total) - hits;
    if (needed > pool.available - pool.countIdle(sequence.blockKeys, hits)) return 0;
    if (prefixCache && sequence.blockKeys.length > 0) {
      prefixQueriedTokens += sequence.total;
      prefixHitTokens += hits * blockSize;
    }
    pool.share(sequence, sequence.blockKeys, hits);
    sequence.cachedTokens = hits * blockSize;
    sequence.computed = sequence.cachedTokens;
    sequence.prefillTarget = sequence.total;
    sequence.state = 'running';
    const tokens = Math.min(sequence.total - sequence.computed, budget);
    pool.grow(sequence, blocksFor(sequence.computed + tokens));
    return tokens;
  }

  function step(slowdown = 1): EngineStep {
    if (!(slowdown >= 1 && slowdown < 1e6)) requireNumber('slowdown', slowdown, 1, 1e6);
    let budget = maxNumBatchedTokens;
    let decodes = 0;
    let contextTokens = 0;
    let prefillTokens = 0;
    let costMs = 0;
    let preempted: Sequence[] | null = null;

    for (let index = 0; index < running.length && budget > 0; index += 1) {
      const sequence = running[index] as Sequence;
      const tokens = Math.min(sequence.total - sequence.computed, budget);
      const blocks = blocksFor(sequence.computed + tokens);
      let fits = pool.grow(sequence, blocks);
      while (!fits) {
        const victim = running.pop() as Sequence;
        preempt(victim);
        preempted ??= [];
        preempted.push(victim);
        if (victim === sequence) break;
        fits = pool.grow(sequence, blocks);
      }
      if (!fits) break;
      sequence.scheduled = tokens;
      budget -= tokens;
      if (sequence.computed >= sequence.prefillTarget) {
        decodes += 1;
        contextTokens += sequence.total;
      } else {
        prefillTokens += tokens;
        costMs += model.chunkMs(
          sequence.computed,
          sequence.computed + tokens,
          sequence.cachedTokens,
          sequence.prefillTarget,
        );
      }
    }

    while (preempted === null && budget > 0 && running.length < maxNumSeqs) {
      const sequence = waiting.peek();
      if (sequence === undefined) break;
      const tokens = admit(sequence, budget);
      if (tokens === 0) break;
      waiting.take();
      running.push(sequence);
      sequence.scheduled = tokens;
      budget -= tokens;
      prefillTokens += tokens;
      costMs += model.chunkMs(
        sequence.computed,
        sequence.computed + tokens,
        sequence.cachedTokens,
        sequence.prefillTarget,
      );
    }

    if (decodes === 0 && prefillTokens === 0) {
      if (preempted === null) return IDLE;
    }
    if (decodes > 0) costMs += model.decodeMs(decodes, contextTokens / decodes);
    const durationMs = costMs * slowdown;
    steps += 1;
    busyMs += durationMs;
    promptTokens += prefillTokens;

    const emitted: Sequence[] = [];
    let first: Sequence[] | null = null;
    let finished: Sequence[] | null = null;
    for (let index = 0; index < running.length; index += 1) {
      const sequence = running[index] as Sequence;
      const tokens = sequence.scheduled;
      if (tokens === 0) continue;
      sequence.scheduled = 0;
      sequence.computed += tokens;
      if (
        sequence.blockKeys.length > 0 &&
        prefixCache &&
        sequence.shared.length < sequence.blockKeys.length
      )
        pool.publish(sequence, sequence.blockKeys, Math.floor(sequence.computed / blockSize));
      if (sequence.computed < sequence.total) continue;
      sequence.generatedTokens += 1;
      sequence.total += 1;
      emitted.push(sequence);
      if (sequence.generatedTokens === 1) {
        first ??= [];
        first.push(sequence);
      }
      if (sequence.generatedTokens >= sequence.outputTokens) {
        finished ??= [];
        finished.push(sequence);
      }
    }
    generatedTokens += emitted.length;
    if (finished !== null) retire(finished);
    return {
      kind: decodes === 0 ? 'prefill' : prefillTokens === 0 ? 'decode' : 'mixed',
      durationMs,
      emitted,
      first: first ?? NOTHING,
      finished: finished ?? NOTHING,
      preempted: preempted ?? NOTHING,
      decodes,
      prefillTokens,
    };
  }

  function retire(finished: readonly Sequence[]): void {
    for (const sequence of finished) {
      sequence.state = 'finished';
      pool.release(sequence);
      known.delete(sequence.id);
    }
    let kept = 0;
    for (let index = 0; index < running.length; index += 1) {
      const sequence = running[index] as Sequence;
      if (sequence.state !== 'running') continue;
      running[kept] = sequence;
      kept += 1;
    }
    running.length = kept;
  }

  return {
    enqueue: (request) => {
      requireWhole('promptTokens', request.promptTokens, 1, MAX_CONTEXT_TOKENS);
      requireWhole('outputTokens', request.outputTokens, 1, MAX_CONTEXT_TOKENS);
      if (known.has(request.id)) {
        throw new AimError({
          code: 'ERR_REQUEST_DUPLICATE',
          kind: 'conflict',
          message: `request ${request.id} is already in the engine`,
          details: { id: request.id },
        });
      }
      const longest = request.promptTokens + request.outputTokens - 1;
      if (blocksFor(longest) > pool.usable) {
        throw new AimError({
          code: 'ERR_REQUEST_TOO_LONG',
          kind: 'invalid',
          message: `a request of ${longest} tokens does not fit the KV cache of ${pool.usable * blockSize} tokens`,
          details: { tokens: longest, kvTokens: pool.usable * blockSize },
          hint: 'shorten the prompt or the answer, or give the engine more memory',
        });
      }
      const sequence: Sequence = {
        id: request.id,
        promptTokens: request.promptTokens,
        outputTokens: request.outputTokens,
        blockKeys: request.blockKeys ?? NOTHING,
        state: 'waiting',
        generatedTokens: 0,
        cachedTokens: 0,
        preemptions: 0,
        computed: 0,
        total: request.promptTokens,
        prefillTarget: request.promptTokens,
        scheduled: 0,
        blocks: 0,
        shared: [],
      };
      known.set(request.id, sequence);
      waiting.push(sequence);
      return sequence;
    },
    cancel: (id) => {
      const sequence = known.get(id);
      if (sequence === undefined) return false;
      known.delete(id);
      if (sequence.state === 'running') {
        running.splice(running.indexOf(sequence), 1);
        pool.release(sequence);
      } else {
        waiting.forget();
      }
      sequence.state = 'cancelled';
      return true;
    },
    step,
    counters: () => ({
      running: running.length,
      waiting: waiting.size,
      kvBlocksTotal: pool.usable,
      kvBlocksUsed: pool.usable - pool.available,
      steps,
      busyMs,
      promptTokens,
      generatedTokens,
      preemptions,
      prefixQueriedTokens,
      prefixHitTokens,
    }),
  };
}

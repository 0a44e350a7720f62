/**
 * The loaded engine behind the HTTP face: takes planned requests, waits the front end's time, runs them and keeps the
 * metrics. Owns the life of a request inside the engine; knows no HTTP.
 */
import type { Clock, IdSource } from '@aim-gpu/core';
import { findProduct } from '@aim-gpu/core/products';
import { createEngineSimulation, createStepModel, toPartitionSpeed } from '@aim-gpu/performance';
import type { SimulatedEngineConfig } from './config.js';
import { createEngineMetrics, type EngineMetrics } from './engine-metrics.js';
import { createEngineRunner, type EngineRunner } from './engine-runner.js';
import type { SequencePlan } from './generation-request.js';
import { startError } from './tenancies.js';

/** Callbacks of one request. */
interface GenerationEvents {
  readonly onToken: (sequence: SequencePlan, index: number) => void;
  readonly onDone: () => void;
}

/** An engine that generates. */
export interface EngineCore {
  /** Starts a request; the returned function drops what is left of it, freeing seats and blocks at once. */
  generate(sequences: readonly SequencePlan[], events: GenerationEvents): () => void;
  readonly runner: EngineRunner;
  readonly metrics: EngineMetrics;
  /** Tokens one sequence can have at most in the cache. */
  readonly kvTokens: number;
  close(): void;
}

/** Makes an engine with so many KV blocks. Throws `ERR_ENGINE_START` for a product that is not known. */
export function createEngineCore(options: {
  readonly config: SimulatedEngineConfig;
  readonly blocks: number;
  readonly slowdown: () => number;
  readonly clock: Clock;
  readonly ids: IdSource;
}): EngineCore {
  const { config, blocks, clock } = options;
  const product = findProduct(config.partition.product);
  if (product === null) throw startError(`RuntimeError: unknown GPU ${config.partition.product}`);
  const model = createStepModel({
    step: config.step,
    speed: toPartitionSpeed({ ...config.partition, product }),
    tensorParallel: config.tensorParallel,
  });
  const { blockSize } = config.kv;
  const simulation = createEngineSimulation({
    model,
    kvBlocks: blocks,
    blockSize,
    maxNumSeqs: config.maxNumSeqs,
    maxNumBatchedTokens: config.maxNumBatchedTokens,
    prefixCache: config.prefixCache,
  });
  const runner = createEngineRunner({
    clock,
    simulation,
    slowdown: options.slowdown,
    onStep: (step) => metrics.iteration(step.prefillTokens + step.decodes),
  });
  const metrics: EngineMetrics = createEngineMetrics({
    modelName: config.modelNames[0] ?? '',
    maxModelLen: config.maxModelLen,
    blocks,
    blockSize,
    gpuMemoryUtilization: config.gpuMemoryUtilization,
    prefixCache: config.prefixCache,
    counters: runner.counters,
  });

  const runSequence = (sequence: SequencePlan, arrivedMs: number, events: GenerationEvents) => {
    let generated = 0;
    let previousMs = arrivedMs;
    const account = (reason: 'stop' | 'length' | 'abort', atMs: number): void =>
      metrics.finished({
        reason,
        promptTokens: sequence.promptTokens,
        generatedTokens: generated,
        e2eMs: Math.max(0, atMs - arrivedMs),
      });
    const drop = runner.submit({
      id: options.ids.next(),
      promptTokens: sequence.promptTokens,
      outputTokens: sequence.outputTokens,
      blockKeys: sequence.blockKeys,
      onScheduled: (atMs) => metrics.scheduled(Math.max(0, atMs - arrivedMs - model.frontEndMs)),
      onToken: (index, atMs, last) => {
        generated += 1;
        if (index === 0) metrics.firstToken(sequence.promptTokens, Math.max(0, atMs - arrivedMs));
        else metrics.nextToken(Math.max(0, atMs - previousMs));
        previousMs = atMs;
        if (last) account(sequence.finishReason, atMs);
        events.onToken(sequence, index);
        if (last) events.onDone();
      },
    });
    return () => {
      if (generated === sequence.outputTokens) return;
      drop();
      account('abort', clock.monoMs());
    };
  };

  return {
    runner,
    metrics,
    kvTokens: runner.counters().kvBlocksTotal * blockSize,
    generate: (sequences, events) => {
      const arrivedMs = clock.monoMs();
      let open = sequences.length;
      const onDone = (): void => {
        open -= 1;
        if (open === 0) events.onDone();
      };
      let drops: (() => void)[] = [];
      const cancelTimer = clock.timer(model.frontEndMs, () => {
        drops = sequences.map((sequence) =>
          runSequence(sequence, arrivedMs, { onToken: events.onToken, onDone }),
        );
      });
      return () => {
        cancelTimer();
        for (const drop of drops.splice(0)) drop();
      };
    },
    close: () => runner.close(),
  };
}

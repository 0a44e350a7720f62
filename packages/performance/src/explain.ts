/**
 * Says in words where the time of an engine's steps goes on a partition. Text for people; no new numbers.
 */
import type { StepModel } from './step-model.js';

function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 1)} ms`;
}

/**
 * Explains one decode step of `batch` sequences and one prompt: each part, what overlaps with what, and what a smaller
 * partition would stretch. One line each.
 */
export function explainStep(
  model: StepModel,
  at: { readonly batch: number; readonly contextTokens: number; readonly promptTokens: number },
): readonly string[] {
  const parts = model.decodeParts(at.batch, at.contextTokens);
  const fixed = parts.layerMs + parts.stepMs + parts.allReduceMs;
  const bound =
    parts.weightReadMs + parts.kvReadMs >= parts.computeMs ? 'memory bandwidth' : 'compute';
  const { speed } = model;
  return [
    `${model.engine} on ${speed.xcds} XCD${speed.xcds === 1 ? '' : 's'} of ${speed.product} (${speed.layout.compute}/${speed.layout.memory})${model.tensorParallel > 1 ? ` × ${model.tensorParallel}` : ''}: ${(speed.memoryBytesPerSecond / 1e12).toFixed(2)} TB/s, ${(speed.flopsPerSecond[model.step.mathPrecision] / 1e12).toFixed(0)} TFLOP/s ${model.step.mathPrecision}`,
    `a decode step of ${at.batch} at ${at.contextTokens} tokens takes ${ms(parts.totalMs)}, bound by ${bound}`,
    `weights ${ms(parts.weightReadMs)} + KV cache ${ms(parts.kvReadMs)}, overlapped with compute ${ms(parts.computeMs)}: ${ms(parts.overlappedMs)}`,
    `fixed ${ms(fixed)} (layers ${ms(parts.layerMs)}, all-reduce ${ms(parts.allReduceMs)}): a smaller partition does not stretch it`,
    `sequences ${ms(parts.sequenceMs)}`,
    `a prompt of ${at.promptTokens} tokens alone takes ${ms(model.prefillMs(at.promptTokens))}, and ${ms(model.frontEndMs)} before it reaches the engine`,
  ];
}

/**
 * vLLM behind the ServingEngine port. Owns which URL answers what; commands, metrics and failures have their own files.
 */
import type { ServingEngine } from '@aim-gpu/core';
import { COMMON_FAILURES, explainByOutput } from '../engines/known-failures.js';
import { answersOk, readText } from '../http/engine-http.js';
import { toVllmCommand } from './vllm-command.js';
import { VLLM_FAILURES } from './vllm-failures.js';
import { parseVllmMetrics } from './vllm-metrics.js';

/** What {@link createVllmEngine} can be told. */
export interface VllmEngineOptions {
  /** The program and arguments before `serve`; `["vllm"]` unless said otherwise. */
  readonly program?: readonly string[];
}

/**
 * Makes the adapter for vLLM 0.6 and later, one server process per instance. `toCommand` throws
 * `ERR_CONFIG_INVALID` for engine arguments that are no arguments or that the plan owns (limits, port, devices);
 * `sample` throws `ERR_ENGINE_UNREACHABLE`.
 */
export function createVllmEngine(options: VllmEngineOptions = {}): ServingEngine {
  return {
    specVersion: 1,
    name: 'vllm',
    toCommand: (spec) => toVllmCommand(spec, options.program ?? ['vllm']),
    isReady: (endpoint, call) => answersOk(endpoint, '/health', call),
    sample: async (endpoint, call) => parseVllmMetrics(await readText(endpoint, '/metrics', call)),
    explainExit: (lastOutput) =>
      explainByOutput(lastOutput, [...VLLM_FAILURES, ...COMMON_FAILURES]),
  };
}

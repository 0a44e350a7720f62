/**
 * A sizing as a table for people: every component with its bytes, the formula with its numbers filled in, and where the
 * rule comes from. Owns wording; every figure is taken from size-model.ts, none is computed twice.
 */
import { formatBytes } from '@aim-gpu/core';
import type { ModelConfig } from './model-config.js';
import { type Sizing, sizeModel } from './size-model.js';
import { type ResolvedOptions, resolveOptions, type SizeOptions } from './size-options.js';
import { limitingStage, type StageSizing, sizeStages } from './stage-sizing.js';

/** One line of an explanation. */
export interface ExplanationRow {
  readonly component: string;
  /** `null` where nothing is known without a memory size. */
  readonly bytes: number | null;
  /** The formula with its inputs. */
  readonly formula: string;
  /** Where the rule comes from. */
  readonly source: string;
}

/** A sizing and the rows that explain it. */
export interface SizingExplanation {
  readonly sizing: Sizing;
  readonly rows: readonly ExplanationRow[];
  /** The rows as an aligned table, then assumptions and warnings. */
  readonly text: string;
}

const ALLOCATOR = "published shapes; PyTorch's caching allocator";

const LABELS: Readonly<Record<string, string>> = {
  embedding: 'embedding table',
  head: 'output projection',
  attention: 'attention',
  stateMixer: 'state-space layers',
  feedForward: 'feed-forward',
  experts: 'routed experts',
  sharedExperts: 'shared experts',
  router: 'routers',
  norms: 'norms',
  vision: 'vision tower',
  prediction: 'prediction layers',
  rotary: 'rotary tables',
  latentCopies: 'absorbed latent projections',
};

function precisionOf(options: ResolvedOptions): string {
  return options.quantization === null
    ? options.dtype
    : `${options.quantization.label}, rest ${options.dtype}`;
}

function weightRows(stage: StageSizing, options: ResolvedOptions): ExplanationRow[] {
  const { tensor, pipeline } = options.parallel;
  const share = `${precisionOf(options)}, tp ${tensor}, pp ${pipeline}`;
  return Object.entries(stage.weights.byComponent)
    .filter(([, bytes]) => bytes > 0)
    .map(([component, bytes]) => ({
      component: `weights: ${LABELS[component] ?? component}`,
      bytes,
      formula: component === 'rotary' ? `positions × rotary width × ${options.dtype}` : share,
      source: ALLOCATOR,
    }));
}

function overheadRows(
  config: ModelConfig,
  stage: StageSizing,
  options: ResolvedOptions,
): ExplanationRow[] {
  const { profile, maxNumBatchedTokens: tokens, platform } = options;
  const sequences = Math.min(options.maxNumSeqs * (1 + options.speculativeTokens), tokens);
  const unvalidated = platform === 'rocm' ? '; not validated on ROCm' : '';
  const { memory } = stage;
  return [
    {
      component: 'activation',
      bytes: memory.activationBytes,
      formula: `max(${profile.samplerCopies} × ${sequences} × ${config.vocab} × 4 + ${profile.residualCopies} × ${tokens} × ${config.hidden} × 2 + base, one forward pass)`,
      source: `${profile.source}${unvalidated}`,
    },
    {
      component: 'non-torch',
      bytes: memory.nonTorchBytes,
      formula: `measured, ${options.parallel.tensor} tensor ranks`,
      source: `${profile.source}${unvalidated}`,
    },
    {
      component: 'graphs',
      bytes: memory.graphBytes,
      formula: options.enforceEager
        ? 'none: enforce-eager'
        : `(0.30 + 0.0185 × ${stage.range.to - stage.range.from}) GiB × sizes captured / 51`,
      source: 'fitted on H100 logs',
    },
    {
      component: 'device context',
      bytes: memory.contextBytes,
      formula: `measured, ${platform}`,
      source: platform === 'rocm' ? 'MI355X measurement and margin; not validated' : 'H100 logs',
    },
  ];
}

function kvRows(sizing: Sizing, stage: StageSizing, options: ResolvedOptions): ExplanationRow[] {
  const { kv } = sizing;
  const total = options.totalMemoryBytes;
  const budget =
    options.kvCacheMemoryBytes !== null
      ? 'as asked by --kv-cache-memory-bytes'
      : total === null
        ? 'needs the memory size of the device'
        : `${formatBytes(total)} × ${options.gpuMemoryUtilization} − weights − activation − non-torch${options.profile.graphBudgeted && options.platform === 'cuda' ? ' − graphs' : ''}`;
  return [
    {
      component: 'KV pool',
      bytes: sizing.perRank.kvPoolBytes,
      formula: budget,
      source: 'vLLM gpu_worker, SGLang memory pool',
    },
    {
      component: 'KV per token',
      bytes: kv.bytesPerToken,
      formula: `layers that keep full context, ${stage.geometry.groups} group(s), blocks of ${kv.blockSize}`,
      source: 'vLLM kv_cache_interface, kv_cache_utils',
    },
    {
      component: `KV of one request of ${options.maxModelLen} tokens`,
      bytes: kv.bytesPerRequestAtMaxLen,
      formula: `${stage.geometry.blocksPerRequest(options.maxModelLen)} blocks × ${stage.geometry.blockBytes} B`,
      source: 'vLLM kv_cache_utils',
    },
  ];
}

function tableOf(rows: readonly ExplanationRow[]): string {
  const cells = rows.map((row) => [
    row.component,
    row.bytes === null ? '-' : formatBytes(row.bytes),
    row.formula,
    row.source,
  ]);
  const widths = [0, 1, 2].map((column) =>
    Math.max(...cells.map((row) => (row[column] ?? '').length)),
  );
  return cells
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/**
 * Explains every byte of a sizing: component, formula with inputs, source; then what was assumed.
 * Takes what `sizeModel` takes and throws what it throws.
 */
export function explainSizing(config: ModelConfig, options: SizeOptions = {}): SizingExplanation {
  const sizing = sizeModel(config, options);
  const resolved = resolveOptions(config, options);
  const stage = limitingStage(sizeStages(config, resolved));
  if (stage === undefined) return { sizing, rows: [], text: '' };
  const rows = [
    ...weightRows(stage, resolved),
    ...overheadRows(config, stage, resolved),
    ...kvRows(sizing, stage, resolved),
  ];
  const band = `the KV pool is right within ${(100 * sizing.confidence.kvPoolRelative).toFixed(1)} %`;
  const notes = [
    ...sizing.assumptions.map((text) => `assumed: ${text}`),
    ...sizing.warnings.map((text) => `warning: ${text}`),
  ];
  return { sizing, rows, text: [tableOf(rows), band, ...notes].join('\n') };
}

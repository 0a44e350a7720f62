/**
 * The published serving measurements as typed rows: parses the table, keeps what the model can be held against, and
 * says why each other row is left out.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { StepDemand } from '@aim-gpu/core';
import type { EngineFamily } from '../src/index.js';

/** Dimensions of a model, as published. */
export interface Architecture {
  readonly P: number;
  readonly rest: number;
  readonly exp: number;
  readonly E: number;
  readonly k: number;
  readonly L: number;
  readonly h: number;
  readonly kv: number;
  readonly kvh: number;
  readonly act: number;
  readonly cap: number;
  readonly Latt: number;
  readonly qd: number;
  readonly rb?: number;
}

/** One measured configuration. */
export interface ServingRow {
  readonly id: string;
  readonly source: string;
  readonly gpu: string;
  readonly tensorParallel: number;
  readonly model: string;
  readonly engine: EngineFamily;
  readonly precision: 'fp16' | 'fp8' | 'fp4';
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly concurrency: number;
  /** True for one batch given to the engine at once, measured as its whole time. */
  readonly offline: boolean;
  readonly uniform: boolean;
  readonly step: StepDemand;
  readonly weightBytes: number;
  readonly ttftMs: number | null;
  readonly tpotMs: number | null;
  readonly outputTokensPerSecond: number | null;
}

/** A row that is not used. */
export interface LeftOutRow {
  readonly id: string;
  readonly reason: string;
}

const DATA = path.join(import.meta.dirname, 'data');
const LATENT = /^(DeepSeek|GLM-5|Kimi)/;

/** The models' dimensions. */
export function readArchitectures(): Readonly<Record<string, Architecture>> {
  return JSON.parse(readFileSync(path.join(DATA, 'architectures.json'), 'utf8')) as Record<
    string,
    Architecture
  >;
}

/** The demand of a model's steps at a weight precision and a number of bytes per KV element. */
export function toStepDemand(
  name: string,
  architecture: Architecture,
  precision: 'fp16' | 'fp8' | 'fp4',
  kvElementBytes: number,
): StepDemand {
  const a = architecture;
  const weight = precision === 'fp16' ? 2 : precision === 'fp8' ? 1 : 0.53;
  const other = precision === 'fp4' && a.E > 0 ? (a.rb ?? 1) || weight : weight;
  return {
    parameters: a.P,
    activeParameters: a.act,
    alwaysReadBytes: a.rest * other,
    routedExpertBytes: a.exp * weight,
    experts: a.E,
    expertsPerToken: a.k,
    layers: a.L,
    hiddenSize: a.h,
    kvBytesPerToken: a.kv * kvElementBytes,
    kvHeads: a.kvh,
    fullAttentionLayers: a.Latt,
    queryWidth: a.qd,
    latentAttention: LATENT.test(name),
    sparseAttention: a.cap > 0,
    mathPrecision: precision,
  };
}

function engineFamily(engine: string, source: string): EngineFamily {
  if (/sglang/i.test(engine)) return 'sglang';
  if (/atom/i.test(engine)) return 'atom';
  return source.startsWith('argonne') ? 'vllm-2024' : 'vllm';
}

function positive(text: string | undefined): number | null {
  const value = Number(text);
  return text !== undefined && text !== '' && value > 0 ? value : null;
}

/** Reads the table. Rows come in the file's order. */
export function readServingRows(): { rows: ServingRow[]; leftOut: LeftOutRow[] } {
  const architectures = readArchitectures();
  const lines = readFileSync(path.join(DATA, 'serving.tsv'), 'utf8').trim().split('\n');
  const names = (lines[0] ?? '').split('\t');
  const rows: ServingRow[] = [];
  const leftOut: LeftOutRow[] = [];
  for (const [index, line] of lines.slice(1).entries()) {
    const cells = line.split('\t');
    const cell = (name: string): string => cells[names.indexOf(name)] ?? '';
    const source = cell('source_repo');
    const model = cell('family');
    const id = `${index + 2} ${model} ${cell('gpu')} ${cell('engine')} ${cell('precision')} tp${cell('tp')} ${cell('input_len')}/${cell('output_len')} c${cell('concurrency')}`;
    const refuse = (reason: string): void => {
      leftOut.push({ id, reason });
    };
    const architecture = architectures[model];
    if (architecture === undefined) {
      refuse('dimensions of the model are not known');
      continue;
    }
    const tensorParallel = positive(cell('tp'));
    if (tensorParallel === null) {
      refuse('tensor parallelism is not stated');
      continue;
    }
    const promptTokens = positive(cell('input_len'));
    const outputTokens = positive(cell('output_len'));
    const concurrency = positive(cell('concurrency'));
    if (promptTokens === null || outputTokens === null || concurrency === null) {
      refuse('lengths or concurrency are not stated');
      continue;
    }
    const engine = engineFamily(cell('engine'), source);
    const stated = cell('precision');
    const precision = stated === 'fp8' ? 'fp8' : stated === 'fp4' ? 'fp4' : 'fp16';
    const kvText = cell('kv_dtype');
    const kvBytes = kvText === 'fp8' || (kvText === '' && engine === 'atom') ? 1 : 2;
    const step = toStepDemand(model, architecture, precision, kvBytes);
    const tpotMs = positive(cell('tpot_ms_mean')) ?? positive(cell('tpot_ms_p50'));
    const endToEndMs = positive(cell('e2e'));
    const offline = tpotMs === null;
    if (offline && endToEndMs === null) {
      refuse('neither time per output token nor duration is given');
      continue;
    }
    rows.push({
      id,
      source,
      gpu: cell('gpu'),
      tensorParallel,
      model,
      engine,
      precision,
      promptTokens,
      outputTokens,
      concurrency,
      offline,
      uniform: cell('lengths').startsWith('uniform'),
      step,
      weightBytes: step.alwaysReadBytes + step.routedExpertBytes,
      ttftMs: positive(cell('ttft_ms_mean')),
      // A batch's whole time over its answers' length: the pace as its user sees it.
      tpotMs: tpotMs ?? (endToEndMs as number) / outputTokens,
      outputTokensPerSecond: offline
        ? (1000 * concurrency * outputTokens) / (endToEndMs as number)
        : (positive(cell('output_tok_s')) ??
          (positive(cell('total_tok_s')) ?? 0) * (outputTokens / (promptTokens + outputTokens))),
    });
  }
  return { rows, leftOut };
}

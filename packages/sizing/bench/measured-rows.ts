/**
 * The measured start-up logs as typed rows, each with the model description it belongs to and the class it is scored
 * in. Reads the committed data; computes no memory.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import {
  compareVersions,
  type ModelConfig,
  parseModelConfig,
  type SizeOptions,
} from '../src/index.js';

const DATA = path.resolve(import.meta.dirname, 'data');
const GIB = 2 ** 30;

/** One row of measured.tsv; `null` where the log does not say. GiB as logged. */
export interface MeasuredRow {
  readonly line: number;
  readonly engine: string;
  readonly version: string;
  readonly model: string;
  readonly gpu: string;
  /** 1 where the log does not say, which `tensorStated` tells. */
  readonly tensor: number;
  readonly tensorStated: boolean;
  readonly pipeline: number;
  readonly dtype: string;
  readonly kvType: string;
  readonly utilization: number | null;
  readonly maxModelLen: number | null;
  readonly weightsGib: number | null;
  readonly activationGib: number | null;
  readonly nonTorchGib: number | null;
  readonly graphGib: number | null;
  readonly kvGib: number | null;
  readonly kvTokens: number | null;
  readonly totalGib: number | null;
  readonly batchTokens: number | null;
  readonly sequences: number | null;
  readonly blocks: number | null;
  readonly concurrency: number | null;
  readonly notes: string;
  readonly eager: boolean;
}

/** A row with its model: what can be predicted. */
export interface PredictableRow {
  readonly row: MeasuredRow;
  readonly config: ModelConfig;
  readonly file: string;
  readonly options: SizeOptions;
  /** Which modules this checkpoint quantizes is not known: only its KV layout can be compared. */
  readonly tokensOnly: boolean;
}

function table(file: string): readonly Readonly<Record<string, string>>[] {
  const [head = '', ...lines] = readFileSync(path.join(DATA, file), 'utf8').trimEnd().split('\n');
  const names = head.split('\t');
  return lines.map((line) => {
    const cells = line.split('\t');
    return Object.fromEntries(names.map((name, index) => [name, cells[index] ?? '']));
  });
}

function numberOf(cell: string | undefined): number | null {
  const value = Number(cell);
  return cell === undefined || cell === '' || !Number.isFinite(value) ? null : value;
}

/** Every measured row. */
function measuredRows(): readonly MeasuredRow[] {
  return table('measured.tsv').map((cells, index) => ({
    line: index + 2,
    engine: cells['engine'] ?? '',
    version: cells['version'] ?? '',
    model: cells['model'] ?? '',
    gpu: cells['gpu'] ?? '',
    tensor: numberOf(cells['tp']) ?? 1,
    tensorStated: numberOf(cells['tp']) !== null,
    pipeline: numberOf(cells['pp']) ?? 1,
    dtype: cells['dtype/quant'] ?? '',
    kvType: cells['kv_dtype'] ?? '',
    utilization: numberOf(cells['gpu_mem_util']),
    maxModelLen: numberOf(cells['max_model_len']),
    weightsGib: numberOf(cells['weights_gib']),
    activationGib: numberOf(cells['activation_gib']),
    nonTorchGib: numberOf(cells['non_torch_gib']),
    graphGib: numberOf(cells['graph_gib']),
    kvGib: numberOf(cells['kv_gib']),
    kvTokens: numberOf(cells['kv_tokens']),
    totalGib: numberOf(cells['gpu_total_gib']),
    batchTokens: numberOf(cells['max_num_batched_tokens']),
    sequences: numberOf(cells['max_num_seqs']),
    blocks: numberOf(cells['gpu_blocks']),
    concurrency: numberOf(cells['max_concurrency']),
    notes: cells['notes'] ?? '',
    eager: (cells['notes'] ?? '').includes('enforce_eager'),
  }));
}

function configPath(file: string): string {
  const places = ['../../data/configs', '.', 'partial'].map((place) =>
    path.resolve(DATA, place, file),
  );
  const found = places.find((place) => existsSync(place));
  if (found === undefined) throw new Error(`no model description ${file}`);
  return found;
}

/** Reads a committed model description by file name. */
export function readConfig(file: string): ModelConfig {
  return parseModelConfig(readFileSync(configPath(file), 'utf8'), { source: file });
}

/** Whether a row's memory rules are those the constants hold for. */
export function isCudaV1(row: MeasuredRow): boolean {
  const rocm = /AMD|ROCm|MI3|gfx|DCU/i.test(`${row.gpu} ${row.version}`);
  return (
    row.engine === 'vllm' &&
    !rocm &&
    !/V0/.test(row.version) &&
    /^\d/.test(row.version) &&
    compareVersions(row.version, '0.8.0') >= 0
  );
}

const DTYPES = ['bfloat16', 'float16', 'float32'];

function optionsOf(row: MeasuredRow, quantization: string): SizeOptions {
  const [first = '', second = ''] = row.dtype.split('/');
  const version = /^\d+\.\d+(\.\d+)?/.exec(row.version)?.[0];
  const kvType = ['', '-', 'fp8_ds_mla'].includes(row.kvType) ? 'auto' : row.kvType;
  return {
    quantization: second === 'fp8' && quantization === 'auto' ? 'fp8' : quantization,
    ...(DTYPES.includes(first) ? { dtype: first } : {}),
    kvCacheDtype: kvType,
    parallel: { tensor: row.tensor, pipeline: row.pipeline },
    ...(row.maxModelLen === null ? {} : { maxModelLen: row.maxModelLen }),
    maxNumBatchedTokens: row.batchTokens,
    maxNumSeqs: row.sequences,
    gpuMemoryUtilization: row.utilization,
    totalMemoryBytes: row.totalGib === null ? null : row.totalGib * GIB,
    engine: `${row.engine === 'sglang' ? 'sglang' : 'vllm'}@${version ?? '0.11.0'}${/V0/.test(row.version + row.notes) ? '-v0' : ''}`,
    platform: /AMD|ROCm|MI3|gfx|DCU/i.test(`${row.gpu} ${row.version}`) ? 'rocm' : 'cuda',
    enforceEager: row.eager,
  };
}

/**
 * Why a row cannot be predicted although its model is known.
 * One row states its release but not its command line, and its activation is what the FlashInfer sampler takes (3.5
 * copies of the logits), not the sorting sampler that is that release's default and that the other rows show.
 */
function reasonToLeaveOut(row: MeasuredRow): string | null {
  if (!row.tensorStated) return 'the number of tensor ranks is not stated';
  const table = row.notes.includes('version stated only for');
  if (table && row.version !== '')
    return 'a table of rounded figures without the command line; its activation contradicts the defaults of the stated release';
  return null;
}

/** Rows whose model description is committed, and the rows left out with the reason. */
export function predictableRows(): {
  readonly rows: readonly PredictableRow[];
  readonly leftOut: readonly {
    readonly line: number;
    readonly model: string;
    readonly reason: string;
  }[];
} {
  const files = new Map(
    table('measured-configs.tsv').map((cells) => [cells['measured_model'] ?? '', cells]),
  );
  const configs = new Map<string, ModelConfig>();
  const rows: PredictableRow[] = [];
  const leftOut: { line: number; model: string; reason: string }[] = [];
  for (const row of measuredRows()) {
    const found = files.get(row.model);
    if (found === undefined) {
      leftOut.push({
        line: row.line,
        model: row.model,
        reason: 'no config of this model is at hand',
      });
      continue;
    }
    const reason = reasonToLeaveOut(row);
    if (reason !== null) {
      leftOut.push({ line: row.line, model: row.model, reason });
      continue;
    }
    const file = found['file'] ?? '';
    const config = configs.get(file) ?? readConfig(file);
    configs.set(file, config);
    rows.push({
      row,
      config,
      file,
      options: optionsOf(row, found['quantization'] ?? 'auto'),
      tokensOnly: found['compare'] === 'tokens',
    });
  }
  return { rows, leftOut };
}

/**
 * `aim-gpu predict M`: how fast a model will be on a partition, alone or with others (CONTRACT §5).
 */
import { writeFile } from 'node:fs/promises';
import { AimError, formatLayout, formatMs } from '@aim-gpu/core';
import {
  type CalibrationFile,
  type CardMember,
  type EngineFamily,
  type Estimate,
  type Prediction,
  predictTogether,
  type Traffic,
  toEngineFamily,
  toLoadCurve,
  toPartitionSpeed,
  toSvg,
} from '@aim-gpu/performance';
import {
  createModelLibrary,
  type ModelLibrary,
  type SizeOptions,
  sizeModel,
  stepDemand,
} from '@aim-gpu/sizing';
import type { CommandContext } from '../context.js';
import { type ChosenGpu, chooseGpu, toModelSource, toSizeOptions, usage } from '../size-options.js';
import type { SizingFlags } from '../sizing-flags.js';
import { readCalibration } from '../speed-calibrations.js';

/** Options of `predict`. */
export interface PredictCommandOptions extends SizingFlags {
  readonly inputLen: number;
  readonly outputLen: number;
  readonly concurrency?: number;
  readonly requestRate?: number;
  readonly lengths?: string;
  /** Models on the same partition: `MODEL:REQUESTS_PER_SECOND`. */
  readonly with?: readonly string[];
  /** Writes a plot of TPOT against concurrency. */
  readonly plot?: string;
  /** A file that `measure` wrote, or `none`; by default this host's own. */
  readonly speedCalibration?: string;
}

/** Runs `predict`. Throws `ERR_DOES_NOT_FIT` (refused) when the load or the model is more than the place can serve. */
export async function predictCommand(
  context: CommandContext,
  model: string,
  options: PredictCommandOptions,
): Promise<number> {
  const gpu = chooseGpu(options);
  const calibration = await readCalibration(
    context,
    options.speedCalibration,
    gpu?.product.name ?? null,
    toFamily(options),
  );
  if (gpu === null && calibration === null) {
    throw usage(
      'predict needs --gpu, or a machine that was measured',
      'for example --gpu MI300X --layout CPX/NPS4; or see `aim-gpu measure --help`',
    );
  }
  const library = createModelLibrary();
  const sizeOptions = await toSizeOptions(context, options, library);
  const traffic = toTraffic(options);
  const mine = await toMember({
    context,
    library,
    gpu,
    calibration,
    sizeOptions,
    source: model,
    id: SELF,
    traffic,
    options,
  });
  const others = await Promise.all(
    (options.with ?? []).map((text, index) => {
      const { source, requestsPerSecond } = parseNeighbour(text);
      const arrivals = { kind: 'open', requestsPerSecond } as const;
      return toMember({
        context,
        library,
        gpu,
        calibration,
        // A neighbour runs as its own configuration says; only the place is the same.
        sizeOptions: gpu === null ? {} : { totalMemoryBytes: gpu.partitionBytes, platform: 'rocm' },
        source,
        id: `with-${index}`,
        traffic: { ...traffic, arrivals },
        options,
      });
    }),
  );
  const together = predictTogether([mine, ...others])[0]?.together;
  if (together === undefined || !together.ok) {
    throw new AimError({
      code: 'ERR_DOES_NOT_FIT',
      kind: 'refused',
      message:
        together?.reasons.map((reason) => reason.message).join('; ') ?? 'there is no prediction',
      hint: 'lower the load or the lengths, or choose a layout with larger partitions',
      details: { reasons: together?.reasons ?? [] },
    });
  }
  if (options.plot !== undefined) {
    await writeFile(context.resolve(options.plot), toSvg([toLoadCurve(model, mine)]));
  }
  if (context.json) context.print(toDocument(together));
  else context.say(toText(model, toPlaceName(gpu, mine), together));
  return 0;
}

const SELF = 'self';

interface MemberParts {
  readonly context: CommandContext;
  readonly library: ModelLibrary;
  readonly gpu: ChosenGpu | null;
  readonly calibration: CalibrationFile | null;
  readonly sizeOptions: SizeOptions;
  readonly source: string;
  readonly id: string;
  readonly traffic: Traffic;
  readonly options: PredictCommandOptions;
}

async function toMember(parts: MemberParts): Promise<CardMember> {
  const { context, library, gpu, calibration, sizeOptions, source, id, traffic, options } = parts;
  const config = await library.load(toModelSource(context, source));
  if (id === SELF) requireContext(source, config.maxPositionEmbeddings, options);
  const tensor = sizeOptions.parallel?.tensor ?? 1;
  const common = {
    id,
    partitions: Array.from({ length: tensor }, (_, index) => index),
    step: stepDemand(config, sizeOptions),
    tensorParallel: tensor,
    engine: toFamily(options),
    traffic,
    ...(options.maxNumBatchedTokens === undefined
      ? {}
      : { maxNumBatchedTokens: options.maxNumBatchedTokens }),
    ...(calibration === null ? {} : { calibration }),
  };
  if (gpu === null) {
    const { measured, limits } = calibration as CalibrationFile;
    const maxNumSeqs = options.maxNumSeqs ?? limits.maxNumSeqs;
    return { ...limits, ...common, speed: measured.speed, maxNumSeqs };
  }
  const { tokens } = sizeModel(config, sizeOptions).kv;
  if (tokens === null || tokens < 1) {
    throw new AimError({
      code: 'ERR_DOES_NOT_FIT',
      kind: 'refused',
      message: `${source} leaves no room for a KV cache on a partition of ${gpu.product.name} in ${formatLayout(gpu.layout)}`,
      hint: 'choose a layout with larger partitions (see `aim-gpu fit`), or quantize',
    });
  }
  return {
    ...common,
    speed: toPartitionSpeed({ product: gpu.product, xcds: gpu.xcds, layout: gpu.layout }),
    kvCapacityTokens: tokens,
    maxNumSeqs: options.maxNumSeqs ?? 1024,
  };
}

/** Refuses lengths beyond the context that the model, or the engine as asked for, has. */
function requireContext(
  source: string,
  longest: number | null,
  options: PredictCommandOptions,
): void {
  const context = options.maxModelLen ?? longest;
  const wanted = options.inputLen + options.outputLen;
  if (context === null || wanted <= context) return;
  throw new AimError({
    code: 'ERR_PREDICT_INVALID',
    kind: 'invalid',
    message: `${options.inputLen} tokens in and ${options.outputLen} out are more than the ${context} tokens that ${source} takes in one sequence`,
    hint: 'shorten --input-len or --output-len',
    details: { wantedTokens: wanted, contextTokens: context },
  });
}

function toFamily(options: PredictCommandOptions): EngineFamily {
  const [name = 'vllm', version] = (options.engine ?? 'vllm').split('@');
  const family = toEngineFamily(name, version);
  if (family !== null) return family;
  throw usage(`--engine ${name} has no speed model`, 'use vllm, sglang or atom');
}

function toPlaceName(gpu: ChosenGpu | null, member: CardMember): string {
  return gpu === null
    ? `the measured machine ${member.speed.product}`
    : `a partition of ${gpu.product.name} in ${formatLayout(gpu.layout)}`;
}

function toTraffic(options: PredictCommandOptions): Traffic {
  const { concurrency, requestRate, inputLen, outputLen } = options;
  if ((concurrency === undefined) === (requestRate === undefined)) {
    throw usage('give either --concurrency or --request-rate', 'for example --concurrency 16');
  }
  return {
    promptTokens: inputLen,
    outputTokens: outputLen,
    arrivals:
      concurrency === undefined
        ? { kind: 'open', requestsPerSecond: requestRate ?? 0 }
        : { kind: 'closed', concurrency },
    lengths: toLengths(options.lengths ?? 'fixed'),
  };
}

function toLengths(text: string): NonNullable<Traffic['lengths']> {
  if (text === 'fixed') return { kind: 'fixed' };
  const from = /^uniform:(0?\.\d+|1(?:\.0+)?)$/.exec(text)?.[1];
  if (from === undefined)
    throw usage(`--lengths must be fixed or uniform:0.8, not ${text}`, 'see CONTRACT §5');
  return { kind: 'uniform', from: Number(from) };
}

function parseNeighbour(text: string): {
  readonly source: string;
  readonly requestsPerSecond: number;
} {
  const match = /^(.+):(\d+(?:\.\d+)?)$/.exec(text);
  if (match?.[1] === undefined)
    throw usage(
      `--with must be MODEL:LOAD, not ${text}`,
      'LOAD is requests a second: Qwen/Qwen3-1.7B:0.5',
    );
  return { source: match[1], requestsPerSecond: Number(match[2]) };
}

function toDocument(prediction: Prediction): Record<string, unknown> {
  const { ttftMs, tpotMs, outputTokensPerSecond, grade, assumptions } = prediction;
  return { ttftMs, tpotMs, outputTokensPerSecond, grade, assumptions };
}

function toText(model: string, place: string, prediction: Prediction): string {
  const band = ({ mean, low, high }: Estimate, format: (value: number) => string): string =>
    `${format(mean)}  (90 % band ${format(low)} to ${format(high)})`;
  return [
    `${model} on ${place}, ${prediction.grade}`,
    `TTFT      ${band(prediction.ttftMs, formatMs)}`,
    `TPOT      ${band(prediction.tpotMs, formatMs)}`,
    `tokens/s  ${band(prediction.outputTokensPerSecond, (value) => value.toFixed(0))}`,
    ...prediction.assumptions.map((text) => `assumed: ${text}`),
  ].join('\n');
}

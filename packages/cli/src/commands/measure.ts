/**
 * `aim-gpu measure URL`: measures an endpoint with a small sweep and fits the speed model to this host. Owns the sweep
 * and what is shown; driving the load is backends', fitting is performance's.
 */
import {
  type MeasuredSetting,
  measureEndpoint,
  readServedModels,
  SWEEP_LENGTHS_FROM,
} from '@aim-gpu/backends';
import { AimError, formatLayout, formatMs } from '@aim-gpu/core';
import {
  type Calibration,
  fitCalibration,
  type Measurement,
  predict,
  toCalibrationFile,
  toEngineFamily,
  toPartitionSpeed,
  unknownHardware,
} from '@aim-gpu/performance';
import { createModelLibrary, sizeModel, stepDemand } from '@aim-gpu/sizing';
import type { CommandContext } from '../context.js';
import { chooseGpu, toModelSource, toSizeOptions, usage } from '../size-options.js';
import type { SizingFlags } from '../sizing-flags.js';
import { calibrationPath, writeCalibration } from '../speed-calibrations.js';
import { formatTable } from '../table.js';

/** Options of `measure`. */
export interface MeasureCommandOptions extends SizingFlags {
  /** Model as the endpoint names it. */
  readonly model?: string;
  /** Model as sizing knows it, by default the served name. */
  readonly config?: string;
  readonly prompts: readonly number[];
  readonly outputLen: number;
  readonly concurrency: readonly number[];
  readonly requests: number;
  readonly rounds: number;
  /** Settings besides the sweep, to hold the fit against. */
  readonly checks: boolean;
  readonly requestTimeout: number;
  readonly budget: number;
  readonly kvTokens?: number;
  /** Environment variable with the endpoint's key. */
  readonly keyEnv?: string;
  readonly out?: string;
}

/** Tokens of a KV pool that never limits, where nothing is known about it. */
const AMPLE_KV_TOKENS = 1e9;
/** Sequences at once where nothing is said: vLLM's default for online serving. */
const DEFAULT_SEQUENCES = 256;

/** Runs `measure`. Throws the codes of measureEndpoint, and `ERR_USAGE` where the endpoint or the model is not clear. */
export async function measure(
  context: CommandContext,
  endpoint: string,
  options: MeasureCommandOptions,
): Promise<number> {
  const url = toBaseUrl(endpoint);
  const [engineName = 'vllm', version] = (options.engine ?? 'vllm').split('@');
  const engine = toEngineFamily(engineName, version);
  if (engine === null)
    throw usage(`--engine ${engineName} has no speed model`, 'use vllm, sglang, atom or llama.cpp');
  const headers = toHeaders(context, options.keyEnv);
  const { clock } = context;
  const model = await chooseModel(context, url, headers, options.model);
  const target = await toTarget(context, options.config ?? model, options);
  const sweep = { url, model, clock, headers, requestsPerClient: options.requests };
  const limits = { requestTimeoutMs: options.requestTimeout, budgetMs: options.budget };
  const settings = toSettings(options);
  const checks = options.checks ? toChecks(options) : [];
  const measured = await measureEndpoint({
    ...sweep,
    ...limits,
    rounds: options.rounds,
    settings: [...settings, ...checks],
    onSetting: (setting, index, of) =>
      context.io.writeError(
        `${index + 1}/${of}: ${setting.promptTokens} tokens in, ${setting.concurrency} at once\n`,
      ),
  });
  const fitted = measured.slice(0, settings.length);
  const calibration = fitCalibration({
    ...target,
    engine,
    measurements: fitted.map(toMeasurement),
    origin: `${model} at ${url}, host ${context.io.hostName}, ${toUtc(clock.epochMs())} UTC`,
  });
  const product = options.gpu === undefined ? null : target.speed.product;
  const file =
    options.out === undefined
      ? calibrationPath(context, product, engine)
      : context.resolve(options.out);
  await writeCalibration(file, toCalibrationFile(calibration));
  const checked = measured.slice(settings.length).map((setting) => toCheck(calibration, setting));
  if (context.json) {
    const { provenance, corrections, tpotErrorPercent, ttftErrorPercent } = calibration;
    context.print({
      endpoint: url,
      model,
      settings: measured.map(toDocument),
      calibration: {
        file,
        product: calibration.product,
        engine,
        provenance,
        corrections,
        tpotErrorPercent,
        ttftErrorPercent,
      },
      checks: checked,
    });
  } else context.say(toText({ measured, calibration, checked, file }));
  return 0;
}

function toBaseUrl(text: string): string {
  const given = /^[a-z]+:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.canParse(given) ? new URL(given) : null;
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw usage(
      `${text} is no endpoint`,
      'give its address, such as http://127.0.0.1:8080 or https://host/prefix',
    );
  }
  return `${url.origin}${url.pathname}`.replace(/\/+(?:v1\/*)?$/, '');
}

function toHeaders(context: CommandContext, name: string | undefined): Record<string, string> {
  if (name === undefined) return {};
  const key = context.io.env[name];
  if (key === undefined || key === '')
    throw usage(`--key-env ${name}: no such variable is set`, 'export the key of the endpoint');
  return { authorization: `Bearer ${key}` };
}

async function chooseModel(
  context: CommandContext,
  url: string,
  headers: Readonly<Record<string, string>>,
  wanted: string | undefined,
): Promise<string> {
  const served = await readServedModels(url, { clock: context.clock, headers });
  if (wanted !== undefined) {
    if (served.includes(wanted)) return wanted;
    throw new AimError({
      code: 'ERR_MODEL_UNKNOWN',
      kind: 'missing',
      message: `${url} does not serve ${wanted}`,
      hint: `it serves: ${served.slice(0, 20).join(', ')}`,
    });
  }
  const [only] = served;
  if (only !== undefined && served.length === 1) return only;
  throw usage(
    `${url} serves ${served.length} models, name one with --model`,
    `it serves: ${served.slice(0, 20).join(', ')}`,
  );
}

async function toTarget(context: CommandContext, source: string, options: MeasureCommandOptions) {
  const gpu = chooseGpu(options);
  const library = createModelLibrary();
  const config = await library.load(toModelSource(context, source));
  const sizeOptions = await toSizeOptions(context, options, library);
  const sized = gpu === null ? null : sizeModel(config, sizeOptions).kv.tokens;
  return {
    step: stepDemand(config, sizeOptions),
    speed:
      gpu === null
        ? unknownHardware(context.io.hostName)
        : toPartitionSpeed({ product: gpu.product, xcds: gpu.xcds, layout: gpu.layout }),
    tensorParallel: options.tensorParallelSize ?? 1,
    kvCapacityTokens: options.kvTokens ?? sized ?? AMPLE_KV_TOKENS,
    maxNumSeqs: options.maxNumSeqs ?? DEFAULT_SEQUENCES,
    ...(options.maxNumBatchedTokens === undefined
      ? {}
      : { maxNumBatchedTokens: options.maxNumBatchedTokens }),
  };
}

function toSettings(options: MeasureCommandOptions) {
  const { prompts, concurrency, outputLen: outputTokens } = options;
  return prompts.flatMap((promptTokens) =>
    concurrency.map((clients) => ({ promptTokens, outputTokens, concurrency: clients })),
  );
}

/** Settings between those of the sweep: the middle prompt with as many clients as lie between two of its own. */
function toChecks(options: MeasureCommandOptions) {
  const prompts = [...options.prompts].sort((a, b) => a - b);
  const clients = [...options.concurrency].sort((a, b) => a - b);
  const between = (low: number, high: number): number => Math.round(Math.sqrt(low * high));
  const promptTokens = between(prompts[0] ?? 1, prompts.at(-1) ?? 1);
  const pairs = clients.slice(1).map((high, index) => between(clients[index] ?? 1, high));
  const outputTokens = Math.max(2, Math.round(0.75 * options.outputLen));
  const chosen = new Set([...(pairs.length > 0 ? pairs : clients), ...clients.slice(-1)]);
  return [...chosen].map((concurrency) => ({ promptTokens, outputTokens, concurrency }));
}

/** From what was counted on average to nominal lengths. */
function toNominal(mean: number): number {
  return mean / ((1 + SWEEP_LENGTHS_FROM) / 2);
}

function toMeasurement(setting: MeasuredSetting): Measurement {
  const { concurrency, requestsPerClient, ttftMs, tpotMs } = setting;
  return {
    promptTokens: toNominal(setting.promptTokens),
    outputTokens: toNominal(setting.outputTokens),
    lengthsFrom: SWEEP_LENGTHS_FROM,
    concurrency,
    requestsPerClient,
    ttftMs,
    tpotMs,
  };
}

/** A setting that was not fitted, measured beside what the calibrated model says. */
function toCheck(calibration: Calibration, setting: MeasuredSetting) {
  const { step, speed, tensorParallel } = calibration.measured;
  const { promptTokens, outputTokens, concurrency, requestsPerClient } = setting;
  const predicted = predict({
    step,
    speed,
    tensorParallel,
    engine: calibration.engine,
    ...calibration.limits,
    calibration,
    traffic: {
      promptTokens: toNominal(promptTokens),
      outputTokens: toNominal(outputTokens),
      arrivals: { kind: 'closed', concurrency, requestsPerClient },
      lengths: { kind: 'uniform', from: SWEEP_LENGTHS_FROM },
    },
  });
  if (!predicted.ok) {
    throw new AimError({
      code: 'ERR_DOES_NOT_FIT',
      kind: 'refused',
      message: predicted.reasons.map(({ message }) => message).join('; '),
      hint: 'say what the KV pool holds with --kv-tokens',
    });
  }
  const error = (value: { readonly mean: number }, of: number): number =>
    100 * (value.mean / of - 1);
  const { outputTokensPerSecond } = setting;
  return {
    promptTokens,
    outputTokens,
    concurrency,
    measured: { ttftMs: setting.ttftMs, tpotMs: setting.tpotMs, outputTokensPerSecond },
    predicted: {
      ttftMs: predicted.ttftMs.mean,
      tpotMs: predicted.tpotMs.mean,
      outputTokensPerSecond: predicted.outputTokensPerSecond.mean,
    },
    errorPercent: {
      ttftMs: error(predicted.ttftMs, setting.ttftMs),
      tpotMs: error(predicted.tpotMs, setting.tpotMs),
      outputTokensPerSecond: error(predicted.outputTokensPerSecond, outputTokensPerSecond),
    },
  };
}

function toDocument(setting: MeasuredSetting): Record<string, unknown> {
  const { summary, promptTokens, outputTokens, concurrency, outputTokensPerSecond } = setting;
  const { completed, failed, ttftMs, tpotMs, e2eMs } = summary;
  const counts = { promptTokens, outputTokens, concurrency, completed, failed };
  return { ...counts, ttftMs, tpotMs, e2eMs, outputTokensPerSecond };
}

interface Report {
  readonly measured: readonly MeasuredSetting[];
  readonly calibration: Calibration;
  readonly checked: readonly ReturnType<typeof toCheck>[];
  readonly file: string;
}

function toText({ measured, calibration, checked, file }: Report): string {
  const spread = (values: { p50: number; p90: number; p99: number } | null): string =>
    values === null
      ? '-'
      : [values.p50, values.p90, values.p99].map((value) => formatMs(value)).join(' / ');
  const size = (setting: { promptTokens: number; outputTokens: number; concurrency: number }) => [
    setting.promptTokens.toFixed(0),
    setting.outputTokens.toFixed(0),
    String(setting.concurrency),
  ];
  const signed = (value: number): string => `${value < 0 ? '' : '+'}${value.toFixed(1)} %`;
  const { speed } = calibration.measured;
  const place =
    speed.architecture === 'unknown'
      ? 'unknown hardware'
      : `${speed.product} in ${formatLayout(speed.layout)}`;
  return [
    formatTable(
      [
        'IN',
        'OUT',
        'CLIENTS',
        'TTFT p50 / p90 / p99',
        'TPOT p50 / p90 / p99',
        'TOKENS/S',
        'FAILED',
      ],
      measured.map((setting) => [
        ...size(setting),
        spread(setting.summary.ttftMs),
        spread(setting.summary.tpotMs),
        setting.outputTokensPerSecond.toFixed(0),
        String(setting.summary.failed),
      ]),
    ),
    '',
    `fitted to ${calibration.measurements.length} settings on ${place}: TPOT within ${calibration.tpotErrorPercent.toFixed(1)} %, TTFT within ${calibration.ttftErrorPercent.toFixed(1)} % (medians)`,
    ...Object.entries(calibration.corrections).map(
      ([name, factor]) => `  ${name} ×${factor.toPrecision(3)}`,
    ),
    ...(checked.length === 0
      ? []
      : [
          '',
          'settings that were not fitted, predicted against measured:',
          formatTable(
            ['IN', 'OUT', 'CLIENTS', 'TTFT', 'TPOT', 'TOKENS/S'],
            checked.map((check) => [
              ...size(check),
              ...(['ttftMs', 'tpotMs', 'outputTokensPerSecond'] as const).map(
                (key) =>
                  `${check.predicted[key].toFixed(1)} / ${check.measured[key].toFixed(1)} (${signed(check.errorPercent[key])})`,
              ),
            ]),
          ),
        ]),
    '',
    `calibration written to ${file}; \`aim-gpu predict\` on this host uses it from now on`,
  ].join('\n');
}

/** Minutes are enough to know which measurement it was. */
function toUtc(epochMs: number): string {
  return new Intl.DateTimeFormat('sv-SE', {
    timeZone: 'UTC',
    dateStyle: 'short',
    timeStyle: 'short',
  }).format(epochMs);
}

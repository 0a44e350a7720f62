/**
 * `aim-gpu top`: what each model and each engine does now, redrawn every second on a terminal, once anywhere else.
 */
import { createControlClient, type InstanceStatus, type StatusDocument } from '@aim-gpu/agent';
import { createLlamaCppEngine, createSglangEngine, createVllmEngine } from '@aim-gpu/backends';
import { BANDS, type EngineSample, formatBytes, type ServingEngine } from '@aim-gpu/core';
import { shortCard } from '../apply-text.js';
import type { CommandContext } from '../context.js';
import { type BandFigures, type ModelFigures, readGatewayFigures } from '../gateway-figures.js';
import { formatTable } from '../table.js';

/** Options of `top`. */
export interface TopOptions {
  /** Redraw interval in milliseconds. */
  readonly everyMs: number;
  /** Show it once, also on a terminal. */
  readonly once?: boolean;
}

interface Row {
  readonly status: InstanceStatus;
  readonly sample: EngineSample | null;
  /** Tokens generated a second since the look before; null at the first. */
  readonly tokensPerSecond: number | null;
}

const CLEAR = '\u001b[2J\u001b[H';

/** Runs `top`. Throws `ERR_AGENT_NOT_RUNNING` (missing). */
export async function top(context: CommandContext, options: TopOptions): Promise<number> {
  const client = createControlClient({ socketPath: context.socketPath });
  const live = context.io.isTerminal && !context.json && options.once !== true;
  const stop = new AbortController();
  const forget = context.io.onStopSignal(() => stop.abort());
  try {
    let before = await look(context, await client.status(), null);
    for (;;) {
      // Rates need two looks.
      await context.clock.sleep(options.everyMs, { signal: stop.signal });
      const document = await client.status();
      const now = await look(context, document, before);
      if (context.json) context.print(toDocument(document, now));
      else context.say(`${live ? CLEAR : ''}${topToText(document, now)}`);
      if (!live) return 0;
      before = now;
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    return 0;
  } finally {
    forget();
  }
}

interface Look {
  readonly atMs: number;
  readonly rows: readonly Row[];
  /** Null when no gateway could be asked. */
  readonly models: readonly ModelFigures[] | null;
}

/** A gateway that does not answer in this time is shown as such. */
const GATEWAY_MS = 2_000;

async function look(
  { clock, io }: CommandContext,
  document: StatusDocument,
  before: Look | null,
): Promise<Look> {
  const atMs = clock.monoMs();
  const late = new AbortController();
  const disarm = clock.timer(GATEWAY_MS, () => late.abort());
  const asked =
    document.gateway === null
      ? Promise.resolve(null)
      : readGatewayFigures(document.gateway.adminUrl, {
          token: io.env['AIM_GPU_ADMIN_TOKEN'],
          signal: late.signal,
        });
  const rows = await Promise.all(
    document.instances.map(async (status): Promise<Row> => {
      const { endpoint } = status;
      const sample =
        endpoint === null
          ? null
          : await engineOf(status)
              .sample(endpoint)
              .catch(() => null);
      const last = before?.rows.find((row) => row.status.instance === status.instance)?.sample;
      const tokens =
        sample === null || last == null
          ? null
          : sample.generationTokensTotal - last.generationTokensTotal;
      const seconds = before === null ? 0 : (atMs - before.atMs) / 1000;
      const tokensPerSecond =
        tokens === null || tokens < 0 || seconds <= 0 ? null : tokens / seconds;
      return { status, sample, tokensPerSecond };
    }),
  );
  const models = await asked;
  disarm();
  return { atMs, rows, models };
}

function engineOf({ engine }: InstanceStatus): ServingEngine {
  if (engine === 'sglang') return createSglangEngine();
  return engine === 'llama.cpp' ? createLlamaCppEngine() : createVllmEngine();
}

/** Formats a look for 80 columns. */
function topToText(document: StatusDocument, look: Look): string {
  const table = formatTable(
    ['INSTANCE', 'WHERE', 'MEMORY', 'STATE', 'RUN', 'WAIT', 'KV', 'TOK/S'],
    look.rows.map(({ status, sample, tokensPerSecond }) => [
      status.instance,
      status.shares.map(({ card, partition }) => `${shortCard(card)}/${partition}`).join(' '),
      formatBytes(status.shares[0]?.memoryBytes ?? 0),
      status.draining ? 'draining' : status.state,
      sample === null ? '-' : String(sample.running),
      sample === null ? '-' : String(sample.waiting),
      sample === null ? '-' : `${Math.round(sample.kvUsage * 100)} %`,
      tokensPerSecond === null ? '-' : tokensPerSecond.toFixed(0),
    ]),
  );
  return `${document.node}: ${document.state}, fleet ${document.fleet}\n${modelsToText(look)}\n\n${table}`;
}

/** Waiting requests are shown from critical to best_effort; times are milliseconds, median and 99th percentile. */
function modelsToText(look: Look): string {
  if (look.models === null)
    return 'no figures of models: the gateway does not answer, or AIM_GPU_ADMIN_TOKEN is needed';
  return formatTable(
    ['MODEL', 'RUN', 'QUEUE c/i/s/b/e', 'TTFT', 'TPOT', 'TOK/S', 'SLO', 'BURN', 'LIM'],
    look.models.map((figures) => {
      const { model, running, limited, bands } = figures;
      const own = ownBand(figures);
      const tokens = tokensOfModel(look, model);
      return [
        model.length > MODEL_WIDTH ? `${model.slice(0, MODEL_WIDTH - 1)}…` : model,
        toCount(running),
        BANDS.map((band) => toCount(bands.find((each) => each.band === band)?.waiting ?? 0)).join(
          '/',
        ),
        toPair(own?.ttftMs),
        toPair(own?.tpotMs),
        tokens === null ? '-' : toCount(tokens),
        own?.attainment == null ? '-' : `${(own.attainment * 100).toFixed(0)}%`,
        own?.burn == null ? '-' : own.burn.toFixed(1),
        toCount(limited),
      ];
    }),
  );
}

const MODEL_WIDTH = 12;

/** The band that most of a model's requests have; its own unless only others were asked for. */
function ownBand({ band, bands }: ModelFigures): BandFigures | undefined {
  const own = bands.find((each) => each.band === band);
  return own?.attainment == null
    ? (bands.find(({ attainment }) => attainment !== null) ?? own)
    : own;
}

function tokensOfModel({ rows }: Look, model: string): number | null {
  const known = rows.flatMap(({ status, tokensPerSecond }) =>
    status.workload === model && tokensPerSecond !== null ? [tokensPerSecond] : [],
  );
  return known.length === 0 ? null : known.reduce((sum, each) => sum + each, 0);
}

/** At most four characters. */
function toCount(value: number): string {
  if (value < 1000) return value.toFixed(0);
  return value < 9_950 ? `${(value / 1000).toFixed(1)}k` : `${(value / 1000).toFixed(0)}k`;
}

function toPair(figures: BandFigures['ttftMs'] | undefined): string {
  if (figures?.p50 == null || figures.p99 === null) return '-';
  return `${toCount(figures.p50)}/${toCount(figures.p99)}`;
}

function toDocument(document: StatusDocument, look: Look): object {
  const { rows, models } = look;
  return {
    node: document.node,
    state: document.state,
    models:
      models?.map((figures) => ({
        ...figures,
        tokensPerSecond: tokensOfModel(look, figures.model),
      })) ?? null,
    instances: rows.map(({ status, sample, tokensPerSecond }) => ({
      instance: status.instance,
      state: status.state,
      shares: status.shares,
      running: sample?.running ?? null,
      waiting: sample?.waiting ?? null,
      kvUsage: sample?.kvUsage ?? null,
      tokensPerSecond,
    })),
  };
}

/**
 * `aim-gpu top`: what each engine does now, redrawn every second on a terminal, once anywhere else.
 */
import { createControlClient, type InstanceStatus, type StatusDocument } from '@aim-gpu/agent';
import { createLlamaCppEngine, createSglangEngine, createVllmEngine } from '@aim-gpu/backends';
import { type EngineSample, formatBytes, type ServingEngine } from '@aim-gpu/core';
import { shortCard } from '../apply-text.js';
import type { CommandContext } from '../context.js';
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
      else context.say(`${live ? CLEAR : ''}${topToText(document, now.rows)}`);
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
}

async function look(
  { clock }: CommandContext,
  document: StatusDocument,
  before: Look | null,
): Promise<Look> {
  const atMs = clock.monoMs();
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
  return { atMs, rows };
}

function engineOf({ engine }: InstanceStatus): ServingEngine {
  if (engine === 'sglang') return createSglangEngine();
  return engine === 'llama.cpp' ? createLlamaCppEngine() : createVllmEngine();
}

/** Formats a look for 80 columns. */
function topToText(document: StatusDocument, rows: readonly Row[]): string {
  const table = formatTable(
    ['INSTANCE', 'WHERE', 'MEMORY', 'STATE', 'RUN', 'WAIT', 'KV', 'TOK/S'],
    rows.map(({ status, sample, tokensPerSecond }) => [
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
  return `${document.node}: ${document.state}, fleet ${document.fleet}\n${table}`;
}

function toDocument(document: StatusDocument, { rows }: Look): object {
  return {
    node: document.node,
    state: document.state,
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

/**
 * What a running gateway says of its models, read from its admin face: streams, queues, SLOs, limits that were hit.
 * Owns the reading; null when there is nobody to ask or it may not be read.
 */
import type { Band } from '@aim-gpu/core';

/** How one band of a model does. */
export interface BandFigures {
  readonly band: Band;
  /** Requests that wait. */
  readonly waiting: number;
  readonly ttftMs: { readonly p50: number | null; readonly p99: number | null };
  readonly tpotMs: { readonly p50: number | null; readonly p99: number | null };
  /** Share of good requests in the last hour; null without any. */
  readonly attainment: number | null;
  /** Bad share over the share that the objective allows, in the last hour; 1 spends the budget exactly in time. */
  readonly burn: number | null;
  /** Alerts on the error budget that fire now. */
  readonly alerts: number;
}

/** How one model does. */
export interface ModelFigures {
  readonly model: string;
  /** The model's own band. */
  readonly band: Band;
  /** Requests at engines, streams and whole answers. */
  readonly running: number;
  readonly brownout: boolean;
  /** Requests refused since the gateway began because a tenant had reached one of its limits. */
  readonly limited: number;
  readonly bands: readonly BandFigures[];
}

/** What `/v1/queues` answers, as far as it is looked at. */
interface Queues {
  readonly models: readonly {
    readonly model: string;
    readonly band: Band;
    readonly brownout: boolean;
    readonly endpoints: readonly { readonly inFlight: number }[];
    readonly bands: readonly {
      readonly band: Band;
      readonly count: number;
      readonly slo: {
        readonly ttftMs: BandFigures['ttftMs'];
        readonly tpotMs: BandFigures['tpotMs'];
        readonly attainment: number | null;
        readonly burn: { readonly '1h': number | null };
        readonly alerts: readonly unknown[];
      } | null;
    }[];
  }[];
}

const UNKNOWN = { p50: null, p99: null } as const;

/** Asks the admin face; `token` is needed where it was started with one. */
export async function readGatewayFigures(
  adminUrl: string,
  options: { readonly token?: string | undefined; readonly signal: AbortSignal },
): Promise<readonly ModelFigures[] | null> {
  const { token, signal } = options;
  const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};
  const read = async (path: string): Promise<Response> => {
    const response = await fetch(`${adminUrl}${path}`, { headers, signal });
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    return response;
  };
  try {
    const queues = (await (await read('/v1/queues')).json()) as Queues;
    const limited = countLimited(await (await read('/metrics')).text());
    return queues.models.map(({ model, band, brownout, endpoints, bands }) => ({
      model,
      band,
      brownout,
      running: endpoints.reduce((sum, { inFlight }) => sum + inFlight, 0),
      limited: limited.get(model) ?? 0,
      bands: bands.map(({ band: name, count, slo }) => ({
        band: name,
        waiting: count,
        ttftMs: slo?.ttftMs ?? UNKNOWN,
        tpotMs: slo?.tpotMs ?? UNKNOWN,
        attainment: slo?.attainment ?? null,
        burn: slo?.burn['1h'] ?? null,
        alerts: slo?.alerts.length ?? 0,
      })),
    }));
  } catch {
    // Whoever stops meanwhile, or wants a token that is not here, must not end a live view.
    return null;
  }
}

const REJECT = /^aim_gpu_rejects_total\{([^}]*)\} (\S+)/;
const LIMIT =
  /reason="(?:requests|input_tokens|output_tokens|concurrency)_limited"|reason="budget_spent"/;

/** Refusals by tenants' limits, by model, from the text of the metrics. */
function countLimited(text: string): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, labels = '', value = ''] = REJECT.exec(line) ?? [];
    const model = /model="([^"]*)"/.exec(labels)?.[1];
    if (model === undefined || !LIMIT.test(labels)) continue;
    counts.set(model, (counts.get(model) ?? 0) + Number(value));
  }
  return counts;
}

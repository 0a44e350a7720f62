/**
 * What is written down of an exchange that has ended: tokens and times to its permit and the metrics, one record to the
 * access log. Owns those figures; changes nothing of the exchange.
 */
import type { Permit } from '@aim-gpu/qos';
import type { EngineAnswer } from './engine-answer.js';
import type { ExchangeRequest, ExchangeTools } from './exchange-request.js';
import { instanceOf } from './exchange-view.js';
import { type ReportedUsage, withinBounds } from './reported-usage.js';
import type { RequestSeries } from './request-series.js';

/** An exchange at its end. */
export interface EndedExchange {
  readonly request: ExchangeRequest;
  readonly permit: Permit | null;
  /** Null when no engine has answered. */
  readonly answer: EngineAnswer | null;
  readonly series: RequestSeries;
  readonly tries: number;
  readonly code: number;
  readonly durationMs: number;
}

/** Counts an exchange and logs it. Called before its permit is done, which it tells what was used. */
export function recordExchange(tools: ExchangeTools, ended: EndedExchange): void {
  const { answer, permit, series, code, durationMs } = ended;
  const usage = answer === null || permit === null ? null : account(tools, ended, answer, permit);
  const labels = series.withCode(code);
  const { sink } = tools.series;
  sink.count('aim_gpu_requests_total', labels);
  sink.observe('aim_gpu_request_duration_seconds', labels, durationMs / 1000);
  if (tools.accessLog !== null) log(tools, ended, usage);
}

/** Counts what an answer took. Without the engine's own figures a stream is taken by its events. */
function account(
  tools: ExchangeTools,
  { request, series }: EndedExchange,
  answer: EngineAnswer,
  permit: Permit,
): ReportedUsage | null {
  const { sink } = tools.series;
  const reported = answer.usage;
  if (answer.firstMs !== null) {
    const ttftMs = answer.firstMs - request.readMs;
    sink.observe('aim_gpu_request_ttft_seconds', series.labels, ttftMs / 1000);
  }
  if (reported === null) {
    if (answer.tap !== null) permit.usage({ outputTokens: answer.events });
    return null;
  }
  const usage = withinBounds(reported, request.mostTokens);
  permit.usage(usage);
  const { promptTokens, outputTokens, cachedTokens } = usage;
  sink.count('aim_gpu_tokens_total', series.withKind('input'), promptTokens);
  sink.count('aim_gpu_tokens_total', series.withKind('output'), outputTokens);
  if (cachedTokens > 0) sink.count('aim_gpu_tokens_total', series.withKind('cached'), cachedTokens);
  const tpotMs = toTpotMs(answer, usage);
  if (tpotMs !== null) sink.observe('aim_gpu_request_tpot_seconds', series.labels, tpotMs / 1000);
  return usage;
}

/** (last − first) ÷ (tokens − 1); null for fewer than two tokens. */
function toTpotMs(answer: EngineAnswer | null, usage: ReportedUsage | null): number | null {
  const tokens = usage?.outputTokens ?? 0;
  return answer === null || answer.firstMs === null || tokens < 2
    ? null
    : (answer.lastMs - answer.firstMs) / (tokens - 1);
}

function log(tools: ExchangeTools, ended: EndedExchange, usage: ReportedUsage | null): void {
  const { request, permit, answer, tries, code, durationMs } = ended;
  const { requestId, traceId, path, admit, readMs } = request;
  const { tenant, model, band } = admit;
  const firstMs = answer === null ? null : answer.firstMs;
  tools.accessLog?.({
    at: tools.clock.epochMs(),
    requestId,
    traceId,
    path: path.split('?', 1)[0] ?? path,
    tenant,
    model,
    band,
    instance: instanceOf(permit),
    code,
    stream: answer !== null && answer.tap !== null,
    tries,
    promptTokens: usage?.promptTokens ?? null,
    cachedTokens: usage?.cachedTokens ?? null,
    outputTokens: usage?.outputTokens ?? null,
    queueMs: permit?.queueMs ?? null,
    ttftMs: firstMs === null ? null : firstMs - readMs,
    tpotMs: toTpotMs(answer, usage),
    durationMs,
  });
}

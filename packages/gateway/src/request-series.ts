/**
 * Metrics of requests, by model, tenant and band. Owns the label objects: one for each series, made once, since making
 * and checking them anew costs more than counting does.
 */
import type { Band, MetricLabels, MetricSink } from '@aim-gpu/core';
import type { AdmitRequest, RefusalReason } from '@aim-gpu/qos';

/** Series of one model, tenant and band. */
export interface RequestSeries {
  readonly labels: MetricLabels;
  withCode(code: number): MetricLabels;
  withKind(kind: 'input' | 'output' | 'cached'): MetricLabels;
}

/** Counts requests. */
export interface RequestMetrics {
  of(request: Pick<AdmitRequest, 'model' | 'tenant' | 'band'>): RequestSeries;
  granted(request: AdmitRequest, queueMs: number): void;
  refused(request: AdmitRequest, reason: RefusalReason): void;
  readonly sink: MetricSink;
}

/** Beyond so many the labels are made anew each time: the sink folds them together anyway. */
const MAX_SERIES = 4096;

/** Makes the book of series over a sink. */
export function createRequestMetrics(sink: MetricSink): RequestMetrics {
  const known = new Map<string, Series>();
  let last: Series | null = null;
  const of = ({ model, tenant, band }: Pick<AdmitRequest, 'model' | 'tenant' | 'band'>): Series => {
    // Each request asks twice, and many come from one tenant.
    if (last?.is(model, tenant, band) === true) return last;
    // Neither models' nor tenants' names have a slash.
    const key = `${model}/${tenant}/${band}`;
    let series = known.get(key);
    if (series === undefined) {
      series = new Series(model, tenant, band);
      if (known.size < MAX_SERIES) known.set(key, series);
    }
    last = series;
    return series;
  };
  return {
    sink,
    of,
    granted: (request, queueMs) =>
      sink.observe('aim_gpu_queue_wait_seconds', of(request).labels, queueMs / 1000),
    refused: (request, reason) =>
      sink.count('aim_gpu_rejects_total', { ...of(request).labels, reason }),
  };
}

class Series implements RequestSeries {
  readonly labels: MetricLabels;
  private readonly model: string;
  private readonly tenant: string;
  private readonly band: Band;
  readonly #codes: Map<number, MetricLabels> = new Map();
  readonly #kinds: Map<string, MetricLabels> = new Map();

  constructor(model: string, tenant: string, band: Band) {
    this.model = model;
    this.tenant = tenant;
    this.band = band;
    // Frozen ones may be remembered by the sink.
    this.labels = Object.freeze({ model, tenant, band });
  }

  is(model: string, tenant: string, band: Band): boolean {
    return this.model === model && this.tenant === tenant && this.band === band;
  }

  withCode(code: number): MetricLabels {
    let labels = this.#codes.get(code);
    if (labels === undefined) {
      labels = Object.freeze({ ...this.labels, code: String(code) });
      this.#codes.set(code, labels);
    }
    return labels;
  }

  withKind(kind: 'input' | 'output' | 'cached'): MetricLabels {
    let labels = this.#kinds.get(kind);
    if (labels === undefined) {
      labels = Object.freeze({ ...this.labels, kind });
      this.#kinds.set(kind, labels);
    }
    return labels;
  }
}

/**
 * Keeps qos informed: models and endpoints from the directory, and what qos does as metrics. Owns the translation only.
 */
import type { Endpoint, EndpointDirectory, MetricSink, ServedModel } from '@aim-gpu/core';
import type { LatencyTargets, Qos } from '@aim-gpu/qos';

/** Tells qos of every model and endpoint now and on each change, until the returned function is called. */
export function feedDirectory(qos: Qos, directory: EndpointDirectory): () => void {
  let known = new Set<string>();
  const refresh = (): void => {
    const models = directory.models();
    const names = new Set<string>(models.map((model) => model.workload));
    for (const name of known) if (!names.has(name)) qos.removeModel(name);
    known = names;
    for (const model of models) {
      const { workload, band } = model;
      qos.setModel({ name: workload, band, targets: targetsOf(model) });
      qos.setEndpoints(workload, directory.endpoints(workload).map(toQosEndpoint));
    }
  };
  refresh();
  return directory.subscribe(refresh);
}

/** A model's own targets; null when it has none, then its band's hold. */
function targetsOf({ slo }: ServedModel): LatencyTargets | null {
  if (slo === undefined) return null;
  const hasNone = slo.ttftMs === null && slo.tpotMs === null && slo.e2eMs === null;
  return hasNone ? null : slo;
}

function toQosEndpoint(endpoint: Endpoint): Parameters<Qos['setEndpoints']>[1][number] {
  return {
    id: endpoint.instance,
    maxSeqs: endpoint.maxNumSeqs,
    kvCapacityTokens: endpoint.kvCapacityTokens,
    group: `${endpoint.node}/${endpoint.card}/${endpoint.partition}`,
    ready: endpoint.state === 'ready',
  };
}

/** Writes what only a look can tell: depth of the queues and attainment of the SLOs. Called before each scrape. */
export function recordQueues(qos: Qos, metrics: MetricSink): void {
  for (const { model, bands } of qos.report()) {
    for (const { band, count, slo } of bands) {
      metrics.gauge('aim_gpu_queue_depth', { model, band }, count);
      if (slo?.attainment != null)
        metrics.gauge('aim_gpu_slo_attainment_ratio', { model, band }, slo.attainment);
    }
  }
}

/**
 * What others see of one instance: its entry in the directory and its metric. Owns when nothing is to be seen: while it
 * is replaced, an instance has two runners and one entry. Decides nothing.
 */
import type { EndpointAddress, MetricLabels, MetricSink } from '@aim-gpu/core';
import type { WritableDirectory } from './endpoint-directory.js';
import { type InstanceDefinition, kvCapacityOf } from './instance-definition.js';

/** The face of one runner. */
export interface InstanceFace {
  /** Whether the entry and the metric are this runner's. */
  shown: boolean;
  /** Puts the endpoint into the directory. */
  show(definition: InstanceDefinition, address: EndpointAddress, draining: boolean): void;
  /** Takes it out. */
  hide(definition: InstanceDefinition): void;
  gauge(definition: InstanceDefinition, up: boolean): void;
  clearGauge(definition: InstanceDefinition): void;
}

/** Makes a face. */
export function createInstanceFace(options: {
  readonly directory: WritableDirectory;
  readonly metrics: MetricSink;
  readonly shown: boolean;
}): InstanceFace {
  const { directory, metrics } = options;
  const face: InstanceFace = {
    shown: options.shown,
    show: (definition, address, draining) => {
      const { placement, workload, demand } = definition;
      const [share] = placement.shares;
      if (!face.shown || share === undefined) return;
      directory.put({
        instance: placement.instance,
        workload: workload.name,
        address,
        node: share.node,
        card: share.card,
        partition: share.partition,
        state: draining ? 'draining' : 'ready',
        maxNumSeqs: demand.maxNumSeqs,
        kvCapacityTokens: kvCapacityOf(definition),
      });
    },
    hide: ({ placement }) => {
      if (face.shown) directory.remove(placement.instance);
    },
    gauge: (definition, up) => {
      if (face.shown) metrics.gauge('aim_gpu_instance_up', labelsOf(definition), up ? 1 : 0);
    },
    clearGauge: (definition) => {
      if (face.shown) metrics.clear('aim_gpu_instance_up', labelsOf(definition));
    },
  };
  return face;
}

function labelsOf({ placement, workload }: InstanceDefinition): MetricLabels {
  return { instance: placement.instance, workload: workload.name };
}

/**
 * Builder of desired-state values for tests: a plain interactive model with every default in place.
 */
import { tenantName, workloadName } from '../ids.js';
import { ratio } from '../units.js';
import type { Tenant, Workload } from '../workload.js';

/** Makes a workload: a small chat model, one replica, band `standard`, no SLO; overrides replace whole fields. */
export function aWorkload(overrides: Partial<Workload> = {}): Workload {
  return {
    name: workloadName('chat'),
    aliases: [],
    source: 'meta-llama/Llama-3.1-8B-Instruct',
    kind: 'inference',
    dtype: 'bf16',
    quantization: 'none',
    kvCacheDtype: 'auto',
    maxModelLen: 8192,
    concurrency: 16,
    expectedFill: ratio(0.5),
    load: null,
    replicas: { min: 1, max: 1, idleMs: null },
    band: 'standard',
    slo: { ttftMs: null, tpotMs: null, e2eMs: null, objective: ratio(0.99) },
    engine: { name: 'auto', version: null, args: {} },
    parallel: { tensor: 1, pipeline: 1 },
    fallback: null,
    adapters: [],
    placement: {
      exclusive: false,
      products: [],
      nodes: [],
      near: [],
      apart: [],
      pin: null,
      minShareBytes: null,
    },
    ...overrides,
  };
}

/** Makes a tenant as the fleet file's defaults have it: weight 1, bands `standard` and below, no limits. */
export function aTenant(overrides: Partial<Tenant> = {}): Tenant {
  return {
    name: tenantName('acme'),
    keys: [{ kind: 'env', name: 'ACME_KEY' }],
    weight: 1,
    bands: ['standard', 'batch', 'best_effort'],
    limits: {
      requestsPerMinute: null,
      inputTokensPerMinute: null,
      outputTokensPerMinute: null,
      concurrent: null,
    },
    ...overrides,
  };
}

/**
 * Several engines on one whole device without partitions: each gets a utilization fraction of the whole, and they
 * start one after the other. Owns that arithmetic and the start-up order; who may share is the scheduler's business.
 */

import { type Fit, type FitReason, fitModel } from './fit-model.js';
import type { ModelConfig } from './model-config.js';
import { sizeModel } from './size-model.js';
import type { SizeOptions } from './size-options.js';

/** One engine that shares the device. */
export interface SharedTenant {
  readonly name: string;
  readonly config: ModelConfig;
  readonly options: SizeOptions;
  /** Sequences of maxModelLen that must fit at once. */
  readonly concurrency: number;
}

/** What one engine is started with. */
export interface SharedStart {
  readonly name: string;
  /** Fraction of the whole device; engines check that this much is free when they start. */
  readonly gpuMemoryUtilization: number;
  /** What the process really takes: budget, device context, graphs. */
  readonly processBytes: number;
  /** Free memory when it starts. */
  readonly freeBeforeBytes: number;
}

/** Whether several engines fit on one device together. */
export type SharedFit =
  | { readonly ok: true; readonly starts: readonly SharedStart[]; readonly headroomBytes: number }
  | { readonly ok: false; readonly reasons: readonly FitReason[] };

interface Need {
  readonly tenant: SharedTenant;
  readonly fit: Fit;
  readonly processBytes: number;
}

/**
 * Finds the utilization of every engine that shares a device, in the order to start them: the largest first, because
 * an engine refuses to start when less than its fraction is free. Throws `ERR_CONFIG_INVALID` like `sizeModel`.
 */
export function fitShared(options: {
  readonly totalMemoryBytes: number;
  readonly tenants: readonly SharedTenant[];
  /** Part of the memory that stays free; 2 % by default. */
  readonly reserve?: number;
}): SharedFit {
  const { totalMemoryBytes, tenants, reserve = 0.02 } = options;
  const needs: Need[] = [];
  const reasons: FitReason[] = [];
  for (const tenant of tenants) {
    const fit = fitModel(tenant.config, {
      ...tenant.options,
      totalMemoryBytes,
      concurrency: tenant.concurrency,
    });
    if (!fit.fits || fit.gpuMemoryUtilization === null) {
      reasons.push(
        ...fit.reasons.map((reason) => ({
          ...reason,
          message: `${tenant.name}: ${reason.message}`,
        })),
      );
      continue;
    }
    const { perRank } = sizeModel(tenant.config, { ...tenant.options, totalMemoryBytes });
    const budget = Math.ceil(totalMemoryBytes * fit.gpuMemoryUtilization);
    needs.push({ tenant, fit, processBytes: budget + perRank.contextBytes + perRank.graphBytes });
  }
  if (reasons.length > 0) return { ok: false, reasons };
  needs.sort((one, other) => other.processBytes - one.processBytes);
  let free = Math.floor(totalMemoryBytes * (1 - reserve));
  const starts: SharedStart[] = [];
  for (const { tenant, fit, processBytes } of needs) {
    if (processBytes > free)
      return {
        ok: false,
        reasons: [
          {
            code: 'NOT_TOGETHER',
            message: `${tenant.name} needs ${processBytes} bytes, ${free} are left beside the others`,
            fix: 'lower the concurrency or context of one of them, or give each its own partition',
          },
        ],
      };
    starts.push({
      name: tenant.name,
      gpuMemoryUtilization: fit.gpuMemoryUtilization ?? 0,
      processBytes,
      freeBeforeBytes: free,
    });
    free -= processBytes;
  }
  return { ok: true, starts, headroomBytes: free };
}

/**
 * What a partition of a product can do: its share of the card's bandwidth and peaks. Owns the arithmetic of shares;
 * knows nothing of models, engines or co-tenants' activity.
 */
import { AimError, formatLayout, type Layout } from '@aim-gpu/core';
import type { Product } from '@aim-gpu/core/products';
import { DEFAULT_ASSUMPTIONS, type PerformanceAssumptions } from './assumptions.js';
import { requireNumber } from './validation.js';

/** Which peak the matrix products of a model run at. */
export type MathPrecision = 'fp16' | 'fp8' | 'fp4';

/** Peak rates of one partition, with the facts of its card that the model of speed needs. */
export interface PartitionSpeed {
  /** The product's name, or a name for hardware that was calibrated from scratch. */
  readonly product: string;
  readonly architecture: 'CDNA3' | 'CDNA4' | 'unknown';
  readonly layout: Layout;
  readonly xcds: number;
  /** XCDs of the partition ÷ XCDs of the card. */
  readonly share: number;
  /** Share of the partition's CUs left by a mask, 1 without one. */
  readonly cuShare: number;
  readonly memoryBytesPerSecond: number;
  readonly flopsPerSecond: Readonly<Record<MathPrecision, number>>;
  /** False when the product has no 4-bit units and runs such weights at its 16-bit peak. */
  readonly nativeFp4: boolean;
}

/** Input of {@link toPartitionSpeed}. */
export interface PartitionSpeedOptions {
  readonly product: Product;
  /** XCDs of the partition; of the whole card in SPX. */
  readonly xcds: number;
  readonly layout: Layout;
  /** Share of the partition's CUs that a mask leaves, by default 1. */
  readonly cuShare?: number;
  /**
   * True when the other XCD of the IO die is known to stay idle, which doubles the bandwidth of a one-XCD partition
   * in NPS4. Off by default: a promise must not rest on a neighbour's idleness.
   */
  readonly idleDieNeighbour?: boolean;
  readonly assumptions?: PerformanceAssumptions;
}

/**
 * Works out what a partition can do from its product and its XCDs: n of N XCDs get n/N of compute and of bandwidth
 * (rocm-blogs compute-memory-modes; 5 % more in NPS4), a CU mask its share of compute and up to twice that share of
 * bandwidth (assumption). Throws `ERR_PREDICT_INVALID` for XCDs the product does not have and
 * `ERR_LAYOUT_UNSUPPORTED` for a product without peaks.
 */
export function toPartitionSpeed(options: PartitionSpeedOptions): PartitionSpeed {
  const { product, layout } = options;
  const assumptions = options.assumptions ?? DEFAULT_ASSUMPTIONS;
  const xcds = requireNumber('xcds', options.xcds, 1, product.xcds);
  const cuShare = requireNumber('cuShare', options.cuShare ?? 1, 1e-3, 1);
  if (!(product.peaks.memoryBytesPerSecond > 0)) {
    throw new AimError({
      code: 'ERR_LAYOUT_UNSUPPORTED',
      kind: 'refused',
      message: `no peak rates are known for ${product.name} in ${formatLayout(layout)}`,
      hint: 'calibrate the host with a measurement first',
    });
  }
  const share = xcds / product.xcds;
  const quadrants = layout.memory === 'NPS4' || layout.memory === 'NPS8';
  const ownDie = product.xcds / Math.max(1, product.ioDies);
  const idleGain =
    quadrants && options.idleDieNeighbour === true && xcds < ownDie
      ? Math.min(ownDie / xcds, assumptions.nps4IdleNeighbour.value)
      : 1;
  const bandwidthShare =
    share *
    (quadrants ? assumptions.nps4Bandwidth.value : 1) *
    idleGain *
    Math.min(1, cuShare === 1 ? 1 : assumptions.cuMaskBandwidth.value * cuShare);
  const compute = share * cuShare;
  const peaks = product.peaks;
  return {
    product: product.name,
    architecture: product.architecture,
    layout,
    xcds,
    share,
    cuShare,
    memoryBytesPerSecond: peaks.memoryBytesPerSecond * bandwidthShare,
    flopsPerSecond: {
      fp16: peaks.fp16FlopsPerSecond * compute,
      fp8: peaks.fp8FlopsPerSecond * compute,
      fp4: (peaks.fp4FlopsPerSecond ?? peaks.fp16FlopsPerSecond) * compute,
    },
    nativeFp4: peaks.fp4FlopsPerSecond !== null,
  };
}

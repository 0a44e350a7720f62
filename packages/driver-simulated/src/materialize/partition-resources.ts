/**
 * Engines of a partition by compute mode, as `compute_partition_config` and `amd-smi partition` tell them. Owns the
 * arithmetic, which follows the captured profiles of an MI355X; pure.
 */
import { COMPUTE_MODES, type ComputeMode, type MemoryMode, partitionCount } from '@aim-gpu/core';
import type { Product } from '@aim-gpu/core/products';
import { type KernelVariant, offeredLayouts } from '../kernel.js';

/** One kind of engine in a partition. */
interface PartitionResource {
  readonly type: 'XCC' | 'DECODER' | 'DMA' | 'JPEG';
  readonly instances: number;
  /** How many partitions use these instances together. */
  readonly sharedBy: number;
}

/** One profile of a card: a compute mode and what each of its partitions has. */
export interface PartitionProfile {
  readonly index: number;
  readonly compute: ComputeMode;
  readonly partitions: number;
  readonly memoryModes: readonly MemoryMode[];
  readonly resources: readonly PartitionResource[];
}

/** Video engines of a card; the dies of both generations have four. */
const DECODERS = 4;
/** JPEG engines beside each of them (amd-smi captures: 40 on MI355X, 32 on MI300X in SPX). */
const JPEGS_PER_DECODER: Readonly<Record<Product['architecture'], number>> = {
  CDNA3: 8,
  CDNA4: 10,
};
const DMA_PER_XCD = 2;

/** The profiles of a product in their order, which numbers them. */
export function partitionProfiles(
  product: Product,
  kernel: KernelVariant,
): readonly PartitionProfile[] {
  const offered = offeredLayouts(product, kernel);
  return COMPUTE_MODES.filter((mode) => offered.some((layout) => layout.compute === mode)).map(
    (compute, index) => {
      const partitions = partitionCount(compute, product.xcds);
      const decoders = Math.max(1, DECODERS / partitions);
      const sharedBy = Math.max(1, partitions / DECODERS);
      const jpegs = decoders * JPEGS_PER_DECODER[product.architecture];
      return {
        index,
        compute,
        partitions,
        memoryModes: offered
          .filter((layout) => layout.compute === compute)
          .map((layout) => layout.memory),
        resources: [
          { type: 'XCC', instances: product.xcds / partitions, sharedBy: 1 },
          { type: 'DECODER', instances: Math.ceil(decoders), sharedBy: Math.ceil(sharedBy) },
          { type: 'DMA', instances: (product.xcds * DMA_PER_XCD) / partitions, sharedBy: 1 },
          { type: 'JPEG', instances: Math.ceil(jpegs), sharedBy: Math.ceil(sharedBy) },
        ],
      };
    },
  );
}

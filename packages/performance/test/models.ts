/** Models, partitions and grids that several tests use. */
import type { Layout, StepDemand } from '@aim-gpu/core';
import { findProduct, type Product } from '@aim-gpu/core/products';
import { readArchitectures, toStepDemand } from '../bench/serving-rows.js';
import { type PartitionSpeed, toPartitionSpeed } from '../src/index.js';

const architectures = readArchitectures();

/** A model's step demand by its published dimensions. */
export function aStep(name: string, precision: 'fp16' | 'fp8' | 'fp4' = 'fp16'): StepDemand {
  const architecture = architectures[name];
  if (architecture === undefined) throw new Error(`unknown model ${name}`);
  return toStepDemand(name, architecture, precision, 2);
}

/** A product of the catalogue. */
export function aProduct(name: string = 'MI300X'): Product {
  const product = findProduct(name);
  if (product === null) throw new Error(`unknown product ${name}`);
  return product;
}

/** A partition of an MI300X by its layout. */
export function aPartition(
  compute: Layout['compute'],
  memory: Layout['memory'] = 'NPS1',
): PartitionSpeed {
  const xcds = { SPX: 8, DPX: 4, TPX: 3, QPX: 2, CPX: 1 }[compute];
  return toPartitionSpeed({ product: aProduct(), xcds, layout: { compute, memory } });
}

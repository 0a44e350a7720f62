/**
 * `aim-gpu fit M`: which layouts of a product hold a model, and with which limits (CONTRACT §5).
 */
import { formatBytes } from '@aim-gpu/core';
import { createModelLibrary, fitProduct, type LayoutFit } from '@aim-gpu/sizing';
import type { CommandContext } from '../context.js';
import { chooseGpu, toModelSource, toSizeOptions } from '../size-options.js';
import type { SizingFlags } from '../sizing-flags.js';
import { formatTable } from '../table.js';

/** Options of `fit`. */
export interface FitCommandOptions extends SizingFlags {
  readonly concurrency?: number;
}

/** The product when none is named, as CONTRACT §5 has it. */
const DEFAULT_PRODUCT = 'MI300X';
/** Exit code when no layout holds the model (CONTRACT §5). */
const EXIT_NOTHING_FITS = 6;

/** Runs `fit`. Exit code 0 when a layout holds the model, 6 when none does; the answer is printed all the same. */
export async function fit(
  context: CommandContext,
  model: string,
  options: FitCommandOptions,
): Promise<number> {
  const library = createModelLibrary();
  const config = await library.load(toModelSource(context, model));
  const flags = { ...options, gpu: options.gpu ?? DEFAULT_PRODUCT };
  const gpu = chooseGpu(flags);
  const sizeOptions = await toSizeOptions(context, flags, library);
  const fitted = fitProduct(config, {
    ...sizeOptions,
    product: gpu?.product.name ?? DEFAULT_PRODUCT,
    ...(options.layout === undefined || gpu === null ? {} : { layout: gpu.layout }),
    ...(options.concurrency === undefined ? {} : { concurrency: options.concurrency }),
  });
  if (context.json) context.print(fitted);
  else context.say(toText(fitted.product, fitted.layouts));
  return fitted.layouts.some((layout) => layout.fits) ? 0 : EXIT_NOTHING_FITS;
}

function toText(product: string, layouts: readonly LayoutFit[]): string {
  const rows = layouts.map((layout) => [
    layout.layout,
    formatBytes(layout.partitionMemoryBytes),
    layout.fits ? 'yes' : 'no',
    String(layout.maxConcurrency),
    String(layout.maxModelLen),
    layout.gpuMemoryUtilization === null ? '' : layout.gpuMemoryUtilization.toFixed(3),
    layout.kvCacheMemoryBytes === null ? '' : formatBytes(layout.kvCacheMemoryBytes),
  ]);
  const head = ['LAYOUT', 'PARTITION', 'FITS', 'SEQUENCES', 'CONTEXT', 'UTILIZATION', 'KV CACHE'];
  const reasons = layouts.flatMap((layout) =>
    layout.reasons.map((reason) => `${layout.layout}: ${reason.message}; ${reason.fix}`),
  );
  return [product, formatTable(head, rows), ...reasons].join('\n');
}

/**
 * What a checkpoint's own headers say: tensors with type, shape and bytes, summed up. Owns the sums (stored bytes,
 * logical parameters, what an engine does not load); reading the two header formats is safetensors-header.ts's and
 * gguf-header.ts's business.
 */

/** One stored tensor. */
export interface StoredTensor {
  readonly name: string;
  /** The format's own name of the type: `BF16`, `I32`, `Q4_K`. */
  readonly type: string;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** Exact facts of a checkpoint. */
export interface CheckpointFacts {
  readonly format: 'safetensors' | 'gguf';
  readonly tensors: number;
  /** Bytes of every tensor. */
  readonly storedBytes: number;
  /** Bytes an engine loads: without prediction layers and without a tied output projection stored twice. */
  readonly loadedBytes: number;
  /** Parameters, packed weights unpacked, scales not counted. */
  readonly parameters: number;
}

/** Names of scales, zero points and index tables that accompany packed weights. */
const COMPANION =
  /(?:[._](?:weight_)?scales?(?:_inv|_2)?|\.qzeros|\.g_idx|\.weight_zero_point|\.absmax|\.quant_map|\.quant_state\S*|\.(?:input|output|k|v)_scale|\.weight_shape)$/;
const PREDICTION = /(?:^|\.)mtp\.|nextn/;

function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Logical weights in one stored element: packed int4 keeps eight in an I32, two in a byte. */
function perElement(tensor: StoredTensor): number {
  const packed = /(?:weight_packed|qweight|_blocks)$/.test(tensor.name);
  if (tensor.type === 'I32' && packed) return 8;
  if (
    tensor.type === 'U8' &&
    (packed || tensor.name.endsWith('.weight') || tensor.name.endsWith('_proj'))
  )
    return 2;
  return 1;
}

/** Sums up a checkpoint. `layers` is the number of layers that are no prediction layers, `tied` drops a second head. */
export function summariseCheckpoint(
  format: 'safetensors' | 'gguf',
  tensors: readonly StoredTensor[],
  options: { readonly layers: number | null; readonly tied: boolean },
): CheckpointFacts {
  let storedBytes = 0;
  let loadedBytes = 0;
  let parameters = 0;
  for (const tensor of tensors) {
    storedBytes += tensor.bytes;
    const layer = /(?:^|\.)layers\.(\d+)\./.exec(tensor.name)?.[1];
    const predicted =
      PREDICTION.test(tensor.name) ||
      (layer !== undefined && options.layers !== null && Number(layer) >= options.layers);
    const second = options.tied && /(?:^|\.)lm_head\.weight$/.test(tensor.name);
    if (!predicted && !second) loadedBytes += tensor.bytes;
    if (!second && !COMPANION.test(tensor.name))
      parameters += elements(tensor.shape) * perElement(tensor);
  }
  return { format, tensors: tensors.length, storedBytes, loadedBytes, parameters };
}

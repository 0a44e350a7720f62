/**
 * Reads the header of a safetensors file: 8 bytes of length, then JSON. Never touches the tensors.
 * Owns the refusal of truncated and lying headers; sums are checkpoint.ts's business.
 */
import { z } from 'zod';
import type { StoredTensor } from './checkpoint.js';
import { invalidConfig } from './errors.js';

/** Longest header that is read; the format's own limit. */
const LARGEST_SAFETENSORS_HEADER = 100_000_000;
const LENGTH_BYTES = 8;

/** Bytes of one element. Source: safetensors dtype table. */
const ELEMENT_BYTES: ReadonlyMap<string, number> = new Map([
  ['F64', 8],
  ['I64', 8],
  ['U64', 8],
  ['F32', 4],
  ['I32', 4],
  ['U32', 4],
  ['F16', 2],
  ['BF16', 2],
  ['I16', 2],
  ['U16', 2],
  ['F8_E4M3', 1],
  ['F8_E5M2', 1],
  ['F8_E8M0', 1],
  ['I8', 1],
  ['U8', 1],
  ['BOOL', 1],
]);

const entrySchema = z.looseObject({
  dtype: z.string().max(20),
  shape: z.array(z.number().int().min(0).max(1e12)).max(16),
  data_offsets: z.tuple([z.number().int().min(0), z.number().int().min(0)]),
});

const FIX = 'download the file again; give a complete safetensors file';

/** How many bytes a reader needs to see the whole header. Throws `ERR_CONFIG_INVALID` for an impossible length. */
export function safetensorsHeaderLength(
  bytes: Uint8Array,
  fileSize: number,
  source: string,
): number {
  if (bytes.length < LENGTH_BYTES)
    throw invalidConfig(source, 'header', 'shorter than a safetensors header', FIX);
  const length = new DataView(bytes.buffer, bytes.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (length > BigInt(LARGEST_SAFETENSORS_HEADER) || Number(length) + LENGTH_BYTES > fileSize)
    throw invalidConfig(
      source,
      'header',
      `claims a header of ${length} bytes in a file of ${fileSize}`,
      FIX,
    );
  return Number(length) + LENGTH_BYTES;
}

/**
 * Reads the tensors of a safetensors header. `bytes` holds at least the whole header, `fileSize` is the file's size.
 * Throws `ERR_CONFIG_INVALID` for truncated headers and for tensors that claim bytes the file does not have.
 */
export function parseSafetensorsHeader(
  bytes: Uint8Array,
  fileSize: number,
  source = 'model.safetensors',
): readonly StoredTensor[] {
  const end = safetensorsHeaderLength(bytes, fileSize, source);
  if (bytes.length < end)
    throw invalidConfig(source, 'header', `only ${bytes.length} of ${end} header bytes`, FIX);
  let raw: unknown;
  try {
    raw = JSON.parse(
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(LENGTH_BYTES, end)),
    );
  } catch (error) {
    throw invalidConfig(source, 'header', 'the header is not JSON', FIX, error);
  }
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw))
    throw invalidConfig(source, 'header', 'the header is not an object', FIX);
  const tensors: StoredTensor[] = [];
  for (const [name, entry] of Object.entries(raw)) {
    if (name === '__metadata__') continue;
    const checked = entrySchema.safeParse(entry);
    if (!checked.success)
      throw invalidConfig(
        source,
        name,
        checked.error.issues[0]?.message ?? 'not a tensor entry',
        FIX,
      );
    const { dtype, shape, data_offsets: offsets } = checked.data;
    const size = ELEMENT_BYTES.get(dtype);
    const stored = offsets[1] - offsets[0];
    if (stored < 0 || end + offsets[1] > fileSize)
      throw invalidConfig(
        source,
        name,
        `claims bytes ${offsets[0]} to ${offsets[1]} of a file of ${fileSize}`,
        FIX,
      );
    if (size !== undefined && shape.reduce((product, one) => product * one, 1) * size !== stored)
      throw invalidConfig(
        source,
        name,
        `${dtype} of ${shape.join(' × ')} is not ${stored} bytes`,
        FIX,
      );
    tensors.push({ name, type: dtype, shape, bytes: stored });
  }
  return tensors;
}

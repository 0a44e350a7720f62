/**
 * Storage schemes of weights and their sizes in bytes: the reference table "bytes per parameter" as code and data.
 * Owns bytes of one matrix under one scheme. Which module gets which scheme is quantization-config.ts's business.
 */
import type { FloatType, QuantizationMethod, QuantizationScheme } from './model-config.js';

/** Bytes of one value of a float type. */
export function floatBytes(type: FloatType): number {
  return type === 'fp32' ? 4 : 2;
}

/** Makes a scheme, with the layout its method usually has. */
export function quantizationScheme(
  method: QuantizationMethod,
  options: Partial<Omit<QuantizationScheme, 'method'>> = {},
): QuantizationScheme {
  const bits =
    method === 'fp8' || method === 'fp8-block' || method === 'int8'
      ? 8
      : method === 'none'
        ? 16
        : 4;
  return { method, groupSize: null, symmetric: true, actOrder: false, bits, ...options };
}

/** The scheme of weights that are not quantized. */
export const UNQUANTIZED: QuantizationScheme = quantizationScheme('none');

/**
 * Bits per weight of GGUF tensor types, block scales included.
 * Source: ggml block structs (type size / block size).
 */
const GGUF_BITS: ReadonlyMap<string, number> = new Map([
  ['F32', 32],
  ['F16', 16],
  ['BF16', 16],
  ['Q4_0', 4.5],
  ['Q4_1', 5],
  ['Q5_0', 5.5],
  ['Q5_1', 6],
  ['Q8_0', 8.5],
  ['Q2_K', 2.625],
  ['Q3_K', 3.4375],
  ['Q4_K', 4.5],
  ['Q5_K', 5.5],
  ['Q6_K', 6.5625],
  ['Q8_K', 9.125],
  ['IQ1_S', 1.5625],
  ['IQ1_M', 1.75],
  ['IQ2_XXS', 2.0625],
  ['IQ2_XS', 2.3125],
  ['IQ2_S', 2.5625],
  ['IQ3_XXS', 3.0625],
  ['IQ3_S', 3.4375],
  ['IQ4_NL', 4.5],
  ['IQ4_XS', 4.25],
  ['MXFP4', 4.25],
]);

/**
 * Averages of GGUF file mixes, which use several tensor types; a file's own tensor table is better.
 * Source: reference table; mixes spread by about ±2 %.
 */
const GGUF_MIXES: ReadonlyMap<string, number> = new Map([
  ['Q2_K_S', 2.75],
  ['Q3_K_S', 3.5],
  ['Q3_K_M', 3.9],
  ['Q3_K_L', 4.25],
  ['Q4_K_S', 4.6],
  ['Q4_K_M', 4.85],
  ['Q5_K_S', 5.55],
  ['Q5_K_M', 5.7],
]);

/** Bits per weight of a GGUF type or mix; `null` when unknown. */
export function ggufBits(type: string): number | null {
  const name = type.toUpperCase();
  return GGUF_BITS.get(name) ?? GGUF_MIXES.get(name) ?? null;
}

/** Bytes of one packed matrix, and of the scales and zero points allocated beside it. */
export interface MatrixBytes {
  readonly weights: number;
  readonly scales: number;
}

/** Bytes of `stack` matrices of `rows` × `columns` under a scheme. */
export function matrixBytes(
  scheme: QuantizationScheme,
  rows: number,
  columns: number,
  stack: number,
  float: FloatType,
): MatrixBytes {
  const count = rows * columns * stack;
  const groups = (size: number): number => stack * rows * Math.ceil(columns / size);
  switch (scheme.method) {
    case 'none':
      return { weights: count * floatBytes(float), scales: 0 };
    case 'fp8':
    case 'int8':
      // One fp32 scale per output channel, or per matrix: the larger is a rounding error of the total.
      return { weights: count, scales: 4 * rows * stack };
    case 'fp8-block': {
      const side = Math.sqrt(scheme.groupSize ?? 16_384);
      return {
        weights: count,
        scales: 4 * stack * Math.ceil(rows / side) * Math.ceil(columns / side),
      };
    }
    case 'int4':
    case 'gptq':
    case 'awq': {
      const size = scheme.groupSize ?? columns;
      const zero = scheme.symmetric ? 0 : scheme.bits / 8;
      const order = scheme.actOrder ? 4 * columns * stack : 0;
      return { weights: (count * scheme.bits) / 8, scales: groups(size) * (2 + zero) + order };
    }
    case 'mxfp4':
      return { weights: count / 2, scales: groups(scheme.groupSize ?? 32) };
    case 'nvfp4':
      return { weights: count / 2, scales: groups(scheme.groupSize ?? 16) + 4 * stack };
    case 'bnb-nf4':
      return { weights: count / 2, scales: groups(scheme.groupSize ?? 64) * 4 };
    default:
      return { weights: (count * (ggufBits(scheme.method.slice(5)) ?? 16)) / 8, scales: 0 };
  }
}

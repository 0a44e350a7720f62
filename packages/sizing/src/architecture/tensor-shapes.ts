/**
 * Makers of single tensors and the count of one. Owns no architecture: which tensors a layer has stands in the files
 * that use these.
 */
import type { Component, Split, Tensor } from '../model-config.js';

/** What a tensor helper needs to know. */
export interface TensorShape {
  readonly component: Component;
  readonly module: string;
  readonly rows: number;
  readonly columns: number;
  readonly split: Split;
  readonly stack?: number;
  readonly kvRows?: Tensor['kvRows'];
}

/** A linear layer's weight matrix. */
export function matrix(shape: TensorShape): Tensor {
  return { stack: 1, kvRows: null, ...shape, linear: true, wide: false };
}

/** A bias, norm, scale or other vector that no scheme quantizes. */
export function vector(
  component: Component,
  module: string,
  length: number,
  options: { readonly split?: Split; readonly wide?: boolean } = {},
): Tensor {
  return {
    component,
    module,
    rows: length,
    columns: 1,
    stack: 1,
    split: options.split ?? 'replicated',
    kvRows: null,
    linear: false,
    wide: options.wide ?? false,
  };
}

/** A matrix that no scheme quantizes: embeddings, convolutions, hyper-connections. */
export function plainMatrix(shape: TensorShape): Tensor {
  return { ...matrix(shape), linear: false };
}

/** Parameters of one tensor. */
export function tensorParameters(tensor: Tensor): number {
  return tensor.rows * tensor.columns * tensor.stack;
}

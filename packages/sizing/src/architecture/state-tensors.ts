/**
 * The tensors of layers that keep a state instead of a cache: gated delta nets and both kinds of Mamba.
 * Formulas: published architectures, checked against published totals.
 */
import type { DeltaMixer, Mamba1Mixer, Mamba2Mixer, Tensor } from '../model-config.js';
import { matrix, plainMatrix, vector } from './tensor-shapes.js';

/** Gated delta net. */
export function deltaTensors(mixer: DeltaMixer, hidden: number): Tensor[] {
  const component = 'stateMixer' as const;
  const keys = mixer.keyHeads * mixer.keyDim;
  const values = mixer.valueHeads * mixer.valueDim;
  return [
    matrix({
      component,
      module: 'linear_attn.in_proj_qkvz',
      rows: 2 * keys + 2 * values,
      columns: hidden,
      split: 'rows',
    }),
    matrix({
      component,
      module: 'linear_attn.in_proj_ba',
      rows: 2 * mixer.valueHeads,
      columns: hidden,
      split: 'rows',
    }),
    plainMatrix({
      component,
      module: 'linear_attn.conv1d',
      rows: 2 * keys + values,
      columns: mixer.convKernel,
      split: 'rows',
    }),
    vector(component, 'linear_attn.A_log', 2 * mixer.valueHeads, { split: 'rows', wide: true }),
    vector('norms', 'linear_attn.norm', mixer.valueDim),
    matrix({
      component,
      module: 'linear_attn.out_proj',
      rows: hidden,
      columns: values,
      split: 'columns',
    }),
  ];
}

/** Mamba 2. */
export function mamba2Tensors(mixer: Mamba2Mixer, hidden: number): Tensor[] {
  const component = 'stateMixer' as const;
  const inner = mixer.heads * mixer.headDim;
  const conv = inner + 2 * mixer.groups * mixer.stateSize;
  const input = inner + conv + mixer.heads;
  const tensors = [
    matrix({ component, module: 'mixer.in_proj', rows: input, columns: hidden, split: 'rows' }),
    plainMatrix({
      component,
      module: 'mixer.conv1d',
      rows: conv,
      columns: mixer.convKernel + (mixer.convBias ? 1 : 0),
      split: 'rows',
    }),
    vector(component, 'mixer.A_log', 3 * mixer.heads, { split: 'rows', wide: true }),
    vector('norms', 'mixer.norm', inner, { split: 'rows' }),
    matrix({ component, module: 'mixer.out_proj', rows: hidden, columns: inner, split: 'columns' }),
  ];
  if (mixer.projectionBias) tensors.push(vector(component, 'mixer.proj.bias', input + hidden));
  return tensors;
}

/** Mamba 1. */
export function mamba1Tensors(mixer: Mamba1Mixer, hidden: number): Tensor[] {
  const component = 'stateMixer' as const;
  const { inner, stateSize, timeRank } = mixer;
  const tensors = [
    matrix({ component, module: 'mamba.in_proj', rows: 2 * inner, columns: hidden, split: 'rows' }),
    plainMatrix({
      component,
      module: 'mamba.conv1d',
      rows: inner,
      columns: mixer.convKernel + (mixer.convBias ? 1 : 0),
      split: 'rows',
    }),
    matrix({
      component,
      module: 'mamba.x_proj',
      rows: timeRank + 2 * stateSize,
      columns: inner,
      split: 'columns',
    }),
    matrix({ component, module: 'mamba.dt_proj', rows: inner, columns: timeRank, split: 'rows' }),
    vector(component, 'mamba.dt_proj.bias', inner, { split: 'rows' }),
    plainMatrix({
      component,
      module: 'mamba.A_log',
      rows: inner,
      columns: stateSize,
      split: 'rows',
    }),
    vector(component, 'mamba.D', inner, { split: 'rows' }),
    matrix({ component, module: 'mamba.out_proj', rows: hidden, columns: inner, split: 'columns' }),
  ];
  if (mixer.innerNorms) tensors.push(vector('norms', 'mamba.norms', timeRank + 2 * stateSize));
  if (mixer.projectionBias) tensors.push(vector(component, 'mamba.proj.bias', 2 * inner + hidden));
  return tensors;
}

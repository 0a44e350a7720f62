/**
 * The tensors of attention in all its forms, as engines allocate them: query, key and value fused, down projections of
 * latent attention fused, indexers and compressors beside them. Formulas: published architectures, checked against
 * published totals by test/parameters.test.ts.
 */
import type { AttentionMixer, CompressedMixer, LatentMixer, Tensor } from '../model-config.js';
import { matrix, plainMatrix, vector } from './tensor-shapes.js';

/** Ordinary attention. */
export function attentionTensors(mixer: AttentionMixer, hidden: number): Tensor[] {
  const queryRows = mixer.heads * mixer.headDim * (mixer.outputGate ? 2 : 1);
  const perHead = mixer.keyIsValue ? mixer.headDim : mixer.headDim + mixer.valueDim;
  const kvRows = mixer.sharesKv ? null : { heads: mixer.kvHeads, perHead };
  const rows = queryRows + (kvRows === null ? 0 : mixer.kvHeads * perHead);
  const component = 'attention' as const;
  const tensors = [
    matrix({
      component,
      module: 'self_attn.qkv_proj',
      rows,
      columns: hidden,
      split: 'rows',
      kvRows,
    }),
    matrix({
      component,
      module: 'self_attn.o_proj',
      rows: hidden,
      columns: mixer.heads * mixer.valueDim,
      split: 'columns',
    }),
  ];
  if (mixer.qkvBias)
    tensors.push(vector(component, 'self_attn.qkv_proj.bias', rows, { split: 'rows' }));
  if (mixer.outputBias) tensors.push(vector(component, 'self_attn.o_proj.bias', hidden));
  const qkNorm = mixer.sharesKv ? mixer.qkNormParameters / 2 : mixer.qkNormParameters;
  if (qkNorm > 0) tensors.push(vector('norms', 'self_attn.qk_norm', qkNorm));
  if (mixer.sinks)
    tensors.push(vector(component, 'self_attn.sinks', mixer.heads, { split: 'rows' }));
  return tensors;
}

/** Multi-head latent attention, with its sparse indexer where a layer owns one. */
export function latentTensors(mixer: LatentMixer, hidden: number): Tensor[] {
  const component = 'attention' as const;
  const queryWidth = mixer.heads * (mixer.nopeDim + mixer.ropeDim);
  const replicated = 'replicated' as const;
  const compressedWidth = mixer.kvRank + mixer.ropeDim;
  const tensors: Tensor[] = [];
  if (mixer.queryRank === null) {
    tensors.push(
      matrix({
        component,
        module: 'self_attn.q_proj',
        rows: queryWidth,
        columns: hidden,
        split: 'rows',
      }),
      matrix({
        component,
        module: 'self_attn.kv_a_proj_with_mqa',
        rows: compressedWidth,
        columns: hidden,
        split: replicated,
      }),
    );
  } else {
    const rank = mixer.queryRank;
    tensors.push(
      // Engines fuse the two down projections into one matrix.
      matrix({
        component,
        module: 'self_attn.q_a_proj',
        rows: rank + compressedWidth,
        columns: hidden,
        split: replicated,
      }),
      vector('norms', 'self_attn.q_a_layernorm', rank),
      matrix({
        component,
        module: 'self_attn.q_b_proj',
        rows: queryWidth,
        columns: rank,
        split: 'rows',
      }),
    );
    if (mixer.bias)
      tensors.push(vector(component, 'self_attn.q_a_proj.bias', rank + compressedWidth));
  }
  tensors.push(
    vector('norms', 'self_attn.kv_a_layernorm', mixer.kvRank),
    matrix({
      component,
      module: 'self_attn.kv_b_proj',
      rows: mixer.heads * (mixer.nopeDim + mixer.valueDim),
      columns: mixer.kvRank,
      split: 'rows',
    }),
    matrix({
      component,
      module: 'self_attn.o_proj',
      rows: hidden,
      columns: mixer.heads * mixer.valueDim,
      split: 'columns',
    }),
  );
  if (mixer.bias) tensors.push(vector(component, 'self_attn.o_proj.bias', hidden));
  const { indexer } = mixer;
  if (indexer?.owns && mixer.queryRank !== null) {
    const module = 'self_attn.indexer';
    tensors.push(
      matrix({
        component,
        module,
        rows: indexer.heads * indexer.dim,
        columns: mixer.queryRank,
        split: replicated,
      }),
      matrix({ component, module, rows: indexer.dim, columns: hidden, split: replicated }),
      plainMatrix({ component, module, rows: indexer.heads, columns: hidden, split: replicated }),
      vector('norms', 'self_attn.indexer.k_norm', 2 * indexer.dim),
    );
  }
  return tensors;
}

/** A pooling branch that folds `ratio` tokens into one slot; ratios up to 4 pool over two windows at once. */
function compressorTensors(hidden: number, dim: number, ratio: number): Tensor[] {
  const component = 'attention' as const;
  const width = dim * (ratio <= 4 ? 2 : 1);
  const module = 'self_attn.compressor';
  return [
    plainMatrix({ component, module, rows: 2 * width, columns: hidden, split: 'replicated' }),
    vector(component, module, ratio * width, { wide: true }),
    vector('norms', module, dim),
  ];
}

/** Attention over a compressed cache. */
export function compressedTensors(mixer: CompressedMixer, hidden: number): Tensor[] {
  const component = 'attention' as const;
  const width = mixer.heads * mixer.headDim;
  const tensors = [
    matrix({
      component,
      module: 'self_attn.wq_a',
      rows: mixer.queryRank + mixer.headDim,
      columns: hidden,
      split: 'replicated',
    }),
    vector('norms', 'self_attn.qkv_norm', mixer.queryRank + mixer.headDim),
    matrix({
      component,
      module: 'self_attn.wq_b',
      rows: width,
      columns: mixer.queryRank,
      split: 'rows',
    }),
    matrix({
      component,
      module: 'self_attn.wo_a',
      rows: mixer.outputGroups * mixer.outputRank,
      columns: width / mixer.outputGroups,
      split: 'rows',
    }),
    matrix({
      component,
      module: 'self_attn.wo_b',
      rows: hidden,
      columns: mixer.outputGroups * mixer.outputRank,
      split: 'columns',
    }),
    vector(component, 'self_attn.attn_sink', mixer.heads, { split: 'rows', wide: true }),
  ];
  if (mixer.ratio > 0) tensors.push(...compressorTensors(hidden, mixer.headDim, mixer.ratio));
  const { indexer } = mixer;
  if (indexer !== null) {
    const module = 'self_attn.indexer';
    tensors.push(
      matrix({
        component,
        module,
        rows: indexer.heads * indexer.dim,
        columns: mixer.queryRank,
        split: 'replicated',
      }),
      plainMatrix({ component, module, rows: indexer.heads, columns: hidden, split: 'replicated' }),
      ...compressorTensors(hidden, indexer.dim, mixer.ratio),
    );
  }
  return tensors;
}

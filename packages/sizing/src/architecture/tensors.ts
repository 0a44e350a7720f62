/**
 * From mixers and feed-forward parts to the tensors an engine allocates: query, key and value fused, gate and up
 * fused, the experts of a layer stacked. This is the only place where a parameter formula stands; counting and
 * byte sizes both read the list. Formulas: published architectures, checked against published totals.
 */
import type {
  AttentionMixer,
  Component,
  CompressedMixer,
  DeltaMixer,
  FeedForward,
  LatentMixer,
  Mamba1Mixer,
  Mamba2Mixer,
  Mixer,
  Split,
  Tensor,
} from '../model-config.js';

interface Shape {
  readonly component: Component;
  readonly module: string;
  readonly rows: number;
  readonly columns: number;
  readonly split: Split;
  readonly stack?: number;
  readonly kvRows?: Tensor['kvRows'];
}

/** A linear layer's weight matrix. */
export function matrix(shape: Shape): Tensor {
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
export function plainMatrix(shape: Shape): Tensor {
  return { ...matrix(shape), linear: false };
}

function attentionTensors(mixer: AttentionMixer, hidden: number): Tensor[] {
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

function latentTensors(mixer: LatentMixer, hidden: number): Tensor[] {
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

function compressedTensors(mixer: CompressedMixer, hidden: number): Tensor[] {
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

function deltaTensors(mixer: DeltaMixer, hidden: number): Tensor[] {
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

function mamba2Tensors(mixer: Mamba2Mixer, hidden: number): Tensor[] {
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

function mamba1Tensors(mixer: Mamba1Mixer, hidden: number): Tensor[] {
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

/** The tensors of a mixer. */
export function mixerTensors(mixer: Mixer, hidden: number): readonly Tensor[] {
  switch (mixer.kind) {
    case 'attention':
      return attentionTensors(mixer, hidden);
    case 'mla':
      return latentTensors(mixer, hidden);
    case 'compressed':
      return compressedTensors(mixer, hidden);
    case 'gdn':
      return deltaTensors(mixer, hidden);
    case 'mamba2':
      return mamba2Tensors(mixer, hidden);
    case 'mamba1':
      return mamba1Tensors(mixer, hidden);
    case 'none':
      return [];
  }
}

function denseTensors(
  component: Component,
  module: string,
  width: number,
  gated: boolean,
  bias: boolean,
  hidden: number,
): Tensor[] {
  const rows = (gated ? 2 : 1) * width;
  const tensors = [
    matrix({ component, module: `${module}.gate_up_proj`, rows, columns: hidden, split: 'rows' }),
    matrix({
      component,
      module: `${module}.down_proj`,
      rows: hidden,
      columns: width,
      split: 'columns',
    }),
  ];
  if (bias) {
    tensors.push(
      vector(component, `${module}.gate_up_proj.bias`, rows, { split: 'rows' }),
      vector(component, `${module}.down_proj.bias`, hidden),
    );
  }
  return tensors;
}

/** The tensors of a feed-forward side. */
export function feedForwardTensors(feedForward: FeedForward, hidden: number): readonly Tensor[] {
  const tensors: Tensor[] = [];
  const { dense, experts, shared } = feedForward;
  if (dense !== null)
    tensors.push(
      ...denseTensors('feedForward', 'mlp', dense.width, dense.gated, dense.bias, hidden),
    );
  if (experts !== null) {
    const count = experts.experts;
    const inner = experts.latent ?? hidden;
    const rows = (experts.gated ? 2 : 1) * experts.width;
    tensors.push(
      plainMatrix({
        component: 'router',
        module: 'mlp.gate',
        rows: count,
        columns: hidden,
        split: 'replicated',
      }),
      matrix({
        component: 'experts',
        module: 'mlp.experts',
        rows,
        columns: inner,
        stack: count,
        split: 'expertRows',
      }),
      matrix({
        component: 'experts',
        module: 'mlp.experts',
        rows: inner,
        columns: experts.width,
        stack: count,
        split: 'expertColumns',
      }),
    );
    if (experts.routerBias) tensors.push(vector('router', 'mlp.gate.bias', count));
    if (experts.correctionBias)
      tensors.push(vector('router', 'mlp.gate.correction', count, { wide: true }));
    if (experts.routerScales) tensors.push(vector('router', 'mlp.gate.scale', hidden + count));
    if (experts.bias) tensors.push(vector('experts', 'mlp.experts.bias', count * (rows + inner)));
    if (experts.latent !== null) {
      const module = 'mlp.latent_proj';
      tensors.push(
        matrix({ component: 'experts', module, rows: inner, columns: hidden, split: 'replicated' }),
        matrix({ component: 'experts', module, rows: hidden, columns: inner, split: 'replicated' }),
      );
    }
  }
  if (shared !== null) {
    tensors.push(
      ...denseTensors(
        'sharedExperts',
        'mlp.shared_experts',
        shared.width,
        shared.gated,
        shared.bias,
        hidden,
      ),
    );
    if (shared.outputGate) tensors.push(vector('sharedExperts', 'mlp.shared_expert_gate', hidden));
  }
  return tensors;
}

/** Parameters of one tensor. */
export function tensorParameters(tensor: Tensor): number {
  return tensor.rows * tensor.columns * tensor.stack;
}

/**
 * Which layer is of which kind: full, windowed, chunked, compressed, linear or state-space mixing, and dense or
 * expert feed-forward. Reads the many spellings of the same thing; knows no parameter count.
 */
import { assume, type Reading, refuse } from './reading.js';

/** Token mixing of one layer. */
type MixerKind = 'full' | 'window' | 'chunk' | 'delta' | 'mamba' | 'none';
/** Feed-forward side of one layer. */
type FeedForwardKind = 'dense' | 'experts' | 'none';

/** The kinds of one layer; `ratio` is DeepSeek V4's compression of the layer's cache. */
export interface LayerPlan {
  readonly mixer: MixerKind;
  readonly feedForward: FeedForwardKind;
  readonly ratio: number | null;
  readonly index: number;
}

const WORDS: ReadonlyMap<string, MixerKind> = new Map<string, MixerKind>([
  ['full_attention', 'full'],
  ['attention', 'full'],
  ['deepseek_sparse_attention', 'full'],
  ['sliding_attention', 'window'],
  ['sliding_window', 'window'],
  ['chunked_attention', 'chunk'],
  ['linear_attention', 'delta'],
  ['mamba', 'mamba'],
  ['mamba2', 'mamba'],
]);

interface Kinds {
  readonly mixer: MixerKind;
  readonly feedForward: FeedForwardKind | null;
}

const ALTERNATING: ReadonlyMap<string, Kinds> = new Map<string, Kinds>([
  ['M', { mixer: 'mamba', feedForward: 'none' }],
  ['mamba', { mixer: 'mamba', feedForward: 'none' }],
  ['*', { mixer: 'full', feedForward: 'none' }],
  ['attention', { mixer: 'full', feedForward: 'none' }],
  ['E', { mixer: 'none', feedForward: 'experts' }],
  ['moe', { mixer: 'none', feedForward: 'experts' }],
  ['-', { mixer: 'none', feedForward: 'dense' }],
  ['mlp', { mixer: 'none', feedForward: 'dense' }],
]);

/** Reads a Nemotron-H pattern, as letters or words; `null` when the entries mean something else. */
export function alternatingKinds(
  reading: Reading,
  entries: readonly string[],
  path: string,
): readonly Kinds[] | null {
  if (!entries.some((entry) => entry === 'moe' || entry === 'mlp' || entry.length === 1))
    return null;
  return entries.map((entry) => {
    const kinds = ALTERNATING.get(entry);
    return (
      kinds ??
      refuse(
        reading,
        path,
        `unknown layer kind "${entry}"`,
        'known: M, E, *, -, mamba, moe, attention, mlp',
      )
    );
  });
}

function checkedLength<T>(reading: Reading, path: string, list: readonly T[]): readonly T[] {
  const { layerCount } = reading;
  if (list.length < layerCount)
    refuse(
      reading,
      path,
      `has ${list.length} entries for ${layerCount} layers`,
      'make it as long as num_hidden_layers',
    );
  return list;
}

function windowed(reading: Reading): boolean {
  const { text } = reading;
  if (text.sliding_window === null || text.sliding_window === undefined) return false;
  if (text.use_sliding_window === false) return false;
  const limit = text.max_position_embeddings;
  return limit === null || limit === undefined || text.sliding_window < limit;
}

function mixers(reading: Reading): (index: number) => MixerKind {
  const { text, traits } = reading;
  if (text.layer_types && text.layer_types.length > 0) {
    const list = checkedLength(reading, 'layer_types', text.layer_types);
    return (index) => {
      const name = list[index] ?? '';
      const kind = WORDS.get(name);
      if (kind === undefined) {
        assume(reading, `layer type "${name}" is unknown and taken as full attention`);
        return 'full';
      }
      return kind === 'window' && !text.sliding_window ? 'full' : kind;
    };
  }
  if (text.hybrid_layer_pattern) {
    const list = checkedLength(reading, 'hybrid_layer_pattern', text.hybrid_layer_pattern);
    return (index) => (list[index] === 1 ? 'window' : 'full');
  }
  if (text.layers_block_type && text.layers_block_type.length > 0) {
    const list = checkedLength(reading, 'layers_block_type', text.layers_block_type);
    return (index) => WORDS.get(list[index] ?? '') ?? 'full';
  }
  const everyFull = text.full_attention_interval;
  if (text.linear_num_value_heads && everyFull)
    return (index) => ((index + 1) % everyFull === 0 ? 'full' : 'delta');
  const period = text.attn_layer_period;
  if (period)
    return (index) => (index % period === (text.attn_layer_offset ?? 0) ? 'full' : 'mamba');
  if (text.attn_layer_indices) {
    const list = text.attn_layer_indices;
    return (index) => (list.includes(index) ? 'full' : 'mamba');
  }
  const few = text.attention_layers;
  if (few && (text.mamba_n_heads || text.mamba_num_heads)) {
    const every = Math.max(1, Math.floor(reading.layerCount / few));
    return (index) => ((index + 1) % every === 0 && (index + 1) / every <= few ? 'full' : 'mamba');
  }
  if (traits.chunked && text.attention_chunk_size) {
    const rope = text.no_rope_layers && text.no_rope_layers.length > 0 ? text.no_rope_layers : null;
    return (index) => ((rope ? rope[index] === 1 : (index + 1) % 4 !== 0) ? 'chunk' : 'full');
  }
  if (!windowed(reading)) return () => 'full';
  const letters = text.sliding_window_pattern;
  if (typeof letters === 'string' && /^[LG]+$/.test(letters))
    return (index) => (letters[index % letters.length] === 'L' ? 'window' : 'full');
  const every =
    typeof text.sliding_window_pattern === 'number'
      ? text.sliding_window_pattern
      : traits.fullEvery;
  if (every > 1) return (index) => ((index + 1) % every === 0 ? 'full' : 'window');
  const first = text.use_sliding_window === true ? (text.max_window_layers ?? 0) : 0;
  return (index) => (index >= first ? 'window' : 'full');
}

function feedForwards(reading: Reading): (index: number) => FeedForwardKind {
  const { text } = reading;
  const experts = text.num_experts ?? text.num_local_experts ?? text.n_routed_experts ?? 0;
  if (experts === 0 || text.enable_moe_block === false) return () => 'dense';
  if (text.mlp_layer_types && text.mlp_layer_types.length > 0) {
    const list = checkedLength(reading, 'mlp_layer_types', text.mlp_layer_types);
    return (index) => (list[index] === 'dense' ? 'dense' : 'experts');
  }
  if (Array.isArray(text.moe_layer_freq)) {
    const list = checkedLength(reading, 'moe_layer_freq', text.moe_layer_freq);
    return (index) => (list[index] === 0 ? 'dense' : 'experts');
  }
  if (text.moe_layers && text.moe_layers.length > 0) {
    const list = text.moe_layers;
    return (index) => (list.includes(index) ? 'experts' : 'dense');
  }
  const only = text.mlp_only_layers ?? [];
  const step = text.interleave_moe_layer_step ?? text.decoder_sparse_step ?? 1;
  const frequency = typeof text.moe_layer_freq === 'number' ? text.moe_layer_freq : 1;
  const firstDense = text.first_k_dense_replace ?? 0;
  const period = text.expert_layer_period;
  return (index) => {
    if (period) return index % period === (text.expert_layer_offset ?? 0) ? 'experts' : 'dense';
    if (index < firstDense || only.includes(index)) return 'dense';
    if (step > 1 && (index + 1) % step !== 0) return 'dense';
    return frequency > 1 && index % frequency !== 0 ? 'dense' : 'experts';
  };
}

/** Says for each layer how it mixes tokens and what its feed-forward side is. */
export function planLayers(reading: Reading): readonly LayerPlan[] {
  const { text, layerCount } = reading;
  const pattern = text.hybrid_override_pattern
    ? alternatingKinds(reading, [...text.hybrid_override_pattern], 'hybrid_override_pattern')
    : alternatingKinds(reading, text.layers_block_type ?? [], 'layers_block_type');
  if (pattern !== null) {
    checkedLength(reading, 'layers_block_type', pattern);
    return pattern.slice(0, layerCount).map((kinds, index) => ({
      mixer: kinds.mixer,
      feedForward: kinds.feedForward ?? 'dense',
      ratio: null,
      index,
    }));
  }
  const mixer = mixers(reading);
  const feedForward = feedForwards(reading);
  const ratios = text.compress_ratios
    ? checkedLength(reading, 'compress_ratios', text.compress_ratios)
    : null;
  return Array.from({ length: layerCount }, (_, index) => ({
    mixer: mixer(index),
    feedForward: feedForward(index),
    ratio: ratios === null ? null : (ratios[index] ?? 0),
    index,
  }));
}

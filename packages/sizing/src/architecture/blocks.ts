/**
 * Puts mixers, feed-forward sides and norms together into the distinct blocks of a model, and lists the tensors outside
 * of them. Owns what a block adds to its parts: norms and hyper-connections.
 */
import type { Block, FeedForward, Mixer, Tensor } from '../model-config.js';
import { buildFeedForward } from './feed-forward.js';
import { feedForwardTensors } from './feed-forward-tensors.js';
import type { LayerPlan } from './layer-plan.js';
import { mixerTensors } from './mixer-tensors.js';
import { buildMixer } from './mixers.js';
import type { Reading } from './reading.js';
import { matrix, plainMatrix, vector } from './tensor-shapes.js';

function blockNorms(reading: Reading, feedForward: FeedForward): readonly Tensor[] {
  const { traits, hidden, text } = reading;
  const extra = feedForward.experts?.routerScales === true ? 3 : 0;
  const norms = [
    vector('norms', 'norms', (traits.norms + extra) * hidden * (traits.normBias ? 2 : 1)),
  ];
  const streams = text.hc_mult;
  if (!streams || !text.o_lora_rank) return norms;
  // Hyper-connections: a mixing matrix, a base and three scales before attention and before the network.
  const mix = (2 + streams) * streams;
  return [
    ...norms,
    plainMatrix({
      component: 'norms',
      module: 'hyper',
      rows: 2 * mix,
      columns: streams * hidden,
      split: 'replicated',
    }),
    vector('norms', 'hyper.base', 2 * (mix + 3), { wide: true }),
  ];
}

/** One block from its parts. */
export function makeBlock(reading: Reading, mixer: Mixer, feedForward: FeedForward): Block {
  const { hidden } = reading;
  return {
    mixer,
    feedForward,
    tensors: [
      ...mixerTensors(mixer, hidden),
      ...feedForwardTensors(feedForward, hidden),
      ...blockNorms(reading, feedForward),
    ],
  };
}

/** The distinct blocks of a model, and for each layer which one it is. */
export function buildBlocks(
  reading: Reading,
  plans: readonly LayerPlan[],
): { blocks: Block[]; layers: number[] } {
  const blocks: Block[] = [];
  const known = new Map<string, number>();
  const layers = plans.map((plan) => {
    const { text } = reading;
    const widths = Array.isArray(text.intermediate_size) ? text.intermediate_size[plan.index] : '';
    const shares =
      (text.num_kv_shared_layers ?? 0) > 0 &&
      plan.index >= reading.layerCount - (text.num_kv_shared_layers ?? 0);
    const key = `${plan.mixer}/${plan.feedForward}/${plan.ratio}/${widths}/${shares}/${text.indexer_types?.[plan.index] ?? ''}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    const index =
      blocks.push(makeBlock(reading, buildMixer(reading, plan), buildFeedForward(reading, plan))) -
      1;
    known.set(key, index);
    return index;
  });
  return { blocks, layers };
}

/** Embedding, output projection and last norm. */
export function outerTensors(reading: Reading, tied: boolean): readonly Tensor[] {
  const { hidden, vocab, traits, text } = reading;
  const tensors = [
    plainMatrix({
      component: 'embedding',
      module: 'embed_tokens',
      rows: vocab,
      columns: hidden,
      split: 'vocabulary',
    }),
    vector('norms', 'norm', hidden * (traits.normBias ? 2 : 1)),
  ];
  if (!tied)
    tensors.push(
      matrix({
        component: 'head',
        module: 'lm_head',
        rows: vocab,
        columns: hidden,
        split: 'vocabulary',
      }),
    );
  if (text.lm_head_bias ?? traits.headBias)
    tensors.push(vector('head', 'lm_head.bias', vocab, { split: 'vocabulary' }));
  const streams = text.hc_mult;
  if (streams && text.o_lora_rank)
    tensors.push(
      vector('norms', 'hyper.head', streams * streams * hidden + streams + 1, { wide: true }),
    );
  return tensors;
}

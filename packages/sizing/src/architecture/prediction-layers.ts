/**
 * The multi-token-prediction layers that some checkpoints carry: a block like the last one, a projection of two inputs,
 * norms, and in some families an embedding and a head of their own. Engines load them for speculative decoding only.
 */
import type { MultiTokenPrediction, Tensor } from '../model-config.js';
import { makeBlock } from './blocks.js';
import { buildFeedForward } from './feed-forward.js';
import { alternatingKinds, type LayerPlan } from './layer-plan.js';
import { buildMixer } from './mixers.js';
import type { Reading } from './reading.js';
import { plainMatrix, vector } from './tensor-shapes.js';

function predictionPlans(reading: Reading, plans: readonly LayerPlan[]): readonly LayerPlan[] {
  const { text, layerCount } = reading;
  const letters = text.mtp_hybrid_override_pattern
    ? [...text.mtp_hybrid_override_pattern]
    : (text.mtp_layers_block_type ?? []);
  const pattern =
    letters.length > 0 ? alternatingKinds(reading, letters, 'mtp_layers_block_type') : null;
  if (pattern !== null)
    return pattern.map((kinds) => ({
      mixer: kinds.mixer,
      feedForward: kinds.feedForward ?? 'dense',
      ratio: null,
      index: layerCount,
    }));
  const last = plans.at(-1);
  if (last === undefined) return [];
  if (reading.traits.silentPrediction > 0)
    return [{ mixer: 'window', feedForward: 'dense', ratio: null, index: layerCount }];
  const full = plans.some((plan) => plan.mixer === 'full') ? 'full' : last.mixer;
  const ratio = text.compress_ratios ? (text.compress_ratios[layerCount] ?? 0) : null;
  return [{ mixer: full, feedForward: last.feedForward, ratio, index: layerCount }];
}

/** The prediction layers of a model; `null` when its checkpoint has none. */
export function buildPrediction(
  reading: Reading,
  plans: readonly LayerPlan[],
): MultiTokenPrediction | null {
  const { text, traits, hidden, vocab } = reading;
  const layers =
    text.mtp_num_hidden_layers ??
    text.mtp_layers ??
    text.num_nextn_predict_layers ??
    traits.silentPrediction;
  if (layers === 0 || traits.prediction === 'absent') return null;
  const own = predictionPlans(reading, plans).map((plan) =>
    makeBlock(reading, buildMixer(reading, plan), buildFeedForward(reading, plan)),
  );
  const component = 'prediction' as const;
  const tensors: Tensor[] = [
    plainMatrix({
      component,
      module: 'mtp.eh_proj',
      rows: hidden,
      columns: 2 * hidden,
      split: 'replicated',
    }),
    vector(component, 'mtp.norms', 3 * hidden),
    ...own.flatMap((block) =>
      block.tensors.map((tensor) => ({ ...tensor, component, module: `mtp.${tensor.module}` })),
    ),
  ];
  if (traits.prediction === 'own-embeddings') {
    tensors.push(
      plainMatrix({
        component,
        module: 'mtp.embed_tokens',
        rows: vocab,
        columns: hidden,
        split: 'vocabulary',
      }),
      plainMatrix({
        component,
        module: 'mtp.head',
        rows: vocab,
        columns: hidden,
        split: 'vocabulary',
      }),
    );
  }
  return { layers, tensors, mixers: own.map((block) => block.mixer) };
}

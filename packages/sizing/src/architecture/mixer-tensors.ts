/**
 * The tensors of a mixer of any kind. Owns the choice only.
 */
import type { Mixer, Tensor } from '../model-config.js';
import { attentionTensors, compressedTensors, latentTensors } from './attention-tensors.js';
import { deltaTensors, mamba1Tensors, mamba2Tensors } from './state-tensors.js';

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

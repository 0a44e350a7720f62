/**
 * The rotary tables an engine keeps on the device: cosines and sines for every position, one table per distinct
 * setting. Source: vLLM registers them as buffers, so they count into the logged weights.
 */
import type { Mixer, RotaryTable } from '../model-config.js';
import type { Reading } from './reading.js';

const FALLBACK_POSITIONS = 4096;

/** Positions of the main table after rope scaling. */
function scaledPositions(reading: Reading): number {
  const { text } = reading;
  const base = text.max_position_embeddings ?? FALLBACK_POSITIONS;
  const scaling = text.rope_scaling;
  const kind = scaling?.rope_type ?? scaling?.type ?? 'default';
  const factor = scaling?.factor ?? 1;
  if (kind === 'linear') return base * factor;
  if (kind === 'yarn') return (scaling?.original_max_position_embeddings ?? base) * factor;
  return base;
}

/** The rotary tables that a model with these mixers needs. */
export function rotaryTables(reading: Reading, mixers: readonly Mixer[]): readonly RotaryTable[] {
  const dims = new Map<string, RotaryTable>();
  const main = scaledPositions(reading);
  const plain = reading.text.max_position_embeddings ?? FALLBACK_POSITIONS;
  for (const mixer of mixers) {
    if (mixer.kind === 'attention') {
      const local = reading.traits.localRotary && mixer.window !== null;
      const positions = local ? plain : main;
      dims.set(`${local}/${mixer.rotaryDim}`, { positions, dim: mixer.rotaryDim });
    } else if (mixer.kind === 'mla' || mixer.kind === 'compressed') {
      dims.set(`mla/${mixer.ropeDim}`, { positions: main, dim: mixer.ropeDim });
    }
  }
  return [...dims.values()];
}

/**
 * The band of a request: what it asks for, lowered to what its tenant may use; without a wish the model's own.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { BANDS, type Band, type ServedModel } from '@aim-gpu/core';
import { lowerToAllowed } from '@aim-gpu/qos';
import type { Caller } from './tenants.js';

const TIERS: ReadonlyMap<string, Band> = new Map([
  ['priority', 'interactive'],
  ['default', 'standard'],
  ['flex', 'batch'],
]);

/** Chooses the band; the header goes before OpenAI's `service_tier`. */
export function chooseBand(
  headers: IncomingHttpHeaders,
  serviceTier: string | null,
  caller: Caller,
  model: ServedModel,
): Band {
  const header = headers['x-aim-band'];
  const wish =
    (header === undefined ? undefined : BANDS.find((band) => band === header)) ??
    (serviceTier === null ? undefined : TIERS.get(serviceTier));
  if (wish === undefined && caller.ownBand) return model.band;
  return lowerToAllowed(wish ?? model.band, caller.bands).band;
}

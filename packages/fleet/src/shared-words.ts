/**
 * Words that several sections of a fleet file share: products and bands. Owns where they come from; which key takes
 * them is in the section's own schema.
 */
import { BANDS, type Band } from '@aim-gpu/core';
import { PRODUCTS } from '@aim-gpu/core/products';
import type { z } from 'zod';
import * as field from './fields.js';

/** Name of a product of core's catalogue. */
export function product(): z.ZodType<string> {
  const names = PRODUCTS.map((entry) => entry.name);
  return field.word('Product name of the card.', names, 'MI300X');
}

/** A band. */
export function bandName(): z.ZodType<Band> {
  return field.word('Request priority class, most urgent first.', BANDS, 'standard');
}

/** One value for each band. */
export function byBand<T>(make: (band: Band) => T): Record<Band, T> {
  return {
    critical: make('critical'),
    interactive: make('interactive'),
    standard: make('standard'),
    batch: make('batch'),
    best_effort: make('best_effort'),
  };
}

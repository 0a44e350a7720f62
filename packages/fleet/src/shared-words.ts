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

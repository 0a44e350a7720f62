/**
 * The kinds of fields that foreign config files have, with physical bounds: a number no real model can have is
 * refused instead of being multiplied. Owns field kinds; which field is of which kind is the schemas' business.
 */
import { z } from 'zod';

/** Fields of one kind, each of which a file may leave out or set to null. */
export type Nullish<K extends string, T> = { readonly [key in K]?: T | null | undefined };

type Field<T> = z.ZodOptional<z.ZodNullable<z.ZodType<T>>>;

/** A width: at least 1. */
export const size: Field<number> = z.number().int().min(1).max(1e8).nullish();
/** A count: 0 or more. */
export const small: Field<number> = z.number().int().min(0).max(100_000).nullish();
/** A factor: any number of at least 0. */
export const factor: Field<number> = z.number().min(0).max(1e6).nullish();
/** A share between 0 and 1. */
export const fraction: Field<number> = z.number().min(0).max(1).nullish();
/** Yes or no. */
export const flag: Field<boolean> = z.boolean().nullish();
/** A short word. */
export const word: Field<string> = z.string().max(200).nullish();
/** A list of names. */
export const words: Field<readonly string[]> = z.array(z.string().max(300)).max(100_000).nullish();
/** A list of counts. */
export const counts: Field<readonly number[]> = z
  .array(z.number().int().min(0).max(1e7))
  .max(10_000)
  .nullish();

/** The same kind for several fields. */
export function fields<K extends string, S>(names: readonly K[], schema: S): Record<K, S> {
  return Object.fromEntries(names.map((name) => [name, schema])) as Record<K, S>;
}

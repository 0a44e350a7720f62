/**
 * Brands: nominal types over plain values, so that bytes are never added to milliseconds and a card id is
 * never passed where an instance id is meant. Owns the type only; constructors live with each unit or id.
 */
declare const brandKey: unique symbol;

/** A value of type `T` that only the constructor of brand `N` hands out; at run time it is the plain value. */
export type Brand<T, N extends string> = T & { readonly [brandKey]: N };

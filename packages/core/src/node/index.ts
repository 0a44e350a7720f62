/**
 * The public entry `@aim-gpu/core/node`.
 *
 * @packageDocumentation
 */
export {};

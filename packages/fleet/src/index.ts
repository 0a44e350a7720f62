/**
 * Reads a fleet file: YAML to typed, defaulted values, with the place of every error.
 *
 * @packageDocumentation
 */
export {};

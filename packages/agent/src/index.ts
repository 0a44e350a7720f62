/**
 * Runs one node: wanted state, journal, reconcile loop, control socket and REST API.
 *
 * @packageDocumentation
 */
export {};

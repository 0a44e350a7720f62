/**
 * A simulated GPU machine with the timing and the faults of a real one.
 *
 * @packageDocumentation
 */
export {};

/**
 * Predicts how fast an engine runs on a partition that it shares with others.
 *
 * @packageDocumentation
 */
export {};

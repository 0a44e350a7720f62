/**
 * Names, collects and exposes the metrics of GPU sharing.
 *
 * @packageDocumentation
 */
export {};

/**
 * Plans and applies changes to how GPUs are split, with a journal and rollback.
 *
 * @packageDocumentation
 */
export {};

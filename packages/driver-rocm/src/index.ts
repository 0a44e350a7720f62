/**
 * Discovers and partitions AMD Instinct GPUs through sysfs, KFD and amd-smi.
 *
 * @packageDocumentation
 */
export {};

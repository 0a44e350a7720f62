/**
 * Places models on partitions and shares of many GPUs, and explains why.
 *
 * @packageDocumentation
 */
export {};

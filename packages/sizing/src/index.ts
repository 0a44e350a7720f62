/**
 * Works out how many bytes a model needs: weights, KV cache, activation and overhead.
 *
 * @packageDocumentation
 */
export {};

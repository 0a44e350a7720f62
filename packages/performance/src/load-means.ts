/**
 * What a load's closed form is made of and gives: an engine's limits and the means of a load. Types only.
 */

/** Limits of an engine that decide how many sequences run together. */
export interface EngineLimits {
  /** Tokens that the KV pool holds. */
  readonly kvCapacityTokens: number;
  readonly maxNumSeqs: number;
  /** Tokens of one step, prompts and decodes together. */
  readonly maxNumBatchedTokens: number;
}

/** Means of a load on an engine. */
export interface LoadMeans {
  readonly ttftMs: number;
  readonly tpotMs: number;
  readonly requestsPerSecond: number;
  readonly outputTokensPerSecond: number;
  /** Share of the time inside steps, 0 to 1. */
  readonly busy: number;
  /** Mean sequences in a decode step. */
  readonly batch: number;
  /** Sequences that the engine can run together at these lengths. */
  readonly seats: number;
  /** Mean time a request waits for a seat. */
  readonly queueMs: number;
}

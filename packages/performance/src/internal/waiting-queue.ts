/**
 * Sequences inside a simulated engine core and the queue of those that wait. Owns their order; knows nothing of blocks
 * or time.
 */
import type { SequenceState } from '../engine-step.js';
import type { BlockHolding } from './block-pool.js';

/** A sequence as the core changes it. */
export interface Sequence extends BlockHolding {
  readonly id: string;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly blockKeys: readonly string[];
  state: SequenceState;
  generatedTokens: number;
  cachedTokens: number;
  preemptions: number;
  /** Tokens whose KV is in the cache. */
  computed: number;
  /** Tokens known: prompt and generated. */
  total: number;
  /** Tokens to compute before the next token can be emitted after admission. */
  prefillTarget: number;
  /** Tokens computed in the step being built. */
  scheduled: number;
}

/** The waiting queue: first in first out, with preempted sequences put back at the head. */
export class WaitingQueue {
  #front: Sequence[] = [];
  #back: Sequence[] = [];
  #head = 0;
  size = 0;

  push(sequence: Sequence): void {
    this.#back.push(sequence);
    this.size += 1;
  }

  putBack(sequence: Sequence): void {
    this.#front.push(sequence);
    this.size += 1;
  }

  /** The next one that is still waiting. */
  peek(): Sequence | undefined {
    for (;;) {
      const next = this.#front.length > 0 ? this.#front.at(-1) : this.#back[this.#head];
      if (next === undefined || next.state === 'waiting') return next;
      this.#drop();
    }
  }

  take(): void {
    this.#drop();
    this.size -= 1;
  }

  /** Says that a waiting sequence was cancelled; it is skipped when its turn comes. */
  forget(): void {
    this.size -= 1;
  }

  #drop(): void {
    if (this.#front.length > 0) {
      this.#front.pop();
      return;
    }
    this.#head += 1;
    if (this.#head > 1024 && this.#head * 2 > this.#back.length) {
      this.#back = this.#back.slice(this.#head);
      this.#head = 0;
    }
  }
}

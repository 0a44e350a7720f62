/**
 * The KV blocks of one simulated engine: free, held, shared through the prefix cache, evictable. Owns counts and the
 * least-recently-used order; knows nothing of steps or time.
 */

/** Blocks that one sequence holds; the pool alone changes it. */
export interface BlockHolding {
  /** Blocks held, shared ones included. */
  blocks: number;
  /** Keys of the shared blocks held, in prompt order. */
  readonly shared: string[];
}

/** A pool of KV blocks. */
export class BlockPool {
  readonly usable: number;
  #free: number;
  readonly #references = new Map<string, number>();
  /** Cached blocks nobody holds, oldest first. */
  readonly #evictable = new Set<string>();

  constructor(usable: number) {
    this.usable = usable;
    this.#free = usable;
  }

  /** Blocks that can be taken now: never used ones and cached ones that nobody holds. */
  get available(): number {
    return this.#free + this.#evictable.size;
  }

  /** How many leading keys are in the cache, at most `limit`. */
  countHits(keys: readonly string[], limit: number): number {
    const bound = Math.min(keys.length, limit);
    let hits = 0;
    while (hits < bound && this.#references.has(keys[hits] as string)) hits += 1;
    return hits;
  }

  /** How many of the first `hits` keys would leave the evictable ones, and so shrink what is available. */
  countIdle(keys: readonly string[], hits: number): number {
    let idle = 0;
    for (let index = 0; index < hits; index += 1) {
      if (this.#evictable.has(keys[index] as string)) idle += 1;
    }
    return idle;
  }

  /** Takes hold of the first `hits` cached blocks. */
  share(holding: BlockHolding, keys: readonly string[], hits: number): void {
    for (let index = 0; index < hits; index += 1) {
      const key = keys[index] as string;
      this.#references.set(key, (this.#references.get(key) ?? 0) + 1);
      this.#evictable.delete(key);
      holding.shared.push(key);
    }
    holding.blocks += hits;
  }

  /** Grows a holding to `blocks`; false, and nothing taken, when there are too few. */
  grow(holding: BlockHolding, blocks: number): boolean {
    const more = blocks - holding.blocks;
    if (more <= 0) return true;
    if (more > this.#free) {
      if (more > this.available) return false;
      let missing = more - this.#free;
      for (const key of this.#evictable) {
        if (missing === 0) break;
        this.#evictable.delete(key);
        this.#references.delete(key);
        this.#free += 1;
        missing -= 1;
      }
    }
    this.#free -= more;
    holding.blocks = blocks;
    return true;
  }

  /** Makes the holding's computed blocks findable up to `blocks`; a key that is already cached ends the chain. */
  publish(holding: BlockHolding, keys: readonly string[], blocks: number): void {
    const bound = Math.min(blocks, keys.length, holding.blocks);
    for (let index = holding.shared.length; index < bound; index += 1) {
      const key = keys[index] as string;
      if (this.#references.has(key)) return;
      this.#references.set(key, 1);
      holding.shared.push(key);
    }
  }

  /** Gives everything back; shared blocks stay cached, the tail of a prompt evicted before its head. */
  release(holding: BlockHolding): void {
    this.#free += holding.blocks - holding.shared.length;
    for (let index = holding.shared.length - 1; index >= 0; index -= 1) {
      const key = holding.shared[index] as string;
      const left = (this.#references.get(key) ?? 1) - 1;
      this.#references.set(key, left);
      if (left === 0) this.#evictable.add(key);
    }
    holding.shared.length = 0;
    holding.blocks = 0;
  }
}

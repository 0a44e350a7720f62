/**
 * A 4-ary heap of items by a key, equal keys by arrival. Owns the order only. An item that leaves from the middle is not
 * looked for: its entry is passed over when it comes up. So a cancel is O(1), and moving an entry touches two arrays of
 * numbers and no item unless keys are equal, which is what counts at a million of them.
 */
import type { QueueItem } from './queue-item.js';

const FIRST_ENTRIES = 8;
/** Left-over entries are swept out when they are more than those that count, and this many. */
const SWEEP_FROM = 16;

export class ItemHeap {
  /** Items that stand in it. */
  live: number = 0;
  /** Entries, left-over ones included. */
  #size: number = 0;
  /** The four children of a node are next to each other. */
  #keys: Float64Array = new Float64Array(FIRST_ENTRIES);
  #places: Int32Array = new Int32Array(FIRST_ENTRIES);
  /** Items by place, and the free places. */
  readonly #items: (QueueItem | null)[] = [];
  readonly #free: number[] = [];
  /** Sequences of items that left from the middle. */
  readonly #gone: Set<number> = new Set();

  /** Adds an item; one that was here before must come back with the key it had. */
  push(item: QueueItem, key: number): void {
    this.live += 1;
    // Whoever comes back before its entry was passed over finds it where it was.
    if (this.#gone.size > 0 && this.#gone.delete(item.sequence)) return;
    const index = this.#size;
    if (index === this.#places.length) this.#grow();
    this.#size = index + 1;
    let place = this.#free.pop();
    if (place === undefined) {
      place = this.#items.length;
      this.#items.push(item);
    } else this.#items[place] = item;
    this.#rise(index, place, key);
  }

  /** The first item; null without any. */
  first(): QueueItem | null {
    if (this.live === 0) return null;
    if (this.#gone.size > 0) this.#pass();
    return this.#items[this.#places[0] as number] as QueueItem;
  }

  /** Key of the first item; Infinity without any. */
  firstKey(): number {
    if (this.live === 0) return Number.POSITIVE_INFINITY;
    if (this.#gone.size > 0) this.#pass();
    return this.#keys[0] as number;
  }

  /** Takes an item out. It must stand here. */
  remove(item: QueueItem): void {
    this.live -= 1;
    if (this.live === 0) {
      this.#clear();
      return;
    }
    if (this.#items[this.#places[0] as number] === item) {
      this.#pop();
      return;
    }
    this.#gone.add(item.sequence);
    if (this.#size > SWEEP_FROM && this.#size > this.live * 2) this.#sweep();
  }

  /** Drops left-over entries from the top. */
  #pass(): void {
    while (this.#size > 0 && this.#gone.delete(this.#sequence(this.#places[0] as number))) {
      this.#pop();
    }
  }

  #pop(): void {
    const last = this.#size - 1;
    this.#size = last;
    this.#release(this.#places[0] as number);
    if (last > 0) this.#sink(0, this.#places[last] as number, this.#keys[last] as number);
  }

  #release(place: number): void {
    this.#items[place] = null;
    this.#free.push(place);
  }

  #sequence(place: number): number {
    return (this.#items[place] as QueueItem).sequence;
  }

  #rise(start: number, place: number, key: number): void {
    const keys = this.#keys;
    const places = this.#places;
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 2;
      const parentKey = keys[parent] as number;
      if (key > parentKey) break;
      const parentPlace = places[parent] as number;
      if (key === parentKey && this.#sequence(place) > this.#sequence(parentPlace)) break;
      places[index] = parentPlace;
      keys[index] = parentKey;
      index = parent;
    }
    places[index] = place;
    keys[index] = key;
  }

  #sink(start: number, place: number, key: number): void {
    const keys = this.#keys;
    const places = this.#places;
    const size = this.#size;
    let index = start;
    for (;;) {
      const first = (index << 2) + 1;
      if (first >= size) break;
      const end = Math.min(first + 4, size);
      let best = first;
      let bestKey = keys[first] as number;
      for (let child = first + 1; child < end; child += 1) {
        const childKey = keys[child] as number;
        if (childKey > bestKey) continue;
        if (childKey === bestKey && !this.#isOlder(child, best)) continue;
        best = child;
        bestKey = childKey;
      }
      if (bestKey > key) break;
      const bestPlace = places[best] as number;
      if (bestKey === key && this.#sequence(bestPlace) > this.#sequence(place)) break;
      places[index] = bestPlace;
      keys[index] = bestKey;
      index = best;
    }
    places[index] = place;
    keys[index] = key;
  }

  /** Whether the item of one entry came before that of another. */
  #isOlder(index: number, other: number): boolean {
    const places = this.#places;
    return this.#sequence(places[index] as number) < this.#sequence(places[other] as number);
  }

  /** Drops all left-over entries and makes a heap of the rest. */
  #sweep(): void {
    const keys = this.#keys;
    const places = this.#places;
    let kept = 0;
    for (let index = 0; index < this.#size; index += 1) {
      const place = places[index] as number;
      if (this.#gone.has(this.#sequence(place))) {
        this.#release(place);
        continue;
      }
      places[kept] = place;
      keys[kept] = keys[index] as number;
      kept += 1;
    }
    this.#gone.clear();
    this.#size = kept;
    for (let index = (kept - 2) >> 2; index >= 0; index -= 1) {
      this.#sink(index, places[index] as number, keys[index] as number);
    }
  }

  #clear(): void {
    this.#size = 0;
    this.#items.length = 0;
    this.#free.length = 0;
    this.#gone.clear();
  }

  #grow(): void {
    const keys = new Float64Array(this.#keys.length * 2);
    keys.set(this.#keys);
    this.#keys = keys;
    const places = new Int32Array(this.#places.length * 2);
    places.set(this.#places);
    this.#places = places;
  }
}

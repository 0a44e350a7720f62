/**
 * A 4-ary heap of items by a key, equal keys by arrival. Owns the order only. An item that leaves from the middle is not
 * looked for: its entry is passed over when it comes up. So a cancel is O(1), and moving an entry touches two arrays of
 * numbers and never an item, which is what counts at a million of them.
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
  /** Key and sequence side by side: the four children of a node are next to each other. */
  #keys: Float64Array = new Float64Array(FIRST_ENTRIES << 1);
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
    this.#rise(index, place, key, item.sequence);
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
    while (this.#size > 0 && this.#gone.delete(this.#keys[1] as number)) this.#pop();
  }

  #pop(): void {
    const keys = this.#keys;
    const places = this.#places;
    const last = this.#size - 1;
    this.#size = last;
    this.#release(places[0] as number);
    if (last === 0) return;
    const key = keys[last << 1] as number;
    const sequence = keys[(last << 1) + 1] as number;
    this.#sink(0, places[last] as number, key, sequence);
  }

  #release(place: number): void {
    this.#items[place] = null;
    this.#free.push(place);
  }

  #rise(start: number, place: number, key: number, sequence: number): void {
    const keys = this.#keys;
    const places = this.#places;
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 2;
      const parentKey = keys[parent << 1] as number;
      const parentSequence = keys[(parent << 1) + 1] as number;
      if (!(key < parentKey || (key === parentKey && sequence < parentSequence))) break;
      places[index] = places[parent] as number;
      keys[index << 1] = parentKey;
      keys[(index << 1) + 1] = parentSequence;
      index = parent;
    }
    places[index] = place;
    keys[index << 1] = key;
    keys[(index << 1) + 1] = sequence;
  }

  #sink(start: number, place: number, key: number, sequence: number): void {
    const keys = this.#keys;
    const places = this.#places;
    const size = this.#size;
    let index = start;
    for (;;) {
      const first = (index << 2) + 1;
      if (first >= size) break;
      const end = Math.min(first + 4, size);
      let best = first;
      let bestKey = keys[first << 1] as number;
      for (let child = first + 1; child < end; child += 1) {
        const childKey = keys[child << 1] as number;
        if (childKey > bestKey) continue;
        const isTie = childKey === bestKey;
        if (isTie && (keys[(child << 1) + 1] as number) >= (keys[(best << 1) + 1] as number)) {
          continue;
        }
        best = child;
        bestKey = childKey;
      }
      const bestSequence = keys[(best << 1) + 1] as number;
      if (!(bestKey < key || (bestKey === key && bestSequence < sequence))) break;
      places[index] = places[best] as number;
      keys[index << 1] = bestKey;
      keys[(index << 1) + 1] = bestSequence;
      index = best;
    }
    places[index] = place;
    keys[index << 1] = key;
    keys[(index << 1) + 1] = sequence;
  }

  /** Drops all left-over entries and makes a heap of the rest. */
  #sweep(): void {
    const keys = this.#keys;
    const places = this.#places;
    let kept = 0;
    for (let index = 0; index < this.#size; index += 1) {
      const place = places[index] as number;
      const sequence = keys[(index << 1) + 1] as number;
      if (this.#gone.has(sequence)) {
        this.#release(place);
        continue;
      }
      places[kept] = place;
      keys[kept << 1] = keys[index << 1] as number;
      keys[(kept << 1) + 1] = sequence;
      kept += 1;
    }
    this.#gone.clear();
    this.#size = kept;
    for (let index = (kept - 2) >> 2; index >= 0; index -= 1) {
      const key = keys[index << 1] as number;
      this.#sink(index, places[index] as number, key, keys[(index << 1) + 1] as number);
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

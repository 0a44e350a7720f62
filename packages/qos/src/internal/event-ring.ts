/**
 * Good and bad events over a long time in fixed memory: a ring of cells of equal length. Owns the counting; what a
 * window means is the caller's.
 */
export class EventRing {
  readonly cellMs: number;
  readonly #good: Float64Array;
  readonly #bad: Float64Array;
  #cell: number = Number.NaN;
  #index: number = 0;
  #cellEndMs: number = Number.NaN;

  constructor(cellMs: number, cells: number) {
    this.cellMs = cellMs;
    this.#good = new Float64Array(cells);
    this.#bad = new Float64Array(cells);
  }

  record(good: boolean, nowMs: number): void {
    const index = this.#advance(nowMs);
    const ring = good ? this.#good : this.#bad;
    ring[index] = (ring[index] as number) + 1;
  }

  /** Events of the last `windowMs`, rounded up to whole cells, the running one included. */
  sum(windowMs: number, nowMs: number): { readonly good: number; readonly bad: number } {
    const index = this.#advance(nowMs);
    const size = this.#good.length;
    const cells = Math.min(size, Math.ceil(windowMs / this.cellMs));
    let good = 0;
    let bad = 0;
    for (let back = 0; back < cells; back += 1) {
      const at = (index - back + size) % size;
      good += this.#good[at] as number;
      bad += this.#bad[at] as number;
    }
    return { good, bad };
  }

  /** Cells with events as [age in cells, good, bad]. */
  dump(nowMs: number): readonly (readonly [age: number, good: number, bad: number])[] {
    const index = this.#advance(nowMs);
    const size = this.#good.length;
    const cells: [number, number, number][] = [];
    for (let back = 0; back < size; back += 1) {
      const at = (index - back + size) % size;
      const good = this.#good[at] as number;
      const bad = this.#bad[at] as number;
      if (good > 0 || bad > 0) cells.push([back, good, bad]);
    }
    return cells;
  }

  /** Adds cells of a dump that was taken `agoMs` ago. */
  restore(
    cells: readonly (readonly [age: number, good: number, bad: number])[],
    agoMs: number,
    nowMs: number,
  ): void {
    const index = this.#advance(nowMs);
    const size = this.#good.length;
    const shift = Math.floor(Math.max(0, agoMs) / this.cellMs);
    for (const [age, good, bad] of cells) {
      const back = age + shift;
      if (!(back >= 0 && back < size)) continue;
      const at = (index - back + size) % size;
      this.#good[at] = (this.#good[at] as number) + good;
      this.#bad[at] = (this.#bad[at] as number) + bad;
    }
  }

  #advance(nowMs: number): number {
    // Until the cell ends nothing moves; a clock that went back goes on in the same cell.
    return nowMs < this.#cellEndMs ? this.#index : this.#turn(nowMs);
  }

  #turn(nowMs: number): number {
    const cell = Math.floor(nowMs / this.cellMs);
    const size = this.#good.length;
    if (Number.isNaN(this.#cell)) this.#cell = cell;
    if (cell > this.#cell) {
      const steps = Math.min(size, cell - this.#cell);
      for (let step = 1; step <= steps; step += 1) {
        const at = (((cell - steps + step) % size) + size) % size;
        this.#good[at] = 0;
        this.#bad[at] = 0;
      }
      this.#cell = cell;
    }
    this.#cellEndMs = (this.#cell + 1) * this.cellMs;
    this.#index = ((this.#cell % size) + size) % size;
    return this.#index;
  }
}

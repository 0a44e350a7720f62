/**
 * What the free part of a unit is worth to those who come: opportunity prices of a mix of demands that share equal
 * units. Knows sizes and how often they come; knows neither fleets nor groups. Pure.
 *
 * The prices are the dual solution of fractional bin packing (Gilmore and Gomory, "A linear programming approach to the
 * cutting stock problem", 1961): a unit is worth 1, a size what it adds to the number of units that the mix needs, and
 * a free part the dearest filling that fits in it. A size that nothing fits beside is worth a whole unit, a part that
 * nobody fits in nothing, however large they are.
 */

/** Parts that a unit is cut into: sizes are rounded up to them and free parts down, so nothing is worth too much. */
export const GRAINS = 1000;

/** A size that comes: its share of a unit, above 0 and up to 1, and how often. */
export interface SizeInMix {
  readonly share: number;
  readonly weight: number;
}

/** Worth of a free part by its grains, 0 to 1; 0 everywhere when nothing comes that fits a unit. */
export type UnitWorth = Float64Array;

/** Prices closer than this are equal. */
const TOLERANCE = 1e-9;
/** Pivots a size that are tried before the prices at hand are taken; real mixes end after 10 to 20. */
const PIVOTS_A_SIZE = 200;

/** Prices a mix. Sizes beyond a unit and weights that are not positive are left out. */
export function toUnitWorth(mix: readonly SizeInMix[]): UnitWorth {
  const { sizes, weights } = toGrains(mix);
  const basis = new Basis(sizes, weights);
  for (let pivots = 0; pivots < PIVOTS_A_SIZE * sizes.length; pivots += 1) {
    const prices = basis.prices();
    const spare = prices.findIndex((price) => price < -TOLERANCE);
    if (spare >= 0) {
      basis.enter({ counts: sizes.map((_, size) => (size === spare ? -1 : 0)), units: 0 });
      continue;
    }
    const { worth, counts } = dearestFilling(sizes, prices);
    if ((worth[GRAINS] ?? 0) <= 1 + TOLERANCE) return worth;
    basis.enter({ counts, units: 1 });
  }
  // Not at the optimum: scaled down the prices are still ones that no filling of a unit exceeds.
  const { worth } = dearestFilling(sizes, basis.prices());
  const scale = Math.max(1, worth[GRAINS] ?? 1);
  return worth.map((value) => value / scale);
}

function toGrains(mix: readonly SizeInMix[]): {
  readonly sizes: readonly number[];
  readonly weights: readonly number[];
} {
  const weightOf = new Map<number, number>();
  for (const { share, weight } of mix) {
    const size = Math.ceil(share * GRAINS - TOLERANCE);
    if (!(size >= 1 && size <= GRAINS && weight > 0)) continue;
    weightOf.set(size, (weightOf.get(size) ?? 0) + weight);
  }
  const ordered = [...weightOf].toSorted(([a], [b]) => b - a);
  return { sizes: ordered.map(([size]) => size), weights: ordered.map(([, weight]) => weight) };
}

/** A way to use units: how many of each size it serves (−1 takes one away), and the units it takes. */
interface Column {
  readonly counts: readonly number[];
  readonly units: number;
}

/** Basis of the linear program: as many columns as sizes, by the inverse of their matrix. */
class Basis {
  private readonly inverse: Float64Array[];
  private readonly units: number[];
  private readonly used: number[];

  /** Starts with a column for each size, the unit filled with that size alone. */
  constructor(sizes: readonly number[], weights: readonly number[]) {
    this.inverse = sizes.map((size, row) => {
      const line = new Float64Array(sizes.length);
      line[row] = 1 / Math.floor(GRAINS / size);
      return line;
    });
    this.units = sizes.map(() => 1);
    this.used = sizes.map((size, row) => (weights[row] ?? 0) / Math.floor(GRAINS / size));
  }

  /** What one more of each size adds to the units needed. */
  prices(): number[] {
    return this.inverse.map((_, size) =>
      this.inverse.reduce((sum, line, row) => sum + (this.units[row] ?? 0) * (line[size] ?? 0), 0),
    );
  }

  /** Takes a column in and puts out the one that it replaces first. */
  enter({ counts, units }: Column): void {
    const change = this.inverse.map((line) =>
      counts.reduce((sum, count, size) => sum + count * (line[size] ?? 0), 0),
    );
    let out = -1;
    let step = Number.POSITIVE_INFINITY;
    for (const [row, value] of change.entries()) {
      if (value <= TOLERANCE) continue;
      const limit = Math.max(0, this.used[row] ?? 0) / value;
      if (limit >= step) continue;
      step = limit;
      out = row;
    }
    const pivot = this.inverse[out];
    const by = change[out];
    if (pivot === undefined || by === undefined) return;
    const entering = pivot.map((value) => value / by);
    for (const [row, line] of this.inverse.entries()) {
      const value = change[row] ?? 0;
      this.used[row] = row === out ? step : (this.used[row] ?? 0) - step * value;
      if (row === out || value === 0) continue;
      for (let size = 0; size < line.length; size += 1)
        line[size] = (line[size] ?? 0) - value * (entering[size] ?? 0);
    }
    this.inverse[out] = entering;
    this.units[out] = units;
  }
}

/** Worth of every free part at these prices, and what fills the whole unit so: an unbounded knapsack. */
function dearestFilling(
  sizes: readonly number[],
  prices: readonly number[],
): { readonly worth: UnitWorth; readonly counts: readonly number[] } {
  const worth = new Float64Array(GRAINS + 1);
  const last = new Int32Array(GRAINS + 1).fill(-1);
  for (let free = 1; free <= GRAINS; free += 1) {
    worth[free] = worth[free - 1] ?? 0;
    for (const [index, size] of sizes.entries()) {
      if (size > free) continue;
      const value = (worth[free - size] ?? 0) + (prices[index] ?? 0);
      if (value <= (worth[free] ?? 0) + 1e-12) continue;
      worth[free] = value;
      last[free] = index;
    }
  }
  const counts = sizes.map(() => 0);
  for (let free = GRAINS; free > 0; ) {
    const index = last[free] ?? -1;
    if (index < 0) {
      free -= 1;
      continue;
    }
    counts[index] = (counts[index] ?? 0) + 1;
    free -= sizes[index] ?? free;
  }
  return { worth, counts };
}

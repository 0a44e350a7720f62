/**
 * Finds a minimum of a smooth function of a few variables without derivatives: the simplex method of Nelder and Mead
 * (1965), restarted around its best point until it stays. Deterministic.
 */

interface Corner {
  readonly at: readonly number[];
  readonly value: number;
}

const ITERATIONS_PER_AXIS = 200;
const RESTARTS = 8;

function descend(
  cost: (at: readonly number[]) => number,
  start: readonly number[],
  size: number,
): Corner {
  const corner = (at: readonly number[]): Corner => {
    const value = cost(at);
    return { at, value: Number.isFinite(value) ? value : Number.MAX_VALUE };
  };
  let corners: Corner[] = [
    corner(start),
    ...start.map((_, axis) => corner(start.map((x, i) => (i === axis ? x + size : x)))),
  ];
  for (let iteration = 0; iteration < ITERATIONS_PER_AXIS * start.length; iteration += 1) {
    corners.sort((a, b) => a.value - b.value);
    const best = corners[0] as Corner;
    const worst = corners.at(-1) as Corner;
    const second = corners.at(-2) as Corner;
    if (worst.value - best.value <= 1e-10 * (1 + Math.abs(best.value))) break;
    const middle = start.map(
      (_, axis) =>
        corners.slice(0, -1).reduce((sum, { at }) => sum + (at[axis] ?? 0), 0) / start.length,
    );
    const along = (factor: number): Corner =>
      corner(middle.map((m, axis) => m + factor * ((worst.at[axis] ?? 0) - m)));
    const reflected = along(-1);
    let next: Corner | null = null;
    if (reflected.value < best.value) {
      const expanded = along(-2);
      next = expanded.value < reflected.value ? expanded : reflected;
    } else if (reflected.value < second.value) next = reflected;
    else {
      const contracted = along(reflected.value < worst.value ? -0.5 : 0.5);
      if (contracted.value < Math.min(worst.value, reflected.value)) next = contracted;
    }
    if (next !== null) corners[corners.length - 1] = next;
    else {
      corners = corners.map((entry) =>
        entry === best ? best : corner(entry.at.map((x, axis) => ((best.at[axis] ?? 0) + x) / 2)),
      );
    }
  }
  return corners.reduce((least, entry) => (entry.value < least.value ? entry : least));
}

/** The point where `cost` is least near `start`; `size` is the first step along each axis. */
export function minimise(
  cost: (at: readonly number[]) => number,
  start: readonly number[],
  size: number,
): readonly number[] {
  let best = descend(cost, start, size);
  for (let restart = 1; restart < RESTARTS; restart += 1) {
    const next = descend(cost, best.at, size / (restart + 1));
    const gained = best.value - next.value;
    if (next.value < best.value) best = next;
    if (gained < 1e-6 * (1 + best.value)) break;
  }
  return best.at;
}

/**
 * How the rows measure: CPU time of this process, after a warm-up that is the same for everybody. Owns no workload.
 */

let state = 12_345;
/** The same choices for every subject. */
export function random(below: number): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
}

const spentNs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
};

export function cpuNs(operations: number, run: () => void): number {
  const before = spentNs();
  run();
  return (spentNs() - before) / operations;
}

export async function cpuNsAsync(operations: number, run: () => Promise<unknown>): Promise<number> {
  const before = spentNs();
  await run();
  return (spentNs() - before) / operations;
}

export const repeat = (times: number, run: () => void): void => {
  for (let index = 0; index < times; index += 1) run();
};

/** Least CPU time that everybody warms up for: compiled and in a steady state, whatever an operation costs. */
const WARM_NS = 5e8;
/** Least CPU time of a measurement. */
const MEASURED_NS = 8e8;

/** Runs an operation in batches until so many of them and so much CPU time have passed; CPU time of one. */
function steady(operation: () => void, least: number, leastNs: number, batch: number): number {
  const start = spentNs();
  let operations = 0;
  for (let spent = 0; operations < least || spent < leastNs; spent = spentNs() - start) {
    repeat(batch, operation);
    operations += batch;
  }
  return (spentNs() - start) / operations;
}

/**
 * Warms up, then measures, for our pieces and their peers alike. A queue's steady state is reached only when as many
 * operations as it holds have passed, `turnover`: before that its backlog is still the one it was filled with.
 */
export function measured(
  operation: () => void,
  turnover: number = 0,
  batch: number = 1_000,
): number {
  steady(operation, turnover, WARM_NS, batch);
  return steady(operation, 0, MEASURED_NS, batch);
}

/** Cancels until everything is compiled, then as many again and more. */
export function steadyCancels(cancels: (count: number) => number, size: number): number {
  cancels(Math.max(300_000, size / 5));
  return cancels(Math.max(500_000, size / 2));
}

/**
 * Waiting for what happens on real sockets, with a deadline.
 */

/** Resolves when the condition holds; throws when it does not within 5 s. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('the condition did not come true in 5 s');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

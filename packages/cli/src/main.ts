/**
 * Runs the `aim-gpu` command line.
 *
 * @param argv - the arguments after the program's name
 * @returns the exit code
 */
export async function main(argv: readonly string[]): Promise<number> {
  process.stderr.write(`aim-gpu: unknown command ${argv[0] ?? '(none)'}\n`);
  return 2;
}

// The contract between `npm run bench` and a bench: packages/*/bench/<name>.bench.ts and tests/*/bench/<name>.bench.ts
// export `bench: Bench` with that name. Import these types with `import type … from '../../../tools/bench.js'`.

/** What a bench is given. */
export interface BenchOptions {
  /** `--full`: the long rows too. Without it a bench uses committed inputs only and ends within 10 minutes. */
  readonly full: boolean;
  /** Every other `--key value` or `--key=value`; a bare `--key` is `'true'`. Refuse keys you do not know. */
  readonly values: Readonly<Record<string, string>>;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
  /** Progress for people, on stderr. Nothing else may be printed. */
  log(line: string): void;
}

/** One measured row: plain JSON. Names carry units, for example `throughputTokensPerSecond`. */
export type BenchResult = Readonly<Record<string, unknown>>;

/** What a bench gives back. */
export interface BenchReport {
  readonly results: readonly BenchResult[];
  /** What the rows say, for people; without it the rows are shown as a table. */
  readonly text?: string;
  /** A missed goal that should fail the command: one line each. */
  readonly failures?: readonly string[];
}

/** A bench. */
export interface Bench {
  /** Equals the file's name without `.bench.ts`. */
  readonly name: string;
  /** One line for `npm run bench -- list`. */
  readonly summary: string;
  run(options: BenchOptions): Promise<BenchReport>;
}

/** What `--json` prints: one document. */
export interface BenchDocument {
  readonly bench: string;
  readonly machine: { readonly cpu: string; readonly cores: number; readonly node: string };
  readonly results: readonly BenchResult[];
}

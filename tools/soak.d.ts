// The contract between `npm run soak` and a soak test: packages/*/soak/<name>.soak.ts and tests/*/soak/<name>.soak.ts
// export `soak: Soak` with that name. Import these types with `import type … from '../../../tools/soak.js'`.

/** What a soak test is given. */
export interface SoakOptions {
  /** `--seconds N`: how long to go on. */
  readonly seconds: number;
  /** Every other `--key value` or `--key=value`; a bare `--key` is `'true'`. Refuse keys you do not know. */
  readonly values: Readonly<Record<string, string>>;
  /** Aborts on Ctrl-C; end early and report what was seen so far. */
  readonly signal: AbortSignal;
  /** Progress for people, on stderr. */
  log(line: string): void;
}

/** What a soak test gives back. */
export interface SoakReport {
  /** Figures seen, for example `rssGrowthBytes`. */
  readonly results: readonly Readonly<Record<string, unknown>>[];
  /** What broke: one line each. Empty means that it held. */
  readonly failures: readonly string[];
}

/** A soak test: runs for long and looks for what only time shows, such as leaks and drift. */
export interface Soak {
  /** Equals the file's name without `.soak.ts`. */
  readonly name: string;
  /** One line for `npm run soak -- list`. */
  readonly summary: string;
  run(options: SoakOptions): Promise<SoakReport>;
}

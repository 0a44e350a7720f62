/** What a README promises. */
export interface ReadmeExample {
  readonly code: string;
  readonly expectedLines: readonly string[];
}

/** What running it gave. */
export interface ReadmeRun {
  readonly exitCode: number;
  /** Lines of stdout and stderr together, without trailing blanks. */
  readonly lines: readonly string[];
  readonly expectedLines: readonly string[];
}

/** The first ```ts example block of `markdown` and the ```text output block after it. Throws when one is missing. */
export function extractReadmeExample(markdown: string): ReadmeExample;

/** Runs the example of the README in `packageDirectory` from source, as a program of its own. */
export function runReadmeExample(packageDirectory: string): Promise<ReadmeRun>;

/**
 * The edges of the command line program: streams, environment, directory, signals. Commands get them from here and
 * from nowhere else, so that tests can run a command in process.
 */

/** What a command may touch of the process it runs in. */
export interface CommandIo {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly hostName: string;
  readonly homeDirectory: string;
  /** The command line that starts this program again. */
  readonly program: readonly string[];
  /** Whether people watch stdout: allows colours and redrawn progress. */
  readonly isTerminal: boolean;
  writeOut(text: string): void;
  writeError(text: string): void;
  /** Ends the process at once, with nothing cleaned up: for a second Ctrl-C. */
  exitNow(code: number): void;
  /** Calls back on SIGINT and SIGTERM until the returned function is called. */
  onStopSignal(listener: (name: string) => void): () => void;
}

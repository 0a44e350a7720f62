/**
 * The one error class of every package, its kinds, and the table from kind to HTTP status and exit code.
 * Owns the taxonomy; must not know about any package's particular codes.
 */

/** What an error means for the caller; decides HTTP status and exit code (DESIGN §5). */
export type ErrorKind =
  | 'invalid'
  | 'denied'
  | 'missing'
  | 'conflict'
  | 'refused'
  | 'exhausted'
  | 'unavailable'
  | 'timeout'
  | 'internal';

/** A place in a user's document, one-based. */
export interface SourcePlace {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** What {@link AimError} is made of. */
export interface AimErrorOptions {
  /** Stable machine-readable code, `ERR_<AREA>_<WHAT>`. */
  readonly code: string;
  readonly kind: ErrorKind;
  /** Says what happened, in one sentence, without the hint. */
  readonly message: string;
  /** JSON-safe facts that a program can act on. Never a secret. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** One thing to do about it. */
  readonly hint?: string;
  /** Where in the user's own file. */
  readonly at?: SourcePlace;
  /** The user's line with a caret under the place, ready to print. */
  readonly excerpt?: string;
  readonly retryAfterMs?: number;
  /** Whether the same call may succeed later unchanged; by default decided by the kind. */
  readonly retryable?: boolean;
  readonly cause?: unknown;
}

/** How an error crosses a process edge: the body of `{"error": …}`. */
export interface ErrorDocument {
  readonly code: string;
  readonly kind: ErrorKind;
  readonly message: string;
  readonly hint: string | null;
  readonly details: Readonly<Record<string, unknown>>;
  readonly at?: SourcePlace;
}

/** Registered symbol, so that errors of another copy of this package are recognised too. */
const MARKER: unique symbol = Symbol.for('@aim-gpu/error');

const STATUS: Readonly<Record<ErrorKind, { http: number; exit: number; retryable: boolean }>> = {
  invalid: { http: 400, exit: 2, retryable: false },
  denied: { http: 403, exit: 3, retryable: false },
  missing: { http: 404, exit: 4, retryable: false },
  conflict: { http: 409, exit: 5, retryable: true },
  refused: { http: 422, exit: 6, retryable: false },
  exhausted: { http: 429, exit: 7, retryable: true },
  unavailable: { http: 503, exit: 8, retryable: true },
  timeout: { http: 504, exit: 9, retryable: false },
  internal: { http: 500, exit: 70, retryable: false },
};

/** Every error kind, in the order of the exit codes. */
export const ERROR_KINDS: readonly ErrorKind[] = [
  'invalid',
  'denied',
  'missing',
  'conflict',
  'refused',
  'exhausted',
  'unavailable',
  'timeout',
  'internal',
];

/**
 * The error every package throws for what it did not expect. Check with {@link AimError.is}, never with
 * `instanceof`: two copies of this package in one process must still understand each other.
 */
export class AimError extends Error {
  override readonly name: string = 'AimError';
  readonly code: string;
  readonly kind: ErrorKind;
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;
  readonly hint: string | undefined;
  readonly at: SourcePlace | undefined;
  readonly excerpt: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(options: AimErrorOptions) {
    super(options.message, options.cause === undefined ? undefined : { cause: options.cause });
    Object.defineProperty(this, MARKER, { value: true });
    this.code = options.code;
    this.kind = options.kind;
    this.retryable = options.retryable ?? STATUS[options.kind].retryable;
    this.details = options.details ?? {};
    this.hint = options.hint;
    this.at = options.at;
    this.excerpt = options.excerpt;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** Whether a caught value is an AimError of any copy of this package, optionally with one of the codes. */
  static is(value: unknown, ...codes: readonly string[]): value is AimError {
    if (typeof value !== 'object' || value === null || !(MARKER in value)) return false;
    return codes.length === 0 || ('code' in value && codes.includes(String(value.code)));
  }
}

/** HTTP status of an error kind, by DESIGN §5 (the gateway's OpenAI face has its own table). */
export function httpStatusOf(kind: ErrorKind): number {
  return STATUS[kind].http;
}

/** Process exit code of an error kind, by DESIGN §5. */
export function exitCodeOf(kind: ErrorKind): number {
  return STATUS[kind].exit;
}

/** Turns any thrown value into an AimError; what is not one becomes `ERR_INVARIANT` with the original as cause. */
export function toAimError(value: unknown): AimError {
  if (AimError.is(value)) return value;
  const message = value instanceof Error ? value.message : String(value);
  return new AimError({
    code: 'ERR_INVARIANT',
    kind: 'internal',
    message: `unexpected: ${message}`,
    hint: 'this is a bug; please report it with the output of --debug',
    cause: value,
  });
}

/** The JSON form of an error for `{"error": …}` on stdout, sockets and REST. */
export function toErrorDocument(error: AimError): ErrorDocument {
  return {
    code: error.code,
    kind: error.kind,
    message: error.message,
    hint: error.hint ?? null,
    details: error.details,
    ...(error.at === undefined ? {} : { at: error.at }),
  };
}

/** The inverse of {@link toErrorDocument}, for a client that got one over a socket. */
export function fromErrorDocument(document: ErrorDocument): AimError {
  return new AimError({
    code: document.code,
    kind: document.kind,
    message: document.message,
    details: document.details,
    ...(document.hint === null ? {} : { hint: document.hint }),
    ...(document.at === undefined ? {} : { at: document.at }),
  });
}

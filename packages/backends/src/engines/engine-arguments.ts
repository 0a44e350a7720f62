/**
 * User-given engine flags: validation and their form on a command line. Owns what a user may set; which flags the plan
 * owns is each engine's own list. Pure.
 */
import { AimError } from '@aim-gpu/core';

/** How an engine reads its command line. */
export interface ArgumentStyle {
  /** Named in messages. */
  readonly engine: string;
  /**
   * Flags that follow from the plan, without dashes, every spelling the engine takes: limits, devices and addresses.
   * A user's value would break the promise made to the neighbours.
   */
  readonly owned: readonly string[];
  /** What to change in the fleet file instead, by flag. */
  readonly instead: Readonly<Record<string, string>>;
  /** `--flag=value` (argparse) or `--flag value` (llama.cpp). */
  readonly form: 'equals' | 'separate';
  /** Whether unambiguous beginnings of a flag are taken for it (argparse does). */
  readonly abbreviations: boolean;
  /** Whether `false` is written `--no-flag` (argparse's BooleanOptionalAction); else it leaves the flag out. */
  readonly negatable: boolean;
}

const FLAG = /^[A-Za-z][A-Za-z0-9]*([._-][A-Za-z0-9]+)*$/;

/**
 * Writes `workload.engine.args` as arguments. Values: null or true is a bare flag, false its negation, text and
 * numbers a value, lists several values, objects JSON. Throws `ERR_CONFIG_INVALID` for anything else, for text that
 * would read as another flag, and for flags that the plan owns.
 */
export function toUserArguments(
  args: Readonly<Record<string, unknown>>,
  style: ArgumentStyle,
): readonly string[] {
  return Object.entries(args).flatMap(([key, value]) => {
    refuseOwned(key, style);
    return toFlag(key, value, style);
  });
}

function refuseOwned(key: string, style: ArgumentStyle): void {
  if (!FLAG.test(key)) {
    throw invalid(
      style,
      key,
      `${JSON.stringify(key)} is not a flag`,
      'give the long flag without its dashes, such as enable-prefix-caching',
    );
  }
  // argparse takes underscores for dashes, beginnings of flags, and --no- before a flag.
  const asked = key.replaceAll('_', '-').toLowerCase();
  const plain = asked.replace(/^no-/, '');
  const owned = style.owned.find(
    (flag) =>
      flag === asked ||
      flag === plain ||
      (style.abbreviations && asked.length > 1 && flag.startsWith(asked)),
  );
  if (owned === undefined) return;
  const place = style.instead[owned];
  throw invalid(
    style,
    key,
    `--${owned} follows from the plan and cannot be set by hand`,
    place === undefined ? 'leave it out' : `leave it out; ${place}`,
  );
}

function toFlag(key: string, value: unknown, style: ArgumentStyle): readonly string[] {
  const flag = `--${key}`;
  if (value === null || value === true) return [flag];
  if (value === false) return style.negatable ? [`--no-${key}`] : [];
  if (Array.isArray(value)) {
    return [flag, ...value.map((item) => toPlainText(key, item, style))];
  }
  const text = isRecord(value) ? toJson(key, value, style) : toScalar(key, value, style);
  if (style.form === 'equals') return [`${flag}=${text}`];
  return [flag, notAFlag(key, text, style)];
}

function toPlainText(key: string, value: unknown, style: ArgumentStyle): string {
  return notAFlag(key, toScalar(key, value, style), style);
}

function toScalar(key: string, value: unknown, style: ArgumentStyle): string {
  if (typeof value === 'string' && !value.includes('\0')) return value;
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  const what = typeof value === 'string' ? 'text with a NUL character' : describe(value);
  throw invalid(
    style,
    key,
    `${what} cannot be an argument`,
    'use text, a finite number, true, false, null, a list of those, or a mapping that is passed as JSON',
  );
}

function toJson(key: string, value: object, style: ArgumentStyle): string {
  try {
    const text = JSON.stringify(value);
    if (typeof text === 'string') return text;
  } catch {
    // Falls through to the refusal: a cycle or a bigint.
  }
  return toScalar(key, undefined, style);
}

function notAFlag(key: string, text: string, style: ArgumentStyle): string {
  if (/^-(?!\d)/.test(text)) {
    throw invalid(
      style,
      key,
      `the value ${JSON.stringify(text)} would read as a flag of its own`,
      'give flags as keys of args',
    );
  }
  return text;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype = Object.getPrototypeOf(value) as unknown;
  return prototype === Object.prototype || prototype === null;
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return 'a list inside a list';
  if (typeof value === 'number') return String(value);
  return value === undefined ? 'nothing' : `a ${typeof value}`;
}

function invalid(style: ArgumentStyle, key: string, message: string, hint: string): AimError {
  return new AimError({
    code: 'ERR_CONFIG_INVALID',
    kind: 'invalid',
    message: `engine argument ${key} for ${style.engine}: ${message}`,
    hint,
    details: { engine: style.engine, argument: key },
  });
}

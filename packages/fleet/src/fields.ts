/**
 * The kinds of value a fleet file has: times, sizes, shares, counts, names, words. Owns what each accepts, how it is
 * described to people, and how a near miss is mended; which key takes which kind is in schema.ts.
 */
import { toBytesCount, toCount, toMilliseconds, toShare } from '@aim-gpu/core';
import { parse } from 'yaml';
import { z } from 'zod';

/** What an error says about a field. */
export interface FieldNotes {
  /** What may stand there, in words: `a time such as 50ms`. */
  readonly allowed: string;
  /** A value that is right, as it is written in YAML. */
  readonly example: string;
  /** The right spelling of a near miss, or null. */
  readonly mend?: (written: string) => string | null;
  /** Any text will do, so that a number only lacks its quotes. */
  readonly isText?: boolean;
  /** What to do instead of writing the example. */
  readonly fix?: string;
}

/** What is known of each field, by its schema. */
export const fieldNotes: z.core.$ZodRegistry<FieldNotes> = z.registry<FieldNotes>();

/** Describes a schema to editors (JSON Schema) and to people (errors). */
export function described<S extends z.ZodType>(
  schema: S,
  description: string,
  notes: FieldNotes,
): S {
  const described = schema.meta({ description, examples: [parse(notes.example)] });
  fieldNotes.add(described, notes);
  return described;
}

/** A mapping with these keys and no others. */
export function section<S extends z.core.$ZodShape>(
  description: string,
  example: string,
  shape: S,
  fix?: string,
): z.ZodObject<S, z.core.$strict> {
  const allowed = `a mapping with ${Object.keys(shape).join(', ')}`;
  const notes = { allowed, example, ...(fix === undefined ? {} : { fix }) };
  return described(z.strictObject(shape), description, notes);
}

const AMOUNT = /^\s*(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-z%]*)\.?\s*$/;

/** Rewrites an amount whose unit is a synonym or missing; null when it is no amount or the unit says nothing. */
function mendUnit(synonyms: Readonly<Record<string, string>>): (written: string) => string | null {
  return (written) => {
    const match = AMOUNT.exec(written.replace(/[_,](?=\d)/g, ''));
    const unit = synonyms[(match?.[2] ?? '?').toLowerCase()];
    return match?.[1] === undefined || unit === undefined ? null : `${match[1]}${unit}`;
  };
}

const TIME_SYNONYMS = {
  msec: 'ms',
  msecs: 'ms',
  millis: 'ms',
  milliseconds: 'ms',
  millisecond: 'ms',
  sec: 's',
  secs: 's',
  second: 's',
  seconds: 's',
  mins: 'm',
  minute: 'm',
  minutes: 'm',
  hr: 'h',
  hrs: 'h',
  hour: 'h',
  hours: 'h',
  day: 'd',
  days: 'd',
};

/** A time such as `50ms`, read into milliseconds. `unit` is what a bare number most likely meant. */
export function time(description: string, example: string, unit: 'ms' | 's'): z.ZodType<number> {
  const schema = z
    .string()
    .regex(/^\s*(\d+(\.\d+)?|\.\d+)\s*([uU][sS]|[mM][sS]|[sS]|[mM]|[mM][iI][nN]|[hH]|[dD])\s*$/)
    .transform((text) => toMilliseconds(text) ?? Number.NaN)
    .refine((value) => value > 0);
  return described(schema, description, {
    allowed: 'a time above zero with its unit (us ms s m h d)',
    example,
    mend: mendUnit({ ...TIME_SYNONYMS, '': unit }),
  });
}

/** A size such as `40GiB`, read into bytes. */
export function size(description: string, example: string): z.ZodType<number> {
  const schema = z
    .string()
    .regex(/^\s*(\d+(\.\d+)?|\.\d+)\s*([kKmMgGtT][iI]?)?[bB]\s*$/)
    .transform((text) => toBytesCount(text) ?? Number.NaN)
    .refine((value) => value > 0);
  const units = {
    k: 'KiB',
    ki: 'KiB',
    m: 'MiB',
    mi: 'MiB',
    g: 'GiB',
    gi: 'GiB',
    t: 'TiB',
    ti: 'TiB',
  };
  return described(schema, description, {
    allowed: 'a size above zero with its unit (MiB GiB TiB of 1024, MB GB TB of 1000)',
    example,
    mend: mendUnit({ ...units, '': 'GiB' }),
  });
}

/** The text of a bare number that was meant as a share: `0.02` and `2` are both two in a hundred. */
function mendShare(written: string): string | null {
  const value = Number(/^\s*([\d.]+)\s*(?:percent|pct)?\s*$/i.exec(written)?.[1] ?? '');
  if (!Number.isFinite(value) || value <= 0 || value > 100) return null;
  return `${value < 1 ? Number((value * 100).toPrecision(12)) : value}%`;
}

/** A share such as `2%`, read into a ratio between `from` and `to` (in per cent, both included). */
export function share(
  description: string,
  example: string,
  from: number,
  to: number,
): z.ZodType<number> {
  const schema = z
    .string()
    .regex(/^\s*(\d+(\.\d+)?|\.\d+)\s*%\s*$/)
    .transform((text) => toShare(text) ?? Number.NaN)
    .refine((value) => value >= from / 100 && value <= to / 100);
  return described(schema, description, {
    allowed: `a share from ${from}% to ${to}%`,
    example,
    mend: mendShare,
  });
}

/** Largest count of anything: tokens a minute of the largest site are below it. */
const MOST = 1e12;

/** A count such as `600`, `200k`, `2M`; a number is meant as it stands. */
export function count(description: string, example: string, least = 1): z.ZodType<number> {
  const schema = z
    .union([
      z.int().min(least).max(MOST),
      z
        .string()
        .regex(/^\s*(\d+(\.\d+)?|\.\d+)\s*[kKmMgG]?\s*$/)
        .transform((text) => Math.round((toCount(text) ?? Number.NaN) * 1e6) / 1e6),
    ])
    .refine((value) => Number.isInteger(value) && value >= least && value <= MOST);
  return described(schema, description, {
    allowed: `a whole number from ${least} on, also as 200k or 2M`,
    example,
    mend: (written) =>
      /^\d[\d_,]*[_,]\d+$/.test(written) && written.length < 13
        ? written.replace(/[_,]/g, '')
        : null,
  });
}

/** A small whole number. */
export function whole(
  description: string,
  example: string,
  from: number,
  to: number,
): z.ZodType<number> {
  return described(z.int().min(from).max(to), description, {
    allowed: `a whole number from ${from} to ${to}`,
    example,
  });
}

/** A number that need not be whole. */
export function decimal(
  description: string,
  example: string,
  above: number,
  to: number,
): z.ZodType<number> {
  return described(z.number().gt(above).max(to), description, {
    allowed: `a number above ${above} and at most ${to}`,
    example,
  });
}

/** True or false. */
export function flag(description: string): z.ZodType<boolean> {
  const words: Readonly<Record<string, string>> = {
    yes: 'true',
    on: 'true',
    no: 'false',
    off: 'false',
    y: 'true',
    n: 'false',
  };
  return described(z.boolean(), description, {
    allowed: 'true or false',
    example: 'true',
    mend: (written) => words[written.toLowerCase()] ?? null,
  });
}

/** One of a closed list of words. */
export function word<const W extends string>(
  description: string,
  words: readonly W[],
  example: W,
): z.ZodType<W> {
  return described(z.enum(words), description, { allowed: `one of ${words.join(', ')}`, example });
}

/** Text that matches a pattern. */
export function text(
  description: string,
  pattern: RegExp,
  allowed: string,
  example: string,
  fix?: string,
): z.ZodType<string> {
  const notes = { allowed, example, isText: true, ...(fix === undefined ? {} : { fix }) };
  return described(z.string().regex(pattern), description, notes);
}

/** The name of a node, model, tenant or fleet. */
export function name(description: string, example: string): z.ZodType<string> {
  return described(
    z
      .string()
      .max(128)
      .regex(/^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/),
    description,
    {
      allowed:
        'a name of letters, digits, ".", "_" and "-", with a letter or digit at both ends, at most 128 long',
      example,
      isText: true,
      mend: (written) => {
        const mended = written
          .trim()
          .replace(/[^A-Za-z0-9._-]+/g, '-')
          .replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '');
        return mended === '' || mended === written || mended.length > 128 ? null : mended;
      },
    },
  );
}

/** A PCI address, function 0 being the card. */
export function cardAddress(description: string): z.ZodType<string> {
  const pattern = /^[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]$/;
  return described(z.string().regex(pattern), description, {
    allowed: 'the PCI address of a card, as `aim-gpu gpus` shows it',
    example: '"0000:0c:00.0"',
    mend: (written) => (pattern.test(`0000:${written}`) ? `"0000:${written}"` : null),
  });
}

/** A list of one kind of value. */
export function list<T>(item: z.ZodType<T>, description: string, example: string): z.ZodType<T[]> {
  return described(z.array(item), description, { allowed: 'a list', example });
}

const PATH = /^[^~\s]([^\0]*\S)?$/;

/** A path, or what is not one on purpose (`allowed` says which). */
export function filePath(
  description: string,
  example: string,
  allowed = 'a path, relative to this file or absolute ("~" is not expanded)',
): z.ZodType<string> {
  return text(description, PATH, allowed, example);
}

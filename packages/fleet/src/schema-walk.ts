/**
 * What a schema says about a place: its notes, its keys, its words. Owns the walk through zod's wrappers; it must not
 * know any key of the fleet file.
 */
import type { z } from 'zod';
import { type FieldNotes, fieldNotes } from './fields.js';

/** What the schema knows about one place. */
export interface SchemaPlace {
  readonly notes: FieldNotes | null;
  /** Keys allowed in a mapping there; null when it is none or takes any. */
  readonly keys: readonly string[] | null;
  /** Whether nothing but a list may stand there. */
  readonly isList: boolean;
  /** Words allowed there, of a closed list. */
  readonly words: readonly string[] | null;
}

const NOWHERE: SchemaPlace = { notes: null, keys: null, isList: false, words: null };

/** A schema without the wrappers around it, and the first notes found on the way in. */
function unwrapped(schema: z.core.$ZodType): {
  schema: z.core.$ZodTypes;
  notes: FieldNotes | null;
} {
  let current = schema as z.core.$ZodTypes;
  let notes: FieldNotes | null = null;
  for (;;) {
    notes ??= fieldNotes.get(current) ?? null;
    const { def } = current._zod;
    switch (def.type) {
      case 'optional':
      case 'nullable':
      case 'default':
      case 'prefault':
        current = def.innerType as z.core.$ZodTypes;
        break;
      case 'pipe':
        current = def.in as z.core.$ZodTypes;
        break;
      default:
        return { schema: current, notes };
    }
  }
}

/** The option of a union that takes values of this shape; the union itself when none or several do. */
function branches(schema: z.core.$ZodTypes): readonly z.core.$ZodTypes[] {
  const { def } = schema._zod;
  if (def.type !== 'union') return [schema];
  return def.options.flatMap((option) => branches(unwrapped(option).schema));
}

function stepInto(schema: z.core.$ZodTypes, step: PropertyKey): z.core.$ZodType | null {
  for (const branch of branches(schema)) {
    const { def } = branch._zod;
    if (def.type === 'array' && typeof step === 'number') return def.element;
    if (def.type === 'record' && typeof step === 'string') return def.valueType;
    if (def.type === 'object' && typeof step === 'string' && Object.hasOwn(def.shape, step))
      return def.shape[step] ?? null;
  }
  return null;
}

/** Finds out what may stand at a path. */
export function schemaPlace(root: z.core.$ZodType, path: readonly PropertyKey[]): SchemaPlace {
  let found = unwrapped(root);
  for (const step of path) {
    const next = stepInto(found.schema, step);
    if (next === null) return NOWHERE;
    found = unwrapped(next);
  }
  const options = branches(found.schema).map((branch) => branch._zod.def);
  const shape = options.find((def) => def.type === 'object');
  const words = options.flatMap((def) =>
    def.type === 'enum' ? Object.values(def.entries).map(String) : [],
  );
  return {
    notes: found.notes,
    keys: shape === undefined ? null : Object.keys(shape.shape),
    isList: options.every((def) => def.type === 'array'),
    words: words.length === 0 ? null : words,
  };
}

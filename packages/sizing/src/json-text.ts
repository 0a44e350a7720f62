/**
 * Reads JSON as model repositories really publish it: Python's json module writes `Infinity` and `NaN`, which
 * JSON forbids. Owns that one leniency and the place of a syntax error; must not look at the meaning of a field.
 */
import { invalidConfig } from './errors.js';

const BARE_CONSTANT = /(?<=[[:,\s])-?(?:Infinity|NaN)(?=\s*[,\]}])/g;

/** Replaces bare `Infinity` and `NaN` outside strings by null. */
function withoutBareConstants(text: string): string {
  let result = '';
  let from = 0;
  let inString = false;
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    if (char === 92 && inString) at += 1;
    else if (char === 34) {
      const part = text.slice(from, at + 1);
      result += inString ? part : part.replace(BARE_CONSTANT, 'null');
      from = at + 1;
      inString = !inString;
    }
  }
  return result + text.slice(from).replace(BARE_CONSTANT, 'null');
}

/**
 * Parses JSON text, taking Python's bare constants as null.
 * Throws `ERR_CONFIG_INVALID` naming the source when it is not JSON.
 */
export function parseJsonText(text: string, source: string): unknown {
  const body = text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
  try {
    return JSON.parse(body) as unknown;
  } catch (first) {
    if (body.includes('Infinity') || body.includes('NaN')) {
      try {
        return JSON.parse(withoutBareConstants(body)) as unknown;
      } catch {
        // The first error names the place in the user's own text.
      }
    }
    throw invalidConfig(
      source,
      '',
      body.trim() === ''
        ? 'the file is empty'
        : `not JSON: ${first instanceof Error ? first.message : String(first)}`,
      "give the model's own config.json, as published beside its weights",
      first,
    );
  }
}

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fleetJsonSchema, parseFleet, toFleetDocument } from '@aim-gpu/fleet';
import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { BROKEN_FILES, GOOD_FILE } from './broken-files.js';

const root = path.resolve(import.meta.dirname, '..');
const committed: Record<string, unknown> = JSON.parse(
  readFileSync(path.join(root, 'schema/fleet.v1alpha1.json'), 'utf8'),
);
const isValid = new Ajv({ strict: true, strictTypes: false, allErrors: true }).compile(committed);
const complete = readFileSync(path.join(root, 'test/fixtures/complete.yaml'), 'utf8');

/** Every schema inside a schema that describes a key. */
function describedKeys(schema: unknown, at = ''): [string, Record<string, unknown>][] {
  if (typeof schema !== 'object' || schema === null) return [];
  return Object.entries(schema).flatMap(([key, inner]): [string, Record<string, unknown>][] => [
    ...(key === 'properties'
      ? Object.entries(inner as Record<string, Record<string, unknown>>).map(
          ([name, property]): [string, Record<string, unknown>] => [`${at}.${name}`, property],
        )
      : []),
    ...describedKeys(inner, key === 'properties' ? at : `${at}.${key}`),
  ]);
}

describe('the JSON Schema for editors', () => {
  it('is fresh: `npm run -w @aim-gpu/fleet schema` writes it', () => {
    expect(fleetJsonSchema()).toEqual(committed);
  });

  it('describes every key', () => {
    const keys = describedKeys(committed);
    expect(keys.length).toBeGreaterThan(60);
    expect(
      keys.filter(([, schema]) => typeof schema['description'] !== 'string').map(([name]) => name),
    ).toEqual([]);
  });

  it('requires what the format requires and allows no other keys', () => {
    expect(committed).toMatchObject({
      required: ['apiVersion', 'kind', 'nodes', 'models'],
      additionalProperties: false,
    });
  });

  it('accepts complete and minimal files, and what validate prints', () => {
    for (const text of [complete, GOOD_FILE]) {
      const document = toFleetDocument(parseFleet(text, { file: '/fleets/f.yaml' }).fleet);
      for (const value of [parse(text), JSON.parse(JSON.stringify(document))])
        expect(isValid(value), JSON.stringify(isValid.errors)).toBe(true);
    }
  });

  it.each([
    'an unknown key of the file',
    'an unknown key in a nested mapping',
    'a missing key of a model',
    'a time without a unit',
    'a size with the unit of a time',
    'a share as a ratio',
    'a count with a unit',
    'an unknown product',
    'an unknown band',
    'a flag with its dashes',
    'two sources of one key',
    'too many cards',
    'a limit of nothing',
    'an unknown limit on one model',
    'time-outs of a band that is not there',
  ])('refuses %s in the editor already', (name) => {
    const broken = BROKEN_FILES.find((file) => file.name === name);
    expect(isValid(parse(broken?.text ?? ''))).toBe(false);
  });
});

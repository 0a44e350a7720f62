/**
 * Speed calibrations of this host: where `measure` puts them below the state directory, which one `predict` takes, and
 * those that plans rest on.
 * Effects: the file system. What is in one and how it is made is the speed model's business.
 */
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { AimError } from '@aim-gpu/core';
import {
  type CalibrationFile,
  type EngineFamily,
  parseCalibrationFile,
} from '@aim-gpu/performance';
import type { CommandContext } from './context.js';
import { readTextFile } from './read-text-file.js';

/** Where a product's calibration for an engine family is kept; the product is null for this host's unknown hardware. */
export function calibrationPath(
  context: CommandContext,
  product: string | null,
  engine: EngineFamily,
): string {
  const name = `${product ?? 'this-host'}.${engine}.json`;
  return path.join(directoryOf(context), name);
}

/**
 * Every calibration this host keeps, in the order of their names; none is an empty list. Throws `ERR_CONFIG_INVALID`
 * for a file that is none.
 */
export async function readCalibrations(
  context: CommandContext,
): Promise<readonly CalibrationFile[]> {
  const directory = directoryOf(context);
  let names: readonly string[];
  try {
    names = await readdir(directory);
  } catch {
    return [];
  }
  const files = names
    .filter((name) => name.endsWith('.json'))
    .toSorted()
    .map((name) => path.join(directory, name));
  return Promise.all(
    files.map(async (file) =>
      parseCalibrationFile(parseJson(await readTextFile(file), file), file),
    ),
  );
}

function directoryOf(context: CommandContext): string {
  return path.join(context.stateDirectory, 'speed-calibrations');
}

/** Writes a calibration, whole or not at all. */
export async function writeCalibration(file: string, content: CalibrationFile): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(`${file}.new`, `${JSON.stringify(content, null, 2)}\n`);
  await rename(`${file}.new`, file);
}

/**
 * The calibration that a prediction rests on: the file that was named, none for `none`, else the one this host keeps
 * for the product and engine family; null when there is none. Throws `ERR_FILE_MISSING` for a named file that is not
 * there and `ERR_CONFIG_INVALID` for a file that is none.
 */
export async function readCalibration(
  context: CommandContext,
  named: string | undefined,
  product: string | null,
  engine: EngineFamily,
): Promise<CalibrationFile | null> {
  if (named === 'none') return null;
  if (named !== undefined) {
    const file = context.resolve(named);
    return parseCalibrationFile(parseJson(await readTextFile(file), file), file);
  }
  const file = calibrationPath(context, product, engine);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch {
    return null;
  }
  return parseCalibrationFile(parseJson(text, file), file);
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AimError({
      code: 'ERR_CONFIG_INVALID',
      kind: 'invalid',
      message: `${file} is not JSON`,
      hint: 'measure again, or predict with --speed-calibration none',
      cause,
    });
  }
}

/**
 * The coded errors of this package, each made in one place so that message, hint and details stay alike.
 * Owns codes and wording; decides nothing.
 */
import { AimError } from '@aim-gpu/core';
import { PRODUCTS } from '@aim-gpu/core/products';

/** A config, flag or file says something that cannot be. */
export function invalidConfig(
  source: string,
  path: string,
  problem: string,
  fix: string,
  cause?: unknown,
): AimError {
  const where = path === '' ? source : `${source}: ${path}`;
  return new AimError({
    code: 'ERR_CONFIG_INVALID',
    kind: 'invalid',
    message: `${where}: ${problem}`,
    hint: fix,
    details: { source, path },
    ...(cause === undefined ? {} : { cause }),
  });
}

/** A file the user named is not there. */
export function missingFile(path: string, what: string): AimError {
  return new AimError({
    code: 'ERR_FILE_MISSING',
    kind: 'missing',
    message: `${path}: no such ${what}`,
    hint: 'check the path; relative paths in a fleet file are relative to that file',
    details: { path },
  });
}

/** A catalogue id nobody knows. */
export function unknownModel(id: string, nearest: readonly string[]): AimError {
  return new AimError({
    code: 'ERR_MODEL_UNKNOWN',
    kind: 'missing',
    message: `no model "${id}" in the catalogue`,
    hint:
      nearest.length > 0
        ? `did you mean ${nearest.join(', ')}? Otherwise give the path of its config.json`
        : 'give the path of its config.json or of its model directory',
    details: { id, nearest },
  });
}

/** A product that core/products does not have. */
export function unknownProduct(name: string): AimError {
  return new AimError({
    code: 'ERR_CONFIG_INVALID',
    kind: 'invalid',
    message: `no product "${name}"`,
    hint: `known: ${PRODUCTS.map((product) => product.name).join(', ')}`,
    details: { product: name },
  });
}

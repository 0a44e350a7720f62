// Finds the workspaces of a repository root and reads what the checks need of each. Reads only, never writes.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/**
 * The fields of a package.json that the checks read.
 *
 * @typedef {object} Manifest
 * @property {string} name
 * @property {string} version
 * @property {boolean} [private]
 * @property {{ tags?: string[] }} [nx]
 * @property {Record<string, string | Record<string, string>>} [exports]
 * @property {Record<string, string>} [bin]
 * @property {Record<string, string>} [dependencies]
 * @property {Record<string, string>} [devDependencies]
 * @property {Record<string, string>} [peerDependencies]
 * @property {Record<string, string>} [optionalDependencies]
 */

/**
 * @typedef {object} Workspace
 * @property {string} id - path from the root, for example `packages/core`
 * @property {string} directory - absolute path
 * @property {Manifest} manifest - its package.json
 * @property {boolean} isPackage - whether it is published
 */

/**
 * Every workspace directory named by the root manifest's `workspaces` that has a package.json, sorted by id.
 *
 * @param {string} root
 * @returns {Workspace[]}
 */
export function listWorkspaces(root) {
  const { workspaces } = readJson(path.join(root, 'package.json'));
  return workspaces
    .map((/** @type {string} */ pattern) => pattern.replace(/\/\*$/, ''))
    .filter((/** @type {string} */ group) => existsSync(path.join(root, group)))
    .flatMap((/** @type {string} */ group) =>
      readdirSync(path.join(root, group)).map((name) => `${group}/${name}`),
    )
    .filter((/** @type {string} */ id) => existsSync(path.join(root, id, 'package.json')))
    .sort()
    .map((/** @type {string} */ id) => {
      const manifest = readJson(path.join(root, id, 'package.json'));
      return { id, directory: path.join(root, id), manifest, isPackage: manifest.private !== true };
    });
}

/**
 * Parses a JSON file and names it when it is not JSON.
 *
 * @param {string} file
 * @returns {any}
 */
export function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new Error(`${file} is not JSON`, { cause });
  }
}

/**
 * Absolute paths of all files below `directory` whose name matches; ignores built and installed folders.
 *
 * @param {string} directory
 * @param {RegExp} pattern
 * @returns {string[]}
 */
export function listFiles(directory, pattern) {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { withFileTypes: true })
    .flatMap((entry) => {
      const full = path.join(directory, entry.name);
      if (entry.isDirectory()) {
        return ['node_modules', 'dist', 'out-tsc', 'coverage', 'fixtures'].includes(entry.name)
          ? []
          : listFiles(full, pattern);
      }
      return pattern.test(entry.name) ? [full] : [];
    })
    .sort();
}

#!/usr/bin/env node
// Refuses every arrow between workspaces that does not point strictly down a layer, and every import that
// goes round a package's public entries. The layers are the `layer:N` tags in each package.json; what they
// mean is in docs/adr/0001-esm-only-and-layers.md. Reads only.
//
//   node tools/check-layers.mjs [root]
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { builtinModules } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { listFiles, listWorkspaces, readJson } from './workspaces.mjs';

const SCOPE = '@aim-gpu/';
const SOURCE_FILE = /\.(ts|tsx|mts|cts|js|mjs|cjs)$/;
const TOP_LAYER = 5;

/**
 * Every violation below `root`, each as one line that names the file and the rule.
 *
 * @param {string} root
 * @returns {string[]}
 */
export function checkLayers(root) {
  const workspaces = listWorkspaces(root);
  const byName = new Map(workspaces.map((workspace) => [workspace.manifest.name, workspace]));
  const rootDevDependencies = Object.keys(
    readJson(path.join(root, 'package.json')).devDependencies ?? {},
  );
  return workspaces.flatMap((workspace) => [
    ...checkTag(workspace),
    ...checkDependencies(workspace, byName),
    ...checkReferences(root, workspace, byName),
    ...checkImports(root, workspace, byName, rootDevDependencies),
    ...checkEntries(root, workspace),
  ]);
}

/** @typedef {import('./workspaces.mjs').Workspace} Workspace */

/**
 * @param {Workspace} workspace
 * @returns {number} NaN without exactly one tag
 */
function layerOf({ manifest }) {
  const tags = (manifest.nx?.tags ?? []).filter((/** @type {string} */ tag) =>
    /^layer:\d$/.test(tag),
  );
  const [tag] = tags;
  return tag && tags.length === 1 ? Number(tag.slice('layer:'.length)) : Number.NaN;
}

/** @param {Workspace} workspace */
function checkTag(workspace) {
  const layer = layerOf(workspace);
  if (Number.isNaN(layer))
    return [`${workspace.id}/package.json: needs exactly one nx tag layer:N`];
  const isTop = !workspace.id.startsWith('packages/');
  if (isTop !== (layer === TOP_LAYER)) {
    return [
      `${workspace.id}/package.json: layer:${TOP_LAYER} is for examples and tests, and only for them`,
    ];
  }
  return [];
}

/**
 * @param {Workspace} workspace
 * @param {Map<string, Workspace>} byName
 */
function checkDependencies(workspace, byName) {
  const kinds = /** @type {const} */ ([
    'dependencies',
    'devDependencies',
    'peerDependencies',
    'optionalDependencies',
  ]);
  return kinds.flatMap((kind) =>
    Object.keys(workspace.manifest[kind] ?? {}).flatMap((name) => {
      const target = byName.get(name);
      if (!target) {
        return name.startsWith(SCOPE)
          ? [`${workspace.id}/package.json: ${kind} names ${name}, which does not exist`]
          : [];
      }
      return arrow(workspace, target, `${workspace.id}/package.json: ${kind}`);
    }),
  );
}

/**
 * @param {Workspace} from
 * @param {Workspace} to
 * @param {string} where
 */
function arrow(from, to, where) {
  if (layerOf(to) < layerOf(from)) return [];
  return [
    `${where}: ${from.manifest.name} (layer ${layerOf(from)}) may not use ${to.manifest.name} (layer ${layerOf(to)}); arrows point strictly down`,
  ];
}

/**
 * Project references have to name the declared siblings, no more and no fewer: they are what makes tsc refuse
 * an import of anything else.
 *
 * @param {string} root
 * @param {Workspace} workspace
 * @param {Map<string, Workspace>} byName
 */
function checkReferences(root, workspace, byName) {
  const { manifest, directory, id } = workspace;
  const runtime = siblings(manifest.dependencies, byName);
  const all = [...runtime, ...siblings(manifest.devDependencies, byName)];
  const files = ['tsconfig.json', 'tsconfig.lib.json', 'tsconfig.test.json'].filter((file) =>
    existsSync(path.join(directory, file)),
  );
  const main = files.includes('tsconfig.lib.json') ? 'tsconfig.lib.json' : 'tsconfig.json';
  return files.flatMap((file) => {
    const allowed = file === 'tsconfig.lib.json' ? runtime : all;
    const referenced = referencedWorkspaces(root, path.join(directory, file)).filter(
      (other) => other !== id,
    );
    return [
      ...referenced
        .filter((other) => !allowed.includes(other))
        .map(
          (other) => `${id}/${file}: references ${other}, which package.json does not depend on`,
        ),
      ...(file === main ? runtime : [])
        .filter((other) => !referenced.includes(other))
        .map(
          (other) => `${id}/${file}: lacks a reference to ${other}, which package.json depends on`,
        ),
    ];
  });
}

/**
 * @param {Record<string, string> | undefined} dependencies
 * @param {Map<string, Workspace>} byName
 * @returns {string[]}
 */
function siblings(dependencies, byName) {
  return Object.keys(dependencies ?? {}).flatMap((name) => byName.get(name)?.id ?? []);
}

/**
 * @param {string} root
 * @param {string} tsconfig
 * @returns {string[]}
 */
function referencedWorkspaces(root, tsconfig) {
  const { config, error } = ts.readConfigFile(tsconfig, ts.sys.readFile);
  if (error) return [];
  return (config.references ?? []).map((/** @type {{ path: string }} */ reference) =>
    path
      .relative(root, path.resolve(path.dirname(tsconfig), reference.path))
      .split(path.sep)
      .slice(0, 2)
      .join('/'),
  );
}

/**
 * @param {string} root
 * @param {Workspace} workspace
 * @param {Map<string, Workspace>} byName
 * @param {string[]} rootDevDependencies
 */
function checkImports(root, workspace, byName, rootDevDependencies) {
  return listFiles(workspace.directory, SOURCE_FILE).flatMap((file) => {
    const where = path.relative(root, file);
    const isShipped = workspace.isPackage && /^[^/]+\/[^/]+\/(src|bin)\//.test(where);
    const { importedFiles } = ts.preProcessFile(readFileSync(file, 'utf8'), true, true);
    const specifiers = new Set(importedFiles.map((imported) => imported.fileName));
    return [...specifiers].flatMap((specifier) => {
      if (specifier.startsWith('.'))
        return checkRelative(root, workspace, file, where, specifier, isShipped);
      return checkBare(workspace, byName, rootDevDependencies, where, specifier, isShipped);
    });
  });
}

/**
 * @param {string} root
 * @param {Workspace} workspace
 * @param {string} file
 * @param {string} where
 * @param {string} specifier
 * @param {boolean} isShipped
 */
function checkRelative(root, workspace, file, where, specifier, isShipped) {
  const target = path.resolve(path.dirname(file), specifier);
  if (isInside(workspace.directory, target)) {
    return isShipped &&
      !isInside(path.join(workspace.directory, 'src'), target) &&
      where.includes('/src/')
      ? [`${where}: shipped code may not import ${specifier}, which is not shipped`]
      : [];
  }
  // Tests and benches may use the repository's own tooling; nothing that ships may.
  if (!isShipped && isInside(path.join(root, 'tools'), target)) return [];
  return [`${where}: ${specifier} leaves the package; import another package by its name`];
}

/**
 * @param {string} directory
 * @param {string} target
 */
function isInside(directory, target) {
  return target.startsWith(directory + path.sep);
}

/**
 * @param {Workspace} workspace
 * @param {Map<string, Workspace>} byName
 * @param {string[]} rootDevDependencies
 * @param {string} where
 * @param {string} specifier
 * @param {boolean} isShipped
 */
function checkBare(workspace, byName, rootDevDependencies, where, specifier, isShipped) {
  if (specifier.startsWith('node:') || builtinModules.includes(specifier)) return [];
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
  const { manifest } = workspace;
  const shipped = {
    ...manifest.dependencies,
    ...manifest.peerDependencies,
    ...manifest.optionalDependencies,
  };
  const isDeclared =
    name in shipped ||
    (!isShipped &&
      (name in (manifest.devDependencies ?? {}) || rootDevDependencies.includes(name)));
  const target = byName.get(name);
  if (!target) {
    return isDeclared
      ? []
      : [`${where}: imports ${name}, which ${workspace.id}/package.json does not declare`];
  }
  const subpath = `.${specifier.slice(name.length)}`;
  const deep =
    target.manifest.exports && subpath in target.manifest.exports
      ? []
      : [`${where}: ${specifier} is not a public entry of ${name}`];
  if (target === workspace) {
    return isShipped ? [`${where}: imports its own package by name; use a relative path`] : deep;
  }
  return [
    ...(isDeclared
      ? []
      : [`${where}: imports ${name}, which ${workspace.id}/package.json does not declare`]),
    ...arrow(workspace, target, where),
    ...deep,
  ];
}

/**
 * A public entry is a list of names: no logic, no `export *`, so that every public name is there to be read.
 *
 * @param {string} root
 * @param {Workspace} workspace
 */
function checkEntries(root, workspace) {
  if (!workspace.isPackage) return [];
  return listFiles(path.join(workspace.directory, 'src'), /^index\.ts$/).flatMap((file) => {
    const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.ES2022);
    const isPlain = source.statements.every(
      (statement) =>
        ts.isExportDeclaration(statement) &&
        statement.exportClause !== undefined &&
        ts.isNamedExports(statement.exportClause) &&
        (statement.moduleSpecifier !== undefined || statement.exportClause.elements.length === 0),
    );
    return isPlain
      ? []
      : [`${path.relative(root, file)}: an entry holds enumerated re-exports only`];
  });
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const root = path.resolve(process.argv[2] ?? path.join(import.meta.dirname, '..'));
  const findings = checkLayers(root);
  for (const finding of findings) console.error(finding);
  const count = listWorkspaces(root).length;
  console.log(
    findings.length === 0
      ? `layers: ${count} workspaces, no violation`
      : `layers: ${findings.length} violations`,
  );
  process.exitCode = findings.length === 0 ? 0 : 1;
}

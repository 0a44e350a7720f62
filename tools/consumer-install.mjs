#!/usr/bin/env node
// Installs the packed packages into an empty project outside the repository and uses them as an outside user would:
// import, require, TypeScript with node20 and with bundler resolution. Needs a build.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { localBin, runCommand } from './run-command.mjs';
import { listWorkspaces, readJson } from './workspaces.mjs';

const root = path.resolve(import.meta.dirname, '..');
const project = mkdtempSync(path.join(tmpdir(), 'aim-gpu-consumer-'));
const packages = listWorkspaces(root).filter(({ isPackage }) => isPackage);
/** Every public entry by its import name, but for package.json. */
const entries = packages.flatMap(({ manifest }) =>
  Object.keys(manifest.exports ?? {})
    // Data files, such as JSON schemas, are read or fetched, not imported.
    .filter((subpath) => !subpath.endsWith('.json'))
    .map((subpath) => path.posix.join(manifest.name, subpath)),
);

/**
 * @param {string} what
 * @param {string} command
 * @param {readonly string[]} args
 */
async function step(what, command, args) {
  const { code, output } = await runCommand(command, args, { capture: true, cwd: project });
  if (code !== 0) throw new Error(`${what} failed with exit code ${code}:\n${output}`);
  console.log(`consumer: ${what}`);
  return output;
}

try {
  await install();
  await useFromJavaScript();
  await useFromTypeScript();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  rmSync(project, { recursive: true, force: true });
}

/** Tarballs for all packages; the overrides make siblings of siblings come from them too. */
async function install() {
  mkdirSync(path.join(project, 'tarballs'));
  /** @type {Record<string, string>} */
  const tarballs = {};
  for (const { directory, manifest } of packages) {
    const { code, output } = await runCommand(
      'npm',
      [
        'pack',
        '--json',
        '--ignore-scripts',
        '--loglevel=error',
        '--pack-destination',
        path.join(project, 'tarballs'),
      ],
      { capture: true, cwd: directory },
    );
    if (code !== 0) throw new Error(`npm pack of ${manifest.name} failed:\n${output}`);
    const file = `${manifest.name.slice(1).replace('/', '-')}-${manifest.version}.tgz`;
    tarballs[manifest.name] = `file:tarballs/${file}`;
  }
  const versions = readJson(path.join(root, 'package.json')).devDependencies;
  write('package.json', {
    name: 'consumer',
    private: true,
    type: 'module',
    dependencies: tarballs,
    overrides: Object.fromEntries(Object.keys(tarballs).map((name) => [name, `$${name}`])),
    devDependencies: { '@types/node': versions['@types/node'] },
  });
  await step(`npm install of ${packages.length} tarballs with engine-strict`, 'npm', [
    'install',
    '--engine-strict',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
  ]);
}

async function useFromJavaScript() {
  const names = JSON.stringify(entries);
  write(
    'esm.mjs',
    `for (const name of ${names}) {
  const found = await import(name);
  if (Object.keys(found).length === 0) throw new Error(name + ' exports nothing');
}\n`,
  );
  write(
    'cjs.cjs',
    `(async () => {
  for (const name of ${names}) {
    const required = require(name);
    const imported = await import(name);
    for (const key of Object.keys(imported)) {
      if (required[key] !== imported[key]) throw new Error(name + '.' + key + ' differs between require and import');
    }
  }
})();\n`,
  );
  await step(`import of ${entries.length} entries`, process.execPath, ['esm.mjs']);
  await step('require of the same entries gives the same objects', process.execPath, ['cjs.cjs']);
  for (const { manifest } of packages) {
    for (const bin of Object.keys(manifest.bin ?? {})) {
      await step(`${bin} --help`, path.join(project, 'node_modules/.bin', bin), ['--help']);
    }
  }
}

async function useFromTypeScript() {
  const imports = entries.map((name, index) => `import * as m${index} from '${name}';`).join('\n');
  const uses = `export const all = [${entries.map((_, index) => `m${index}`).join(', ')}];\n`;
  write('use.mts', `${imports}\n${uses}`);
  write('use.cts', `${imports}\n${uses}`);
  const common = [
    '--noEmit',
    '--strict',
    '--exactOptionalPropertyTypes',
    '--target',
    'es2022',
    '--types',
    'node',
  ];
  // skipLibCheck stays on: the declarations of outside libraries are not ours to judge.
  common.push('--skipLibCheck', '--lib', 'es2023,esnext.disposable');
  await step('tsc, module node20, ESM and CommonJS', localBin('tsc'), [
    ...common,
    '--module',
    'node20',
    'use.mts',
    'use.cts',
  ]);
  await step('tsc, module preserve, bundler resolution', localBin('tsc'), [
    ...common,
    '--module',
    'preserve',
    '--moduleResolution',
    'bundler',
    'use.mts',
  ]);
}

/**
 * @param {string} file
 * @param {string | object} content
 */
function write(file, content) {
  writeFileSync(
    path.join(project, file),
    typeof content === 'string' ? content : JSON.stringify(content, null, 2),
  );
}

#!/usr/bin/env node
// Checks every package as it would be published: publint, are-the-types-wrong, and the list of packed files.
// Needs a build. `node tools/check-packages.mjs [name]…`
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { judgePackList } from './pack-list.mjs';
import { localBin, runCommand } from './run-command.mjs';
import { listWorkspaces } from './workspaces.mjs';

const root = path.resolve(import.meta.dirname, '..');
const licence = readFileSync(path.join(root, 'LICENSE'), 'utf8');
const wanted = process.argv.slice(2);
const packages = listWorkspaces(root).filter(
  ({ id, isPackage }) => isPackage && (wanted.length === 0 || wanted.includes(path.basename(id))),
);

let failed = 0;
for (const { id, directory, manifest } of packages) {
  const [lint, types, pack] = await Promise.all([
    runCommand(localBin('publint'), ['--strict', directory], { capture: true }),
    runCommand(localBin('attw'), ['--pack', directory, '--profile', 'esm-only', '--no-emoji'], {
      capture: true,
    }),
    runCommand('npm', ['pack', '--dry-run', '--json', '--ignore-scripts', '--loglevel=error'], {
      capture: true,
      cwd: directory,
    }),
  ]);
  const problems = [
    ...(lint.code === 0 ? [] : [`publint:\n${lint.output}`]),
    ...(types.code === 0 ? [] : [`attw:\n${types.output}`]),
    ...(pack.code === 0
      ? judgePackList(packedFiles(pack.output), manifest)
      : [`npm pack:\n${pack.output}`]),
    ...(readFileSync(path.join(directory, 'LICENSE'), 'utf8') === licence
      ? []
      : ['LICENSE differs from the root']),
  ];
  for (const problem of problems) console.error(`${id}: ${problem}`);
  if (problems.length > 0) failed += 1;
}
console.log(`check:packages: ${packages.length} packages, ${failed} with problems`);
process.exitCode = failed === 0 && packages.length > 0 ? 0 : 1;

/** @param {string} output */
function packedFiles(output) {
  const [report] = Object.values(JSON.parse(output.slice(output.search(/[[{]/))));
  return report.files.map((/** @type {{ path: string }} */ file) => file.path);
}

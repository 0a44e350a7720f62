// A small throw-away repository with this repository's own root files, tools and generator, in which tests may
// seed violations. Packages: core (layer 0), qos and fleet (1), gateway (3, on core and qos).
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../..');

/** Creates it. `remove()` deletes it again. */
export function createTemporaryRepository() {
  const directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-tools-'));
  for (const file of [
    'package.json',
    'biome.json',
    'tsconfig.base.json',
    'LICENSE',
    '.gitignore',
  ]) {
    cpSync(path.join(root, file), path.join(directory, file));
  }
  cpSync(path.join(root, 'tools'), path.join(directory, 'tools'), {
    recursive: true,
    // Neither the tests of the tools nor what type-checks them.
    filter: (source) =>
      !/^(test|out-tsc|tsconfig\.json|vitest\.config\.ts)/.test(
        path.relative(path.join(root, 'tools'), source),
      ),
  });
  // biome reads .gitignore only inside a git work tree.
  execFileSync('git', ['init', '-q', directory]);
  const generate = (/** @type {string[]} */ ...args) =>
    execFileSync(process.execPath, [path.join(directory, 'tools/new-package.mjs'), ...args], {
      stdio: 'pipe',
    });
  generate('core', '--layer', '0', '--summary', 'Bottom.', '--entry', 'testing');
  generate('qos', '--layer', '1', '--summary', 'First.', '--dep', 'core');
  generate('fleet', '--layer', '1', '--summary', 'Second.', '--dep', 'core');
  generate('gateway', '--layer', '3', '--summary', 'Top.', '--dep', 'core', '--dep', 'qos');

  // The installed tools are the real ones; the siblings are the temporary ones.
  mkdirSync(path.join(directory, 'node_modules/@aim-gpu'), { recursive: true });
  for (const entry of readdirSync(path.join(root, 'node_modules'))) {
    if (entry !== '@aim-gpu') {
      symlinkSync(
        path.join(root, 'node_modules', entry),
        path.join(directory, 'node_modules', entry),
      );
    }
  }
  for (const name of ['core', 'qos', 'fleet', 'gateway']) {
    symlinkSync(
      path.join(directory, 'packages', name),
      path.join(directory, 'node_modules/@aim-gpu', name),
    );
  }
  return {
    directory,
    write: (/** @type {string} */ file, /** @type {string} */ text) => {
      mkdirSync(path.dirname(path.join(directory, file)), { recursive: true });
      writeFileSync(path.join(directory, file), text);
    },
    generate,
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

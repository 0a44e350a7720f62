import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkLayers } from '../check-layers.mjs';
import { createTemporaryRepository } from './temporary-repository.mjs';

const root = path.resolve(import.meta.dirname, '../..');
/** @type {ReturnType<typeof createTemporaryRepository>} */
let repository;

beforeEach(() => {
  repository = createTemporaryRepository();
});
afterEach(() => repository.remove());

/** Runs an installed tool in the temporary repository. */
function runTool(/** @type {string[]} */ ...args) {
  const [bin, ...rest] = args;
  const result = spawnSync(path.join(root, 'node_modules/.bin', String(bin)), rest, {
    cwd: repository.directory,
    encoding: 'utf8',
  });
  return { status: result.status, output: result.stdout + result.stderr };
}

function edit(/** @type {string} */ file, /** @type {(json: any) => void} */ change) {
  const json = JSON.parse(readFileSync(path.join(repository.directory, file), 'utf8'));
  change(json);
  repository.write(file, JSON.stringify(json, null, 2));
}

test('a freshly generated repository has no violation', () => {
  expect(checkLayers(repository.directory)).toEqual([]);
  expect(runTool('tsc', '-b')).toEqual({ status: 0, output: '' });
});

test('the command exits 1 and names the violation', () => {
  repository.write('packages/core/src/up.ts', "export { x } from '@aim-gpu/gateway';\n");
  const run = () =>
    spawnSync(process.execPath, [path.join(root, 'tools/check-layers.mjs'), repository.directory], {
      encoding: 'utf8',
    });
  expect(run()).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('packages/core/src/up.ts'),
  });
  repository.write('packages/core/src/up.ts', 'export const x: number = 1;\n');
  expect(run()).toMatchObject({ status: 0, stderr: '' });
});

describe('check-layers', () => {
  const scenarios = [
    {
      name: 'a dependency upwards',
      seed: () =>
        edit(
          'packages/core/package.json',
          (json) => (json.dependencies = { '@aim-gpu/qos': '^0.1.0' }),
        ),
      expected:
        /core\/package.json: dependencies: @aim-gpu\/core \(layer 0\) may not use @aim-gpu\/qos \(layer 1\)/,
    },
    {
      name: 'a devDependency on the same layer',
      seed: () =>
        edit(
          'packages/qos/package.json',
          (json) => (json.devDependencies = { '@aim-gpu/fleet': '^0.1.0' }),
        ),
      expected: /qos\/package.json: devDependencies: .* arrows point strictly down/,
    },
    {
      name: 'a dependency on a package that does not exist',
      seed: () =>
        edit(
          'packages/qos/package.json',
          (json) => (json.dependencies['@aim-gpu/none'] = '^0.1.0'),
        ),
      expected: /names @aim-gpu\/none, which does not exist/,
    },
    {
      name: 'a reference that is no dependency',
      seed: () =>
        edit('packages/qos/tsconfig.lib.json', (json) =>
          json.references.push({ path: '../gateway/tsconfig.lib.json' }),
        ),
      expected: /qos\/tsconfig.lib.json: references packages\/gateway/,
    },
    {
      name: 'a dependency without a reference',
      seed: () => edit('packages/gateway/tsconfig.lib.json', (json) => (json.references = [])),
      expected: /gateway\/tsconfig.lib.json: lacks a reference to packages\/core/,
    },
    {
      name: 'an import upwards',
      seed: () =>
        repository.write(
          'packages/core/src/a.ts',
          "import type { X } from '@aim-gpu/qos';\nexport type Y = X;\n",
        ),
      expected: /core\/src\/a.ts: @aim-gpu\/core \(layer 0\) may not use/,
    },
    {
      name: 'a dynamic import upwards in a test',
      seed: () =>
        repository.write('packages/qos/test/a.test.ts', "await import('@aim-gpu/gateway');\n"),
      expected: /qos\/test\/a.test.ts: @aim-gpu\/qos \(layer 1\) may not use/,
    },
    {
      name: 'an undeclared import downwards',
      seed: () => repository.write('packages/gateway/src/a.ts', "import '@aim-gpu/fleet';\n"),
      expected:
        /gateway\/src\/a.ts: imports @aim-gpu\/fleet, which packages\/gateway\/package.json does not declare/,
    },
    {
      name: 'an undeclared library in shipped code',
      seed: () => repository.write('packages/gateway/src/a.ts', "import 'vitest';\n"),
      expected: /gateway\/src\/a.ts: imports vitest, which/,
    },
    {
      name: 'a deep import',
      seed: () => repository.write('packages/qos/src/a.ts', "import '@aim-gpu/core/internal/x';\n"),
      expected: /@aim-gpu\/core\/internal\/x is not a public entry of @aim-gpu\/core/,
    },
    {
      name: 'a relative import into another package',
      seed: () =>
        repository.write('packages/qos/test/a.test.ts', "import '../../core/src/index.js';\n"),
      expected: /qos\/test\/a.test.ts: \.\.\/\.\.\/core\/src\/index.js leaves the package/,
    },
    {
      name: 'shipped code on the repository tooling',
      seed: () =>
        repository.write('packages/qos/src/a.ts', "import '../../../tools/workspaces.mjs';\n"),
      expected: /qos\/src\/a.ts: .* leaves the package/,
    },
    {
      name: 'shipped code on its own tests',
      seed: () => repository.write('packages/qos/src/a.ts', "import '../test/b.js';\n"),
      expected: /which is not shipped/,
    },
    {
      name: 'shipped code that imports itself by name',
      seed: () => repository.write('packages/core/src/a.ts', "import '@aim-gpu/core/testing';\n"),
      expected: /imports its own package by name/,
    },
    {
      name: 'an entry with export *',
      seed: () => repository.write('packages/core/src/index.ts', "export * from './a.js';\n"),
      expected: /core\/src\/index.ts: an entry holds enumerated re-exports only/,
    },
    {
      name: 'a missing layer tag',
      seed: () => edit('packages/core/package.json', (json) => (json.nx.tags = [])),
      expected: /core\/package.json: needs exactly one nx tag/,
    },
    {
      name: 'a package on the layer of examples',
      seed: () => edit('packages/core/package.json', (json) => (json.nx.tags = ['layer:5'])),
      expected: /layer:5 is for examples and tests/,
    },
  ];
  test.each(scenarios)('refuses $name', ({ seed, expected }) => {
    seed();
    expect(checkLayers(repository.directory).join('\n')).toMatch(expected);
  });

  test('allows tests to use public subpaths, root tooling and their own package by name', () => {
    repository.write(
      'packages/qos/test/a.test.ts',
      "import '@aim-gpu/core/testing';\nimport '@aim-gpu/qos';\nimport 'vitest';\nimport '../../../tools/workspaces.mjs';\n",
    );
    repository.generate('demo', '--in', 'examples', '--summary', 'Shows it.', '--dep', 'gateway');
    repository.write('examples/demo/src/main.ts', "import '@aim-gpu/gateway';\n");
    expect(checkLayers(repository.directory)).toEqual([]);
  });
});

describe('the other three ways of enforcement fire', () => {
  test('exports maps refuse a deep import at run time', () => {
    const script =
      "import('@aim-gpu/core/src/index.ts').catch((error) => console.log(error.code));";
    const result = spawnSync(process.execPath, ['-e', script], {
      cwd: repository.directory,
      encoding: 'utf8',
    });
    expect(result.stdout.trim()).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED');
  });

  test('project references refuse a sibling that is not referenced', () => {
    repository.write('packages/qos/src/a.ts', 'export const x: number = 1;\n');
    repository.write('packages/qos/src/index.ts', "export { x } from './a.js';\n");
    repository.write('packages/fleet/src/index.ts', "export { x } from '@aim-gpu/qos';\n");
    const { status, output } = runTool('tsc', '-b', 'packages/fleet');
    expect(status).not.toBe(0);
    expect(output).toMatch(/TS6059|TS6307/);
  });

  test('biome refuses undeclared packages, deep and relative imports, ambient time and randomness', () => {
    repository.write(
      'packages/fleet/src/a.ts',
      `import { x } from '@aim-gpu/qos';
import { y } from '@aim-gpu/core/src/a.js';
import { z } from '../../qos/src/index.js';

export const seen: unknown[] = [x, y, z, Date.now(), Math.random()];
`,
    );
    const { status, output } = runTool(
      'biome',
      'lint',
      '--reporter=github',
      '--diagnostic-level=error',
      'packages/fleet',
    );
    expect(status).toBe(1);
    expect(output).toMatch(/noUndeclaredDependencies,file=.*packages\/fleet\/src\/a.ts,line=1/);
    expect(output).toMatch(/noRestrictedImports,file=.*packages\/fleet\/src\/a.ts,line=2/);
    expect(output).toMatch(/noRestrictedImports,file=.*packages\/fleet\/src\/a.ts,line=3/);
    expect(output).toMatch(/noRestrictedGlobals,file=.*packages\/fleet\/src\/a.ts,line=5/);
    expect(output).toMatch(/Take an Rng \(core\) instead/);
  });
});

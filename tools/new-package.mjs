#!/usr/bin/env node
// Creates one workspace with the exact files every workspace of this repository has, and refreshes the
// references of the root tsconfig.json. It never touches an existing workspace.
//
//   node tools/new-package.mjs <name> --layer N --summary "One sentence." [options]
//   node tools/new-package.mjs <name> --in examples|tests --summary "One sentence." [options]
//
//   --dep core              a sibling package, by its name without the scope; repeatable
//   --external zod@^4.6.7   an outside library with its range; repeatable
//   --entry testing         one more public entry, src/<entry>/index.ts, published as "./<entry>"; repeatable
//   --bin aim-gpu           a command: bin/<bin>.mjs that runs src/main.ts
import { copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

const root = path.resolve(import.meta.dirname, '..');
const SCOPE = '@aim-gpu';
const SOURCE_CONDITION = '@aim-gpu/source';
const VERSION = '0.1.0';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    in: { type: 'string', default: 'packages' },
    layer: { type: 'string' },
    summary: { type: 'string' },
    dep: { type: 'string', multiple: true, default: [] },
    external: { type: 'string', multiple: true, default: [] },
    entry: { type: 'string', multiple: true, default: [] },
    bin: { type: 'string' },
  },
});

const name = positionals[0] ?? '';
const isPackage = values.in === 'packages';
const layer = isPackage ? values.layer : '5';
if (
  positionals.length !== 1 ||
  !/^[a-z][a-z0-9-]*$/.test(name) ||
  !['packages', 'examples', 'tests'].includes(values.in) ||
  !/^\d$/.test(layer ?? '') ||
  !values.summary
) {
  console.error(
    'usage: node tools/new-package.mjs <name> --layer N --summary "One sentence." [--in examples|tests] [--dep core]… [--external zod@^4.6.7]… [--entry testing]… [--bin name]',
  );
  process.exit(2);
}

const directory = path.join(root, values.in, name);
if (existsSync(path.join(directory, 'package.json'))) {
  console.error(`${values.in}/${name} already exists; edit it by hand instead`);
  process.exit(5);
}

const entries = [
  'index',
  ...(values.bin ? ['main'] : []),
  ...values.entry.map((entry) => `${entry}/index`),
];
const dependencies = Object.fromEntries([
  ...values.dep.map((dep) => [`${SCOPE}/${dep}`, `^${VERSION}`]),
  ...values.external.map((spec) => {
    const at = spec.lastIndexOf('@');
    return [spec.slice(0, at), spec.slice(at + 1)];
  }),
]);

/** What one public entry resolves to: sources inside the repository, built files outside it. */
function exportTarget(/** @type {string} */ entry) {
  return {
    [SOURCE_CONDITION]: `./src/${entry}.ts`,
    types: `./dist/${entry}.d.ts`,
    default: `./dist/${entry}.js`,
  };
}

function write(/** @type {string} */ file, /** @type {string | object} */ content) {
  const target = path.join(directory, file);
  mkdirSync(path.dirname(target), { recursive: true });
  writeFileSync(
    target,
    typeof content === 'string' ? content : `${JSON.stringify(content, null, 2)}\n`,
  );
}

const publicName = isPackage
  ? `${SCOPE}/${name}`
  : `${values.in === 'examples' ? 'example' : 'test'}-${name}`;
const manifest = isPackage
  ? {
      name: publicName,
      version: VERSION,
      description: values.summary,
      license: 'MIT',
      type: 'module',
      sideEffects: false,
      engines: { node: '>=20.19.0' },
      ...(values.bin ? { bin: { [values.bin]: `bin/${values.bin}.mjs` } } : {}),
      exports: {
        '.': exportTarget('index'),
        ...Object.fromEntries(
          values.entry.map((entry) => [`./${entry}`, exportTarget(`${entry}/index`)]),
        ),
        './package.json': './package.json',
      },
      files: [...(values.bin ? ['bin'] : []), 'dist', 'src', '!**/*.tsbuildinfo'],
      publishConfig: { access: 'public' },
      scripts: {
        build: 'tsc -b tsconfig.lib.json && tsup',
        typecheck: 'tsc -b',
        test: 'vitest run',
        lint: 'biome check .',
      },
      nx: { tags: [`layer:${layer}`] },
      dependencies,
    }
  : {
      name: publicName,
      version: VERSION,
      private: true,
      description: values.summary,
      license: 'MIT',
      type: 'module',
      engines: { node: '>=20.19.0' },
      scripts: { typecheck: 'tsc -b', test: 'vitest run', lint: 'biome check .' },
      nx: { tags: [`layer:${layer}`] },
      dependencies,
    };
write('package.json', manifest);
write('README.md', `# ${publicName}\n\n${values.summary}\n`);

const siblingReferences = (/** @type {string} */ from) =>
  values.dep.map((dep) => ({ path: `${from}/${dep}/tsconfig.lib.json` }));

if (isPackage) {
  copyFileSync(path.join(root, 'LICENSE'), path.join(directory, 'LICENSE'));
  write('tsconfig.json', {
    files: [],
    references: [{ path: './tsconfig.lib.json' }, { path: './tsconfig.test.json' }],
  });
  write('tsconfig.lib.json', {
    extends: '../../tsconfig.base.json',
    compilerOptions: { rootDir: 'src', outDir: 'dist', tsBuildInfoFile: 'dist/.tsbuildinfo' },
    include: ['src'],
    references: siblingReferences('..'),
  });
  write('tsconfig.test.json', {
    extends: '../../tsconfig.base.json',
    compilerOptions: {
      rootDir: '.',
      outDir: 'out-tsc/test',
      tsBuildInfoFile: 'out-tsc/test/.tsbuildinfo',
      isolatedDeclarations: false,
    },
    include: ['test', 'bench', 'soak', '*.config.ts'],
    references: [{ path: './tsconfig.lib.json' }, ...siblingReferences('..')],
  });
  write(
    'tsup.config.ts',
    `import { defineConfig } from 'tsup';

// Emits the JavaScript only; the declarations come from \`tsc -b tsconfig.lib.json\`, hence no dts and no clean.
export default defineConfig({
  entry: [${entries.map((entry) => `'src/${entry}.ts'`).join(', ')}],
  format: ['esm'],
  target: 'node20',
  platform: 'node',
  dts: false,
  sourcemap: true,
  clean: false,
  silent: true,
  tsconfig: 'tsconfig.lib.json',
});
`,
  );
  for (const entry of entries.filter((entry) => entry !== 'main')) {
    const label = entry === 'index' ? publicName : `${publicName}/${path.dirname(entry)}`;
    write(
      `src/${entry}.ts`,
      values.bin && entry === 'index'
        ? `/**\n * ${values.summary}\n *\n * @packageDocumentation\n */\nexport { main } from './main.js';\n`
        : `/**\n * ${entry === 'index' ? values.summary : `The public entry \`${label}\`.`}\n *\n * @packageDocumentation\n */\nexport {};\n`,
    );
  }
  if (values.entry.length > 0) {
    write('typedoc.json', { entryPoints: entries.map((entry) => `src/${entry}.ts`) });
  }
  if (values.bin) {
    write(
      'src/main.ts',
      `/**
 * Runs the \`${values.bin}\` command line.
 *
 * @param argv - the arguments after the program's name
 * @returns the exit code
 */
export async function main(argv: readonly string[]): Promise<number> {
  process.stderr.write(\`${values.bin}: unknown command \${argv[0] ?? '(none)'}\\n\`);
  return 2;
}
`,
    );
    write(
      `bin/${values.bin}.mjs`,
      `#!/usr/bin/env node
// The \`${values.bin}\` command. Committed (npm links only files that exist at install time); it only starts dist/main.js.
import { existsSync } from 'node:fs';

const built = new URL('../dist/main.js', import.meta.url);
if (existsSync(built)) {
  const { main } = await import(built.href);
  process.exitCode = await main(process.argv.slice(2));
} else {
  process.stderr.write('${values.bin} is not built yet: run \`npm run build\` at the root of the repository first.\\n');
  process.exitCode = 70;
}
`,
    );
  }
} else {
  write('tsconfig.json', {
    extends: '../../tsconfig.base.json',
    compilerOptions: {
      rootDir: '.',
      outDir: 'out-tsc',
      tsBuildInfoFile: 'out-tsc/.tsbuildinfo',
      isolatedDeclarations: false,
    },
    include: ['src', 'test', 'bench', 'soak', '*.config.ts'],
    references: siblingReferences('../../packages'),
  });
}

write(
  'vitest.config.ts',
  `import { defineProject } from 'vitest/config';

// The source condition makes sibling packages resolve to their sources, so nothing has to be built first.
const conditions = ['${SOURCE_CONDITION}'];

export default defineProject({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: { name: '${name}', include: ['test/**/*.test.ts'], testTimeout: 20_000 },
});
`,
);

const workspaces = ['packages', 'examples', 'tests']
  .filter((group) => existsSync(path.join(root, group)))
  .flatMap((group) => readdirSync(path.join(root, group)).map((entry) => `${group}/${entry}`))
  .filter((workspace) => existsSync(path.join(root, workspace, 'tsconfig.json')))
  .sort();
if (existsSync(path.join(root, 'tools/tsconfig.json'))) workspaces.push('tools');
writeFileSync(
  path.join(root, 'tsconfig.json'),
  `${JSON.stringify({ files: [], references: workspaces.map((workspace) => ({ path: `./${workspace}` })) }, null, 2)}\n`,
);
console.log(
  `created ${values.in}/${name}; next: npm install --ignore-scripts && npx biome check --write ${values.in}/${name}`,
);

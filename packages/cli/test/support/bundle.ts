/** The program with everything it needs in one folder, for tests that run it where the checkout cannot be read. */
import path from 'node:path';
import { build } from 'tsup';

const PACKAGE = path.resolve(import.meta.dirname, '../..');

/** Writes `main.js` and its parts, built from the sources, into a folder. */
export async function bundleProgram(outDir: string): Promise<void> {
  await build({
    config: false,
    entry: [path.join(PACKAGE, 'src/main.ts')],
    outDir,
    format: ['esm'],
    outExtension: () => ({ js: '.js' }),
    target: 'node20',
    platform: 'node',
    noExternal: [/./],
    silent: true,
    dts: false,
    tsconfig: path.join(PACKAGE, 'tsconfig.lib.json'),
    // Libraries in CommonJS ask for Node's own modules with a `require` that ES modules do not have.
    banner: {
      js: "import { createRequire as requireFor } from 'node:module';\nconst require = requireFor(import.meta.url);",
    },
    esbuildOptions: (options) => {
      options.conditions = ['@aim-gpu/source'];
    },
  });
}

/**
 * Runs a piece of a program as a user without privileges: root reads everything, so what such a user sees has to be
 * asked as one. A child process of root becomes nobody; of any other user it stays who it is.
 */
import { execFileSync } from 'node:child_process';
import path from 'node:path';

/** The user "nobody". */
const NOBODY = 65_534;

/**
 * Runs `body`, the body of an async function that gets this package's exports as `rocm` and core's as `core`, and
 * returns what it returns, as JSON. It must need nothing but files that everybody may read.
 */
export function asNobody(body: string): unknown {
  const script = [
    `const core = await import(${JSON.stringify(source('../../../core/src/index.ts'))});`,
    `const rocm = await import(${JSON.stringify(source('../../src/index.ts'))});`,
    // After loading: the checkout itself may be where nobody else can read.
    `if (process.getuid() === 0) { process.setgroups([]); process.setgid(${NOBODY}); process.setuid(${NOBODY}); }`,
    `const result = await (async () => { ${body} })();`,
    'process.stdout.write(JSON.stringify(result));',
  ].join('\n');
  const text = execFileSync(
    process.execPath,
    ['--conditions=@aim-gpu/source', '--import', 'tsx', '--input-type=module', '--eval', script],
    {
      cwd: path.resolve(import.meta.dirname, '../..'),
      encoding: 'utf8',
    },
  );
  return JSON.parse(text);
}

function source(file: string): string {
  return new URL(file, import.meta.url).href;
}

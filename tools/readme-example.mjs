// Runs the example of a package's README, so that no README shows code that does not work. The example is the first
// block fenced as ```ts example; the first block fenced as ```text output after it holds what it must print.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { runCommand } from './run-command.mjs';

const TIMEOUT_MS = 60_000;

/** @type {typeof import('./readme-example.d.mts').extractReadmeExample} */
export function extractReadmeExample(markdown) {
  const example = /^```ts example\n([\s\S]*?)^```$/m.exec(markdown);
  if (!example) throw new Error('the README has no block fenced as ```ts example');
  const rest = markdown.slice(example.index + example[0].length);
  const output = /^```text output\n([\s\S]*?)^```$/m.exec(rest);
  if (!output)
    throw new Error('the README has no block fenced as ```text output after its example');
  return { code: example[1] ?? '', expectedLines: toLines(output[1] ?? '') };
}

/** @type {typeof import('./readme-example.d.mts').runReadmeExample} */
export async function runReadmeExample(packageDirectory) {
  const { code, expectedLines } = extractReadmeExample(
    readFileSync(path.join(packageDirectory, 'README.md'), 'utf8'),
  );
  // Inside the package (git ignores the name), so that its imports resolve as a user's would.
  const directory = mkdtempSync(path.join(packageDirectory, '.readme-example-'));
  try {
    const file = path.join(directory, 'example.ts');
    writeFileSync(file, code);
    const { code: exitCode, output } = await runCommand(
      process.execPath,
      ['--conditions=@aim-gpu/source', '--import', import.meta.resolve('tsx'), file],
      {
        capture: true,
        cwd: packageDirectory,
        timeoutMs: TIMEOUT_MS,
        env: { NO_COLOR: '1', FORCE_COLOR: undefined },
      },
    );
    return { exitCode, lines: toLines(output), expectedLines };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** @param {string} text */
function toLines(text) {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => line.trimEnd());
}

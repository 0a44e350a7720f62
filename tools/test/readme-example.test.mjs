import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { extractReadmeExample, runReadmeExample } from '../readme-example.mjs';

const fence = '```';
const readme = (/** @type {string} */ code, /** @type {string} */ output) =>
  `# x\n\n${fence}ts\nignored();\n${fence}\n\n${fence}ts example\n${code}\n${fence}\n\nIt prints\n\n${fence}text output\n${output}\n${fence}\n`;

function packageWith(/** @type {string} */ text) {
  const directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-readme-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  writeFileSync(path.join(directory, 'package.json'), '{"type":"module"}');
  writeFileSync(path.join(directory, 'README.md'), text);
  return directory;
}

test('extracts the marked blocks and not other ones', () => {
  expect(extractReadmeExample(readme('a();\nb();', 'one\ntwo'))).toEqual({
    code: 'a();\nb();\n',
    expectedLines: ['one', 'two'],
  });
});

test('says which block is missing', () => {
  expect(() => extractReadmeExample('# x\n')).toThrow(/ts example/);
  expect(() => extractReadmeExample(`${fence}ts example\na();\n${fence}\n`)).toThrow(/text output/);
});

test('runs the example and leaves nothing behind', async () => {
  const directory = packageWith(readme("const x: string = 'one';\nconsole.log(x);", 'one'));
  expect(await runReadmeExample(directory)).toEqual({
    exitCode: 0,
    lines: ['one'],
    expectedLines: ['one'],
  });
  expect(readdirSync(directory).sort()).toEqual(['README.md', 'package.json']);
});

test('an example that throws does not end with 0 and shows why', async () => {
  const { exitCode, lines } = await runReadmeExample(
    packageWith(readme("throw new Error('boom');", 'x')),
  );
  expect(exitCode).toBe(1);
  expect(lines.join('\n')).toContain('boom');
});

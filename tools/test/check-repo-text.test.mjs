import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { checkRepositoryText } from '../check-repo-text.mjs';

function repositoryWith(/** @type {Record<string, string>} */ files) {
  const directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-text-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  execFileSync('git', ['init', '-q', directory]);
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(directory, file)), { recursive: true });
    writeFileSync(path.join(directory, file), text);
    execFileSync('git', ['add', file], { cwd: directory });
  }
  return directory;
}

test.each([
  ['a machine path', `/ro${'ot'}/models/x.gguf`, 'a path of one machine'],
  ['a quoted machine path', `'${['', 'ho'].join('/')}me/me/x'`, 'a path of one machine'],
  ['a registry host', `https://registry.npm${'js'}.org/x`, 'the host of a package registry'],
  ['a note', `// TO${'DO'}: later`, 'a note of unfinished work'],
])('refuses %s and names the line', (_, line, what) => {
  expect(checkRepositoryText(repositoryWith({ 'src/a.ts': `fine\n${line}\n` }))).toEqual([
    `src/a.ts:2: ${what}`,
  ]);
});

test('leaves alone captures, routes, sysfs paths and links', () => {
  const repository = repositoryWith({
    'test/fixtures/tool-1/out.txt': `# TO${'DO'} of the tool's author\n`,
    'src/a.ts':
      "const card = '/sys/class/drm/card0';\n// https://example.org/home/page\nfetch('/v1/models');\n",
    'data.bin': '\0\x01',
  });
  expect(checkRepositoryText(repository)).toEqual([]);
});

test('only tracked files count', () => {
  const repository = repositoryWith({ 'a.ts': 'fine\n' });
  writeFileSync(path.join(repository, 'b.ts'), `// TO${'DO'}\n`);
  expect(checkRepositoryText(repository)).toEqual([]);
});

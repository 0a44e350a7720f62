#!/usr/bin/env node
// Refuses text that must not be committed: paths of somebody's machine, hosts of package registries, and notes of
// unfinished work. Looks at the files git tracks. Reads only. `node tools/check-repo-text.mjs [root]`
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** Written in pieces so that this file passes its own check. */
const RULES = [
  {
    what: 'a path of one machine',
    // Neither inside a word nor a URL, nor a route such as /home in a longer path.
    pattern: new RegExp(
      String.raw`(?<![\w./:@-])/(?:wo${'rk'}|ro${'ot'}|ho${'me'}|Us${'ers'}|mn${'t'})/[\w.-]+`,
    ),
  },
  {
    what: 'the host of a package registry',
    pattern: new RegExp(
      String.raw`registry\.(?:npm${'js'}|yarn${'pkg'}|npm${'mirror'})|\b(?:artifactory|nexus|verdaccio)\.[\w-]+\.\w+|npm\.pkg\.github`,
    ),
  },
  {
    what: 'a note of unfinished work',
    pattern: new RegExp(String.raw`\b(?:TO${'DO'}|FIX${'ME'}|X${'XX'})\b`),
  },
];
/** True captures of other programs' output and data of others keep what their origin wrote. */
const CAPTURES = /(^|\/)(fixtures|data|catalogue)\//;
const LOCK = /(^|\/)package-lock\.json$/;

/**
 * Every line that breaks a rule, as `file:line: what`.
 *
 * @param {string} root
 * @returns {string[]}
 */
export function checkRepositoryText(root) {
  const tracked = execFileSync('git', ['ls-files', '-z'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  return tracked
    .split('\0')
    .filter((file) => file !== '' && !CAPTURES.test(file))
    .filter((file) => existsSync(path.join(root, file)) && statSync(path.join(root, file)).isFile())
    .flatMap((file) => checkFile(file, readFileSync(path.join(root, file), 'utf8')));
}

/**
 * @param {string} file
 * @param {string} text
 */
function checkFile(file, text) {
  if (text.includes('\0')) return [];
  const rules = LOCK.test(file) ? RULES.slice(1, 2) : RULES;
  return text
    .split('\n')
    .flatMap((line, index) =>
      rules
        .filter(({ pattern }) => pattern.test(line))
        .map(({ what }) => `${file}:${index + 1}: ${what}`),
    );
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const findings = checkRepositoryText(
    path.resolve(process.argv[2] ?? path.join(import.meta.dirname, '..')),
  );
  for (const finding of findings) console.error(finding);
  console.log(findings.length === 0 ? 'text: no violation' : `text: ${findings.length} violations`);
  process.exitCode = findings.length === 0 ? 0 : 1;
}

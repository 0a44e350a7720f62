#!/usr/bin/env node
// Gets llama-server (llama.cpp) for tests that want a real inference server: Debian sid's package with everything it
// needs, unpacked into a tree of its own in a cache directory outside the checkout. Nothing of this machine is
// upgraded: apt runs with a private state. Needs root, apt, dpkg and a network once; afterwards only the tree.
//
//   node tools/get-llama-server.mjs [--cache DIR]     prints {"tree","version"} as JSON
//
// The cache is $AIM_GPU_CACHE_DIR, else $XDG_CACHE_HOME/aim-gpu, else ~/.cache/aim-gpu. Exit code 75 and one line on
// stderr when it cannot be had on this machine. Tests call `getLlamaServer()` and start it by tools/llama-server.mjs.
import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';

/** Exit code of integration tests whose component cannot be had here (tools/test-integration.mjs). */
export const UNAVAILABLE = 75;
const SUITE = 'sid';
const PACKAGE = 'llama.cpp-tools';
const PROGRAM = 'usr/bin/llama-server';
const TIMEOUT_MS = 180_000;
const run = promisify(execFile);

/**
 * @typedef {{ ok: true, tree: string, version: string }} Got
 * @typedef {{ ok: false, reason: string }} NotHad
 */

/** Where trees of other suites are kept, outside any checkout. */
export function cacheDirectory() {
  const given = process.env['AIM_GPU_CACHE_DIR'];
  if (given) return path.resolve(given);
  return path.join(process.env['XDG_CACHE_HOME'] || path.join(homedir(), '.cache'), 'aim-gpu');
}

/**
 * The tree with llama-server, unpacked on the first call; later calls only look. Several callers at once are fine:
 * each unpacks beside the others and the first to finish is kept.
 *
 * @param {{ cache?: string }} [options]
 * @returns {Promise<Got | NotHad>}
 */
export async function getLlamaServer(options = {}) {
  const cache = options.cache ?? cacheDirectory();
  const tree = path.join(cache, 'llama-server');
  if (existsSync(path.join(tree, PROGRAM))) return { ok: true, tree, version: versionOf(tree) };
  if (process.platform !== 'linux')
    return cannot(`it comes from Debian, this is ${process.platform}`);
  if (process.getuid?.() !== 0)
    return cannot('unpacking and running it in its own root needs root');
  for (const tool of ['apt-get', 'dpkg-deb', 'tar', 'unshare', 'setpriv', 'chroot']) {
    if (!isOnPath(tool)) return cannot(`this machine has no ${tool}`);
  }
  mkdirSync(cache, { recursive: true });
  const partial = mkdtempSync(path.join(cache, 'llama-server-'));
  const state = mkdtempSync(path.join(tmpdir(), 'aim-gpu-apt-'));
  try {
    const version = await unpack(partial, state);
    writeFileSync(path.join(partial, 'VERSION'), `${version}\n`);
    try {
      renameSync(partial, tree);
    } catch (error) {
      if (!existsSync(path.join(tree, PROGRAM))) throw error;
    }
    return { ok: true, tree, version: versionOf(tree) };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return cannot(text.trim().split('\n').slice(-2).join(' '));
  } finally {
    rmSync(state, { recursive: true, force: true });
    rmSync(partial, { recursive: true, force: true });
  }
}

/**
 * Downloads the package with all it depends on and unpacks them; resolves with the package's version.
 *
 * @param {string} tree
 * @param {string} state
 */
async function unpack(tree, state) {
  const archives = path.join(state, 'cache/archives');
  for (const directory of ['state/lists/partial', 'cache/archives/partial'])
    mkdirSync(path.join(state, directory), { recursive: true });
  // Nothing counts as installed, so that the tree gets its own C library too.
  writeFileSync(path.join(state, 'status'), '');
  writeFileSync(path.join(state, 'suite.sources'), suiteSources());
  writeFileSync(
    path.join(state, 'apt.conf'),
    [
      `Dir::Etc::sourcelist "${state}/suite.sources";`,
      'Dir::Etc::sourceparts "/dev/null";',
      'Dir::Etc::preferencesparts "/dev/null";',
      `Dir::State "${state}/state";`,
      `Dir::State::status "${state}/status";`,
      `Dir::Cache "${state}/cache";`,
      'APT::Sandbox::User "root";',
      'Acquire::Retries "1";',
      'Acquire::http::Timeout "20";',
      '',
    ].join('\n'),
  );
  const options = {
    env: { ...process.env, APT_CONFIG: path.join(state, 'apt.conf'), LC_ALL: 'C' },
    timeout: TIMEOUT_MS,
    maxBuffer: 2 ** 26,
  };
  await run('apt-get', ['update', '-q'], options);
  const install = ['install', '-qyd', '--no-install-recommends', PACKAGE];
  await run('apt-get', install, options);
  for (const directory of ['lib', 'lib64', 'bin', 'sbin']) {
    mkdirSync(path.join(tree, 'usr', directory), { recursive: true });
    symlinkSync(`usr/${directory}`, path.join(tree, directory));
  }
  for (const directory of ['proc', 'dev', 'sys', 'tmp', 'models'])
    mkdirSync(path.join(tree, directory));
  const files = readdirSync(archives).filter((name) => name.endsWith('.deb'));
  let version = 'unknown';
  for (const name of files) {
    const file = path.join(archives, name);
    const tar = path.join(state, 'data.tar');
    await run('sh', ['-c', 'dpkg-deb --fsys-tarfile "$1" > "$2"', 'sh', file, tar], options);
    await run('tar', ['-x', '-f', tar, '-C', tree, '--keep-directory-symlink'], options);
    if (name.startsWith(`${PACKAGE}_`))
      version = (await run('dpkg-deb', ['-f', file, 'Version'], options)).stdout.trim();
  }
  if (!existsSync(path.join(tree, PROGRAM)))
    throw new Error(`${PACKAGE} ${version} of ${SUITE} has no ${PROGRAM}`);
  return version;
}

/** This machine's own Debian mirror and keyring, with another suite. */
function suiteSources() {
  const modern = '/etc/apt/sources.list.d/debian.sources';
  if (existsSync(modern)) {
    const first =
      readFileSync(modern, 'utf8')
        .trim()
        .split(/\n\s*\n/)[0] ?? '';
    return `${first.replace(/^Suites:.*$/m, `Suites: ${SUITE}`)}\n`;
  }
  const old = '/etc/apt/sources.list';
  const line = existsSync(old)
    ? readFileSync(old, 'utf8')
        .split('\n')
        .find((entry) => /^deb\s.*debian/.test(entry) && !/security/.test(entry))
    : undefined;
  if (line === undefined) throw new Error('this machine has no Debian mirror in its apt sources');
  const [, uri] = /^deb\s+(?:\[[^\]]*\]\s+)?(\S+)/.exec(line) ?? [];
  return [
    'Types: deb',
    `URIs: ${uri}`,
    `Suites: ${SUITE}`,
    'Components: main',
    'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg',
    '',
  ].join('\n');
}

function versionOf(/** @type {string} */ tree) {
  const file = path.join(tree, 'VERSION');
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : 'unknown';
}

function isOnPath(/** @type {string} */ program) {
  const places = (process.env['PATH'] ?? '').split(':').concat('/usr/sbin', '/sbin');
  return places.some((place) => {
    const file = path.join(place, program);
    return existsSync(file) && statSync(file).isFile();
  });
}

/** @returns {NotHad} */
function cannot(/** @type {string} */ why) {
  return { ok: false, reason: `llama-server cannot be had here: ${why}` };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { cache: { type: 'string' } } });
  const got = await getLlamaServer(values.cache === undefined ? {} : { cache: values.cache });
  if (got.ok) {
    console.log(JSON.stringify({ tree: got.tree, version: got.version }));
  } else {
    console.error(got.reason);
    process.exitCode = UNAVAILABLE;
  }
}

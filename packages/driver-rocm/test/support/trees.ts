/**
 * Trees in a temporary directory: from the captures under fixtures/, or put together by a test.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

// POSIX; Node itself makes none.
const MAKE_PIPE = 'mkfifo';
const NODES = 'sys/class/kfd/kfd/topology/nodes';

/** A tree of files. */
export interface TestTree {
  readonly root: string;
  write(file: string, content: string | Uint8Array): void;
  link(file: string, target: string): void;
  /** Makes a named pipe, which has no writer. */
  pipe(file: string): void;
  readFile(file: string): string;
  removeFile(file: string): void;
  remove(): void;
}

/** An empty tree. */
export function createTree(): TestTree {
  // In memory where that can be: a node is hundreds of files.
  const base = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  const root = mkdtempSync(path.join(base, 'aim-gpu-rocm-'));
  const at = (file: string): string => {
    const full = path.join(root, file);
    mkdirSync(path.dirname(full), { recursive: true });
    return full;
  };
  return {
    root,
    write: (file, content) => writeFileSync(at(file), content),
    link: (file, target) => symlinkSync(target, at(file)),
    pipe: (file) => void execFileSync(MAKE_PIPE, [at(file)]),
    readFile: (file) => readFileSync(path.join(root, file), 'utf8'),
    removeFile: (file) => rmSync(path.join(root, file), { recursive: true, force: true }),
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}

/** Text of a capture. */
export function capture(name: string): string {
  return readFileSync(path.join(import.meta.dirname, '../fixtures', name), 'utf8');
}

/** The KFD topology of capture 09: 8 MI300X in CPX. */
export function writeTopology(tree: TestTree): void {
  const parts = capture('09-kfd-topology-mi300x-cpx-all-nodes.txt').split(/^### /m).slice(1);
  for (const part of parts) {
    const end = part.indexOf('\n');
    tree.write(`sys/class/kfd/kfd/topology/${part.slice(0, end).trim()}`, part.slice(end + 1));
  }
}

/** The memory bank of capture 21 on a node of the topology. */
export function writeBank(tree: TestTree, node: number): void {
  const [, ...lines] = capture('21-kfd-membanks-mi300x-cpx-nps1.txt').split('\n');
  tree.write(`${NODES}/${node}/mem_banks/0/properties`, lines.join('\n'));
}

/** The platform device of capture 23: names only, so every leaf becomes an empty file. */
export function writePlatformDevice(tree: TestTree): void {
  const paths = capture('23-sysfs-find-amdgpu_xcp-dot-excerpt.txt').trim().split('\n');
  for (const file of paths)
    if (!paths.some((other) => other.startsWith(`${file}/`))) tree.write(file.slice(1), '');
}

/** The partition files of capture 26, of card 0000:05:00.0. */
export function writePartitionFiles(tree: TestTree): void {
  const blocks = capture('26-sysfs-partition-files-mi300x-spx.txt')
    .split(/^cat \//m)
    .slice(1);
  for (const block of blocks) {
    const [file = '', ...lines] = block.split('\n');
    tree.write(file.trim(), `${lines.join('\n').trim()}\n`);
  }
}

/** A program below the tree, as a shell script. */
export function writeProgram(tree: TestTree, file: string, script: string, mode = 0o755): void {
  tree.write(file, `#!/bin/sh\n${script}\n`);
  chmodSync(path.join(tree.root, file), mode);
}

/** An amd-smi that prints captures: the addresses of 39, the tables of 37. */
export function writeAmdSmi(tree: TestTree): void {
  const fixture = (name: string): string => path.join(import.meta.dirname, '../fixtures', name);
  writeProgram(
    tree,
    'usr/bin/amd-smi',
    [
      'case "$1" in',
      `list) cat '${fixture('39-amd-smi-uuid-by-bdf-mi355x.json')}' ;;`,
      `partition) cat '${fixture('37-amd-smi-partition-json-mi355x-8gpu.json')}' ;;`,
      `process) echo '[{"gpu": 0, "process_list": [{"process_info": {"name": "secret-model", "pid": 77}}]}]' ;;`,
      `*) echo '[{"tool": "AMDSMI Tool", "version": "26.0.2"}]' ;;`,
      'esac',
    ].join('\n'),
  );
}

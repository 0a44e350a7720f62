/**
 * The file port on what a host, or a broken recording, can hold. Every answer is a value.
 */
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { linkName, namesIn, textOf } from '../src/file-tree.js';
import { createHostFiles } from '../src/host-files.js';
import { createTree, type TestTree } from './support/trees.js';

let tree: TestTree;
beforeEach(() => {
  tree = createTree();
});
afterEach(() => tree.remove());

describe('read', () => {
  const ANSWERS: readonly (readonly [string, () => void, object])[] = [
    ['a file', () => tree.write('f', 'SPX\n'), { kind: 'text', text: 'SPX\n' }],
    ['CRLF as it is', () => tree.write('f', 'a 1\r\n'), { kind: 'text', text: 'a 1\r\n' }],
    ['an empty file', () => tree.write('f', ''), { kind: 'text', text: '' }],
    ['no file', () => undefined, { kind: 'absent' }],
    ['a dangling link', () => tree.link('f', 'gone'), { kind: 'absent' }],
    ['a directory', () => tree.write('f/x', ''), { kind: 'unreadable', reason: 'EISDIR' }],
    ['a link to itself', () => tree.link('f', 'f'), { kind: 'unreadable', reason: 'ELOOP' }],
    [
      'binary content',
      () => tree.write('f', new Uint8Array([65, 0, 255])),
      { kind: 'unreadable', reason: 'binary content' },
    ],
    [
      '1 MiB',
      () => tree.write('f', 'x'.repeat(2 ** 20)),
      { kind: 'unreadable', reason: 'larger than 262144 bytes' },
    ],
  ];

  it.each(ANSWERS)('%s', async (_, make, answer) => {
    make();
    expect(await createHostFiles(tree.root).read('f')).toEqual(answer);
  });

  it('a file below a file is absent', async () => {
    tree.write('f', '');
    expect(await createHostFiles(tree.root).read('f/x')).toEqual({ kind: 'absent' });
  });

  it('a file that vanishes after it was listed is absent', async () => {
    tree.write('d/f', 'x');
    const files = createHostFiles(tree.root);
    expect(await files.list('d')).toEqual({ kind: 'names', names: ['f'] });
    tree.remove();
    expect(await files.read('d/f')).toEqual({ kind: 'absent' });
    expect(await files.list('d')).toEqual({ kind: 'absent' });
  });

  it('a file outside sysfs is read to its end, whatever pieces it comes in', async () => {
    const text = 'x'.repeat(20_000);
    tree.write('proc/1/maps', text);
    tree.write('sys/f', text);
    const files = createHostFiles(tree.root);
    expect(await files.read('proc/1/maps')).toEqual({ kind: 'text', text });
    expect(await files.read('sys/f')).toEqual({ kind: 'text', text });
  });

  it('of a file of any size the head', async () => {
    tree.write('f', 'ab'.repeat(2 ** 20));
    expect(await createHostFiles(tree.root).readHead('f')).toEqual({
      kind: 'text',
      text: 'ab'.repeat(4096),
    });
  });
});

describe('list and linkTarget', () => {
  it('sort names, and tell a link as it is written', async () => {
    tree.write('d/b', '');
    tree.write('d/a', '');
    tree.link('d/c', '/dev/dri/renderD128');
    const files = createHostFiles(tree.root);
    expect(await namesIn(files, 'd')).toEqual(['a', 'b', 'c']);
    expect(await files.list('d/a')).toEqual({ kind: 'absent' });
    expect(await namesIn(files, 'd/a')).toEqual([]);
    expect(await files.linkTarget('d/c')).toBe('/dev/dri/renderD128');
    expect(await linkName(files, 'd/c')).toBe('renderD128');
    expect(await linkName(files, 'd/a')).toBeNull();
    expect(await files.linkTarget(path.join('d', 'none'))).toBeNull();
  });
});

describe('write and access', () => {
  it('writes what exists, whole, and creates nothing', async () => {
    tree.write('f', 'CAPPING\n');
    const files = createHostFiles(tree.root);
    expect(await files.write('f', 'ALL')).toBeNull();
    expect(await textOf(files, 'f')).toBe('ALL');
    expect(await files.write('none', 'ALL')).toBe('ENOENT');
    expect(await files.list('.')).toEqual({ kind: 'names', names: ['f'] });
    tree.write('d/x', '');
    expect(await files.write('d', 'ALL')).toBe('EISDIR');
  });

  it('knows who may use a file', async () => {
    tree.write('f', '');
    const files = createHostFiles(tree.root);
    expect(await files.access('f')).toMatchObject({ usable: true, uid: process.getuid?.() });
    expect(await files.access('none')).toBeNull();
  });
});

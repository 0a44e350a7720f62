/**
 * The file port on what a host, or a broken recording, can hold. Every answer is a value.
 */
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFileTree } from '../src/file-tree.js';
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
    expect(await createFileTree(tree.root).read('f')).toEqual(answer);
  });

  it('a file below a file is absent', async () => {
    tree.write('f', '');
    expect(await createFileTree(tree.root).read('f/x')).toEqual({ kind: 'absent' });
  });

  it('a file that vanishes after it was listed is absent', async () => {
    tree.write('d/f', 'x');
    const files = createFileTree(tree.root);
    expect(await files.list('d')).toEqual(['f']);
    tree.remove();
    expect(await files.read('d/f')).toEqual({ kind: 'absent' });
    expect(await files.list('d')).toEqual([]);
  });
});

describe('list and linkName', () => {
  it('sort names, and know the last component of a link only', async () => {
    tree.write('d/b', '');
    tree.write('d/a', '');
    tree.link('d/c', '/dev/dri/renderD128');
    const files = createFileTree(tree.root);
    expect(await files.list('d')).toEqual(['a', 'b', 'c']);
    expect(await files.list('d/a')).toEqual([]);
    expect(await files.linkName('d/c')).toBe('renderD128');
    expect(await files.linkName('d/a')).toBeNull();
    expect(await files.linkName(path.join('d', 'none'))).toBeNull();
  });
});

/**
 * The file port over a capture, and a file port that notes what it is asked. Together they make a capture complete by
 * construction: it holds every answer that reading the host took. A capture is read-only.
 */
import type { FileAccess, FileNames, FileText, FileTree } from '../file-tree.js';
import type { Capture } from './capture.js';

/** The files of a capture. Writing gives `EROFS`. */
export function createCaptureFiles(
  capture: Pick<Capture, 'files' | 'unreadable' | 'lists' | 'links' | 'access'>,
): FileTree {
  const { files, unreadable, lists, links, access } = capture;
  const failure = (
    file: string,
  ): { readonly kind: 'absent' } | { readonly kind: 'unreadable'; readonly reason: string } => {
    const reason = unreadable[file];
    return reason === undefined ? { kind: 'absent' } : { kind: 'unreadable', reason };
  };
  const read = (file: string): Promise<FileText> => {
    const text = files[file];
    return Promise.resolve(text === undefined ? failure(file) : { kind: 'text', text });
  };
  return {
    read,
    readHead: read,
    list: (directory) => {
      const names = lists[directory];
      return Promise.resolve(names === undefined ? failure(directory) : { kind: 'names', names });
    },
    linkTarget: (file) => Promise.resolve(links[file] ?? null),
    access: (file) => Promise.resolve(access[file] ?? null),
    write: () => Promise.resolve('EROFS'),
  };
}

/** Answers as they are noted. */
export interface NotedAnswers {
  readonly files: Record<string, string>;
  readonly unreadable: Record<string, string>;
  readonly lists: Record<string, readonly string[]>;
  readonly links: Record<string, string>;
  readonly access: Record<string, FileAccess>;
}

/** A file port that notes every answer of another one. It writes nothing. */
export function createNotingFiles(tree: FileTree): {
  readonly tree: FileTree;
  readonly noted: NotedAnswers;
} {
  const noted: NotedAnswers = { files: {}, unreadable: {}, lists: {}, links: {}, access: {} };
  const note = <T extends FileText | FileNames>(file: string, answer: T): T => {
    if (answer.kind === 'text') noted.files[file] = answer.text;
    if (answer.kind === 'names') noted.lists[file] = answer.names;
    if (answer.kind === 'unreadable') noted.unreadable[file] = answer.reason;
    return answer;
  };
  return {
    noted,
    tree: {
      read: async (file) => note(file, await tree.read(file)),
      readHead: async (file) => note(file, await tree.readHead(file)),
      list: async (directory) => note(directory, await tree.list(directory)),
      linkTarget: async (file) => {
        const target = await tree.linkTarget(file);
        if (target !== null) noted.links[file] = target;
        return target;
      },
      access: async (file) => {
        const found = await tree.access(file);
        if (found !== null) noted.access[file] = found;
        return found;
      },
      write: () => Promise.resolve('EROFS'),
    },
  };
}

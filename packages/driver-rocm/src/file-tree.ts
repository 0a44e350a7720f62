/**
 * Inner port: the files of a host under a root directory, so that the same code reads a machine, a recorded tree and a
 * simulated one. Absent is an answer, everything else that goes wrong is a reason; nothing throws. Types only.
 */

/** Text of a file, or why there is none. `absent` covers a missing file and a missing directory. */
export type FileText =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'absent' }
  | { readonly kind: 'unreadable'; readonly reason: string };

/** Names in a directory, sorted, or why there are none. */
export type FileNames =
  | { readonly kind: 'names'; readonly names: readonly string[] }
  | { readonly kind: 'absent' }
  | { readonly kind: 'unreadable'; readonly reason: string };

/** What a write came to: `null` is success, else the errno (`EBUSY`, `EACCES`, …). */
export type WriteOutcome = string | null;

/** Who may do what with a file, and who is asking. */
export interface FileAccess {
  /** Whether this process may open it for reading and writing. */
  readonly usable: boolean;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Files under a root; paths are relative to it and never start with a slash. */
export interface FileTree {
  /** Reads a small text file; one too large or binary is `unreadable`. */
  read(file: string): Promise<FileText>;
  /** Reads no more than the first few KiB of a file of any size, such as `proc/cpuinfo`. */
  readHead(file: string): Promise<FileText>;
  /** Lists a directory; what cannot be listed says why. */
  list(directory: string): Promise<FileNames>;
  /** Target of a symbolic link as it is written; null where there is none. */
  linkTarget(file: string): Promise<string | null>;
  /** Rights on a file of any kind; null when it is not there or its directory may not be searched. */
  access(file: string): Promise<FileAccess | null>;
  /** Writes text to a file that exists, in one go, as sysfs wants it. Creates nothing. */
  write(file: string, text: string): Promise<WriteOutcome>;
}

/** Names in a directory; none where it is absent or cannot be listed. */
export async function namesIn(tree: FileTree, directory: string): Promise<readonly string[]> {
  const listed = await tree.list(directory);
  return listed.kind === 'names' ? listed.names : [];
}

/** Last component of a symbolic link's target, or null. */
export async function linkName(tree: FileTree, file: string): Promise<string | null> {
  const target = await tree.linkTarget(file);
  return target === null ? null : (target.split('/').at(-1) ?? null);
}

/** Trimmed text of a file; null where there is none to be read. */
export async function textOf(tree: FileTree, file: string): Promise<string | null> {
  const read = await tree.read(file);
  return read.kind === 'text' ? read.text.trim() : null;
}

/**
 * A directory tree as data: what shall be in it. Owns paths and their kinds; touches no file system.
 */

/** One entry of a tree. */
export type TreeEntry =
  | { readonly kind: 'file'; readonly text: string; readonly mode: number }
  | { readonly kind: 'link'; readonly target: string };

/** Every file and link of a tree by its path, relative and without a leading slash. Directories follow from them. */
export type TreeImage = ReadonlyMap<string, TreeEntry>;

/** Collects a tree. */
export interface TreeBuilder {
  /** Adds a file; a last line feed is added to text that has none and is not empty, as the kernel does. */
  file(path: string, text: string | number, mode?: number): void;
  link(path: string, target: string): void;
  readonly image: TreeImage;
}

/** Mode of files nobody writes. */
const READ_ONLY = 0o444;

/** Starts an empty tree. */
export function createTreeBuilder(): TreeBuilder {
  const image = new Map<string, TreeEntry>();
  return {
    image,
    file: (path, text, mode = READ_ONLY) => {
      const whole = String(text);
      const ended = whole === '' || whole.endsWith('\n') ? whole : `${whole}\n`;
      image.set(path, { kind: 'file', text: ended, mode });
    },
    link: (path, target) => {
      image.set(path, { kind: 'link', target });
    },
  };
}

/** Lines of `name value`, as KFD's properties files have them. */
export function toPropertyLines(properties: Readonly<Record<string, number | bigint>>): string {
  return Object.entries(properties)
    .map(([name, value]) => `${name} ${value}\n`)
    .join('');
}

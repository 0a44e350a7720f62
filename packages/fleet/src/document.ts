/**
 * Fleet text to a plain value in which every part still knows its place. Owns everything about YAML: syntax errors,
 * duplicate keys, anchors, tags, nesting, several documents. It must not know which keys a fleet has.
 */
import {
  Composer,
  type CST,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Node,
  type ParsedNode,
  Parser,
  type Scalar,
} from 'yaml';
import { formatPath, type Issue } from './issue.js';
import { nearestMatch } from './nearest.js';
import { placeAt, type SourceText, type TextRange } from './source-text.js';
import { explainSyntaxErrors } from './yaml-syntax.js';

/** Where a value and its key stand in the text; a list's item has no key. */
export interface Place {
  readonly key: TextRange | null;
  readonly value: TextRange;
}

/** The parsed file: plain values, and the place of each by its way from the root. */
export interface LocatedDocument {
  readonly value: unknown;
  readonly places: ReadonlyMap<string, Place>;
  readonly issues: readonly Issue[];
}

/** Deepest nesting of the file's tokens; the deepest fleet needs a quarter of it. The composer recurses, so this is checked first. */
const DEEPEST = 100;
/** Most values that aliases may expand to: far above any fleet, far below what hurts. */
const MOST_ALIASED = 10_000;

/** The key of a path in {@link LocatedDocument.places}. */
export function pathKey(path: readonly PropertyKey[]): string {
  return JSON.stringify(path.map(String));
}

/** The place of a path, or of the nearest ancestor that has one. */
export function locate(document: LocatedDocument, path: readonly PropertyKey[]): Place {
  for (let length = path.length; length >= 0; length -= 1) {
    const place = document.places.get(pathKey(path.slice(0, length)));
    if (place !== undefined) return place;
  }
  return { key: null, value: { start: 0, end: 0 } };
}

function issueAt(range: TextRange, message: string, hint: string, more?: Partial<Issue>): Issue {
  return { path: '', message, hint, allowed: [], nearest: null, range, ...more };
}

/** Where nesting gets deeper than `limit`, without recursion; null when it never does. */
function tooDeepAt(tokens: readonly CST.Token[], limit: number): number | null {
  const open: { token: CST.Token; depth: number }[] = tokens.map((token) => ({ token, depth: 1 }));
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { token, depth } = next;
    if (depth > limit) return 'offset' in token ? token.offset : 0;
    if (token.type === 'document' && token.value)
      open.push({ token: token.value, depth: depth + 1 });
    if (!('items' in token)) continue;
    for (const item of token.items) {
      if (item.key) open.push({ token: item.key, depth: depth + 1 });
      if (item.value) open.push({ token: item.value, depth: depth + 1 });
    }
  }
  return null;
}

const PLAIN_TAG = /^tag:yaml\.org,2002:(str|int|float|bool|null|map|seq)$/;

/** Stops the walk: what follows could not be trusted or would take too long. */
class WalkStopped extends Error {}

interface Walk {
  readonly document: Document.Parsed;
  readonly source: SourceText;
  readonly places: Map<string, Place>;
  readonly issues: Issue[];
  readonly anchors: Set<string>;
  /** Anchored nodes being expanded, to notice one that contains itself. */
  readonly expanding: Set<Node>;
  /** The outermost alias being expanded, for the place of an error. */
  alias: TextRange | null;
  aliased: number;
}

function rangeOf(node: Node): TextRange {
  const [start, end] = node.range ?? [0, 0];
  return { start, end };
}

function keyText(walk: Walk, key: unknown, path: readonly PropertyKey[]): string | null {
  if (isScalar(key) && key.value !== null && typeof key.value !== 'object') {
    const written = (key as Scalar).source;
    return written ?? String(key.value);
  }
  const range =
    key instanceof Object && 'range' in key ? rangeOf(key as Node) : locateIn(walk, path);
  walk.issues.push(
    issueAt(range, 'a key must be plain text', 'write one word before the colon', {
      path: formatPath(path),
    }),
  );
  return null;
}

function locateIn(walk: Walk, path: readonly PropertyKey[]): TextRange {
  return walk.places.get(pathKey(path))?.value ?? { start: 0, end: 0 };
}

/** The value of a node; its place and those of everything in it are noted on the way. */
function plainValue(
  walk: Walk,
  node: unknown,
  path: readonly PropertyKey[],
  key: TextRange | null,
): unknown {
  if (isAlias(node)) return aliasedValue(walk, node as ParsedNode & { source: string }, path, key);
  if (walk.alias !== null) {
    walk.aliased += 1;
    if (walk.aliased > MOST_ALIASED) {
      const message = `the aliases of this file expand to more than ${MOST_ALIASED} values`;
      walk.issues.push(issueAt(walk.alias, message, 'write the values out where they are needed'));
      throw new WalkStopped();
    }
  }
  const value =
    isScalar(node) || isMap(node) || isSeq(node) ? rangeOf(node) : (key ?? { start: 0, end: 0 });
  walk.places.set(pathKey(path), { key, value });
  if (isScalar(node) || isMap(node) || isSeq(node)) checkTag(walk, node, path);
  if (isSeq(node))
    return node.items.map((item, index) => plainValue(walk, item, [...path, index], null));
  if (isMap(node)) return mappingValue(walk, node.items, path);
  return isScalar(node) ? node.value : null;
}

function checkTag(
  walk: Walk,
  node: Node & { tag?: string | undefined; anchor?: string | undefined },
  path: readonly PropertyKey[],
): void {
  if (node.anchor) walk.anchors.add(node.anchor);
  if (node.tag === undefined || PLAIN_TAG.test(node.tag)) return;
  // A node's range starts behind its tag; the tag itself is what must go.
  const at = walk.source.text.lastIndexOf('!', rangeOf(node).start);
  const range = at === -1 ? rangeOf(node) : { start: at, end: rangeOf(node).start };
  const message = `a fleet file has no tags, but here is ${JSON.stringify(node.tag)}`;
  walk.issues.push(issueAt(range, message, 'remove the tag', { path: formatPath(path) }));
}

function mappingValue(
  walk: Walk,
  pairs: readonly { key: unknown; value: unknown }[],
  path: readonly PropertyKey[],
): Record<string, unknown> {
  const entries = new Map<string, { value: unknown; at: TextRange }>();
  for (const pair of pairs) {
    const name = keyText(walk, pair.key, path);
    if (name === null) continue;
    const at = rangeOf(pair.key as Node);
    const earlier = entries.get(name);
    if (earlier !== undefined) {
      const { line } = placeAt(walk.source, earlier.at.start);
      const message = `the key ${JSON.stringify(name)} stands here a second time; the first is on line ${line}`;
      walk.issues.push(
        issueAt(at, message, 'remove one of the two', { path: formatPath([...path, name]) }),
      );
      continue;
    }
    entries.set(name, { value: plainValue(walk, pair.value, [...path, name], at), at });
  }
  // fromEntries defines own properties, so that a key named __proto__ is a key and nothing more.
  return Object.fromEntries([...entries].map(([name, entry]) => [name, entry.value]));
}

function aliasedValue(
  walk: Walk,
  alias: ParsedNode & { source: string },
  path: readonly PropertyKey[],
  key: TextRange | null,
): unknown {
  const at = rangeOf(alias);
  const target = isAlias(alias) ? alias.resolve(walk.document) : undefined;
  if (target === undefined || walk.expanding.has(target)) {
    const name = JSON.stringify(alias.source);
    const known = [...walk.anchors];
    const nearest = nearestMatch(alias.source, known);
    const self = target !== undefined;
    const message = self
      ? `the alias ${name} stands inside its own anchor`
      : `there is no anchor ${name} before this alias`;
    const fix = nearest === null || self ? 'write the value itself' : `write "*${nearest}"`;
    walk.issues.push(
      issueAt(at, message, fix, {
        path: formatPath(path),
        allowed: known,
        nearest: self ? null : nearest,
      }),
    );
    throw new WalkStopped();
  }
  const outermost = walk.alias === null;
  if (outermost) walk.alias = at;
  walk.expanding.add(target);
  const value = plainValue(walk, target, path, key);
  walk.expanding.delete(target);
  if (outermost) walk.alias = null;
  return value;
}

function walked(source: SourceText, document: Document.Parsed): LocatedDocument {
  const walk: Walk = {
    document,
    source,
    places: new Map(),
    issues: [],
    anchors: new Set(),
    expanding: new Set(),
    alias: null,
    aliased: 0,
  };
  let value: unknown = null;
  try {
    value = plainValue(walk, document.contents, [], null);
  } catch (error) {
    if (!(error instanceof WalkStopped)) throw error;
    value = undefined;
  }
  return { value, places: walk.places, issues: walk.issues };
}

/**
 * Parses the text of a fleet file. `value` is undefined when the issues leave nothing to check further; issues are
 * returned, never thrown.
 */
export function parseDocument(source: SourceText): LocatedDocument {
  const refused = (...issues: Issue[]): LocatedDocument => ({
    value: undefined,
    places: new Map(),
    issues,
  });
  const tokens = [...new Parser().parse(source.text)];
  const deep = tooDeepAt(tokens, DEEPEST);
  if (deep !== null)
    return refused(
      issueAt(
        { start: deep, end: deep + 1 },
        'values are nested too deep here',
        'write the fleet without this nesting',
      ),
    );
  const composer = new Composer({ prettyErrors: false, uniqueKeys: false, logLevel: 'silent' });
  const documents = [...composer.compose(tokens, true, source.text.length)] as Document.Parsed[];
  const syntax = explainSyntaxErrors(
    source,
    documents.flatMap((document) => document.errors),
  );
  if (syntax.length > 0) return refused(...syntax);
  const [first, second] = documents;
  if (second !== undefined) {
    const marker = source.text.indexOf(
      '---',
      second.range[0] === 0 ? 0 : Math.max(0, second.range[0]),
    );
    const start = marker === -1 ? second.range[0] : marker;
    const message = 'a second document begins here; a fleet file is one document';
    return refused(issueAt({ start, end: start + 3 }, message, 'move it to a file of its own'));
  }
  const empty =
    first === undefined ||
    first.contents === null ||
    (isScalar(first.contents) && first.contents.value === null);
  if (empty)
    return refused(
      issueAt(
        { start: 0, end: 0 },
        'the file is empty: it has no keys',
        'begin with "apiVersion: aim-gpu/v1alpha1"',
      ),
    );
  return walked(source, first);
}

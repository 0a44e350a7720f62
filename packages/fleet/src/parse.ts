/**
 * Text or bytes of a fleet file to a Fleet, or the one error that says everything wrong with it. Owns the order of the
 * steps; reading from disk is read-file.ts.
 */
import type { Fleet, Reason } from '@aim-gpu/core';
import { type LocatedDocument, parseDocument } from './document.js';
import { DEFAULT_CARD, toFleet } from './domain.js';
import { explainIssues } from './explain.js';
import { type Issue, toConfigError } from './issue.js';
import { referenceIssues } from './references.js';
import { API_VERSION, fleetSchema } from './schema.js';
import { likelySecretRanges, secretRanges } from './secrets.js';
import type { FleetFile } from './shape.js';
import { decodeSource, type SourceText } from './source-text.js';

/** How a fleet file is parsed. */
export interface ParseFleetOptions {
  /** Name of the file, for errors and as the base of its relative paths. */
  readonly file: string;
  /** Driver of every node, whatever the file says (`--driver` on the command line). */
  readonly driver?: 'simulated' | 'rocm';
}

/** A parsed fleet, and what was assumed in it that its author may want to know. */
export interface ParsedFleet {
  readonly fleet: Fleet;
  readonly warnings: readonly Reason[];
}

function unreadable(
  source: SourceText,
  input: string | Uint8Array,
): { source: SourceText; issue: Issue | null } {
  const decoded = decodeSource(source.file, input);
  if (decoded.problem === null) return { source: decoded.source, issue: null };
  const { message, hint, offset } = decoded.problem;
  const range = { start: offset, end: offset + 1 };
  return {
    source: decoded.source,
    issue: { path: '', message, hint, allowed: ['UTF-8 text'], nearest: null, range },
  };
}

/** Another version has other keys, so nothing else is worth telling. */
function versionIssues(document: LocatedDocument, issues: readonly Issue[]): readonly Issue[] {
  const isMapping = typeof document.value === 'object' && document.value !== null;
  const version =
    isMapping && 'apiVersion' in document.value ? document.value.apiVersion : undefined;
  if (typeof version !== 'string' || version === API_VERSION) return issues;
  return issues
    .filter((issue) => issue.path === 'apiVersion')
    .map((issue) => ({ ...issue, nearest: API_VERSION, hint: `write "${API_VERSION}"` }));
}

function warningsOf(checked: FleetFile): readonly Reason[] {
  const assumed = checked.nodes
    .filter((node) => node.driver === 'simulated' && node.cards === null)
    .map((node) => ({
      code: 'cards-assumed',
      message: `node ${node.name} is simulated and says no cards: one ${DEFAULT_CARD.product} is assumed`,
    }));
  const keyless = checked.tenants
    .filter((tenant) => tenant.keys.length === 0)
    .map((tenant) => ({
      code: 'tenant-without-key',
      message: `tenant ${tenant.name} has no key, so no request can be its`,
    }));
  return [...assumed, ...keyless];
}

/**
 * Parses the text or bytes of a fleet file (YAML or JSON) into a fleet with every default filled in.
 *
 * Names, references and units are checked; models and adapters are not looked for, keys are not read. Throws
 * `ERR_CONFIG_INVALID` at the first problem in file order, with its place, the user's own line, what is allowed there
 * and one fix; `details.issues` (of {@link FleetIssue}) has all of them, `details.issueCount` their number.
 */
export function parseFleet(input: string | Uint8Array, options: ParseFleetOptions): ParsedFleet {
  const { source, issue } = unreadable({ file: options.file, text: '', lineStarts: [0] }, input);
  if (issue !== null) throw toConfigError(source, [issue], []);
  const document = parseDocument(source);
  if (document.value === undefined)
    throw toConfigError(source, document.issues, likelySecretRanges(source.text));
  const checked = fleetSchema.safeParse(document.value);
  const found = checked.success
    ? []
    : explainIssues({ schema: fleetSchema, source, document }, checked.error.issues);
  const issues = versionIssues(document, [
    ...document.issues,
    ...found,
    ...referenceIssues(source, document),
  ]);
  if (!checked.success || issues.length > 0)
    throw toConfigError(source, issues, secretRanges(document));
  const file =
    options.driver === undefined ? checked.data : withDriver(checked.data, options.driver);
  return { fleet: toFleet(file, options.file), warnings: warningsOf(file) };
}

function withDriver(file: FleetFile, driver: 'simulated' | 'rocm'): FleetFile {
  return { ...file, nodes: file.nodes.map((node) => ({ ...node, driver })) };
}

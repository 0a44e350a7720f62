/**
 * What spans several places of a fleet file: names used twice, names that refer to nothing, wishes that contradict
 * each other. Owns these checks and their wording; the form of single values is schema.ts.
 */
import { toBytesCount } from '@aim-gpu/core';
import { type LocatedDocument, locate } from './document.js';
import { cycleIssues } from './fallback-cycles.js';
import { formatPath, type Issue, type MakeIssue } from './issue.js';
import { nearestMatch } from './nearest.js';
import { cordonIssues, nodeCardIssues, pinIssues } from './pins.js';
import {
  type RawPart,
  type RawText,
  rawItems,
  rawKey,
  rawNames,
  rawNumber,
  rawText,
} from './raw-fleet.js';
import { placeAt, type SourceText } from './source-text.js';

interface Checking {
  readonly issue: MakeIssue;
  readonly lineOf: (path: readonly PropertyKey[]) => number;
}

/** Names that must differ, in file order; the second use of one is the issue. */
function duplicates(
  checking: Checking,
  what: string,
  names: readonly RawText[],
  hint: (text: string) => string,
): Issue[] {
  const first = new Map<string, RawText>();
  return names.flatMap((name) => {
    const earlier = first.get(name.text);
    if (earlier === undefined) {
      first.set(name.text, name);
      return [];
    }
    const line = checking.lineOf(earlier.path);
    const message = `${what} ${JSON.stringify(name.text)} is used twice: the first is on line ${line}`;
    return [checking.issue(name.path, { message, hint: hint(name.text) })];
  });
}

/** Names as a message has them: a large fleet has more than anybody reads. */
function someOf(names: readonly string[]): string {
  if (names.length === 0) return 'none';
  return names.length <= 20 ? names.join(', ') : `${names.slice(0, 20).join(', ')}, …`;
}

/** A name that must be one of those declared. */
function unknownName(
  checking: Checking,
  what: string,
  used: RawText,
  known: readonly string[],
  aliasOf?: ReadonlyMap<string, string>,
): Issue[] {
  if (known.includes(used.text)) return [];
  const nearest = aliasOf?.get(used.text) ?? nearestMatch(used.text, known);
  const isAlias = aliasOf?.has(used.text) === true;
  const message = isAlias
    ? `${formatPath(used.path)}: ${JSON.stringify(used.text)} is an alias; here stands the name of a ${what}`
    : `${formatPath(used.path)}: there is no ${what} ${JSON.stringify(used.text)}; there is ${someOf(known)}`;
  const hint =
    nearest === null ? `name a ${what} of this file or remove this` : `write "${nearest}"`;
  const { isKey = false } = used;
  return [checking.issue(used.path, { message, hint, allowed: known, nearest, isKey })];
}

const another = (name: string): string => `name one of them differently, for example "${name}-2"`;

/** The models of a file, as others may name them. */
interface KnownModels {
  readonly names: readonly string[];
  /** The model of each alias. */
  readonly aliasOf: ReadonlyMap<string, string>;
}

function toKnownModels(models: readonly RawPart[]): KnownModels {
  const names = models.flatMap((model) => rawText(rawKey(model, 'name'))).map((name) => name.text);
  const aliasOf = new Map<string, string>();
  for (const model of models)
    for (const name of rawText(rawKey(model, 'name')))
      for (const alias of rawItems(rawKey(model, 'aliases')).flatMap(rawText))
        aliasOf.set(alias.text, name.text);
  return { names, aliasOf };
}

function modelIssues(
  checking: Checking,
  models: readonly RawPart[],
  { names, aliasOf }: KnownModels,
  nodes: readonly string[],
  tenants: readonly string[],
): Issue[] {
  return models.flatMap((model) => {
    const [own] = rawText(rawKey(model, 'name'));
    const placement = rawKey(model, 'placement');
    const fallback = rawText(rawKey(model, 'fallback'));
    const near = rawItems(rawKey(placement, 'near')).flatMap(rawText);
    const apart = rawItems(rawKey(placement, 'apart')).flatMap(rawText);
    const others = [...near, ...apart];
    const self = others
      .filter((used) => used.text === own?.text)
      .map((used) =>
        checking.issue(used.path, {
          message: `${formatPath(used.path)}: a model cannot be near or apart from itself`,
          hint: `remove "${used.text}"`,
        }),
      );
    const both = apart
      .filter((used) => near.some((wish) => wish.text === used.text))
      .map((used) =>
        checking.issue(used.path, {
          message: `${formatPath(used.path)}: ${JSON.stringify(used.text)} is to be near and apart at once`,
          hint: `remove "${used.text}" from near or from apart`,
        }),
      );
    const guarded = rawKey(model, 'of');
    const guards = [...rawText(guarded), ...rawText(rawKey(guarded, 'model'))];
    const wishedNodes = rawItems(rawKey(placement, 'nodes')).flatMap(rawText);
    return [
      ...[...fallback, ...others].flatMap((used) =>
        unknownName(checking, 'model', used, names, aliasOf),
      ),
      ...guards.flatMap((used) => unknownName(checking, 'model', used, names, aliasOf)),
      ...guardIssues(checking, model, guards),
      ...rawText(rawKey(model, 'tenant')).flatMap((used) =>
        unknownName(checking, 'tenant', used, tenants),
      ),
      ...self,
      ...both,
      ...wishedNodes.flatMap((used) => unknownName(checking, 'node', used, nodes)),
      ...rawText(rawKey(rawKey(placement, 'pin'), 'node')).flatMap((used) =>
        unknownName(checking, 'node', used, nodes),
      ),
      ...loadIssues(checking, model),
    ];
  });
}

/** Only guardrails guard, and no model guards itself or a guardrail. */
function guardIssues(
  checking: Checking,
  model: RawPart,
  guards: readonly RawText[],
): readonly Issue[] {
  const [kind] = rawText(rawKey(model, 'kind'));
  const [own] = rawText(rawKey(model, 'name'));
  return guards.flatMap(({ path, text }) => {
    if (text === own?.text) {
      const message = `${formatPath(path)}: a guardrail cannot guard itself`;
      return [checking.issue(path, { message, hint: 'name the model that it guards' })];
    }
    if (kind?.text === 'guardrail') return [];
    const message = `${formatPath(path)}: only a guardrail guards a model; this is ${kind?.text ?? 'inference'}`;
    return [checking.issue(path, { message, hint: 'write "kind: guardrail", or remove "of"' })];
  });
}

/** A tenant's limits are on models that there are, by their own names: an alias has no account of its own. */
function modelLimitIssues(
  checking: Checking,
  tenant: RawPart,
  { names, aliasOf }: KnownModels,
): readonly Issue[] {
  return rawNames(rawKey(tenant, 'modelLimits')).flatMap((used) =>
    unknownName(checking, 'model', used, names, aliasOf),
  );
}

/** Of its own part a tenant is guaranteed all at most. */
function quotaIssues(checking: Checking, tenant: RawPart): readonly Issue[] {
  const quota = rawKey(tenant, 'quota');
  const memory = rawText(rawKey(quota, 'memory'))[0];
  const guaranteed = rawText(rawKey(quota, 'guaranteed'))[0];
  if (memory === undefined || guaranteed === undefined) return [];
  const own = toBytesCount(memory.text);
  const least = toBytesCount(guaranteed.text);
  if (own === null || least === null || least <= own) return [];
  const message = `${formatPath(guaranteed.path)}: ${guaranteed.text} cannot be guaranteed out of ${memory.text}`;
  return [
    checking.issue(guaranteed.path, {
      message,
      hint: `write ${memory.text} or less, or raise memory`,
    }),
  ];
}

/** A mean request longer than the longest allowed one would be refused every time. */
function loadIssues(checking: Checking, model: RawPart): Issue[] {
  const load = rawKey(model, 'load');
  const longest = rawNumber(rawKey(model, 'maxModelLen'));
  const prompt = rawNumber(rawKey(load, 'promptTokens'));
  const output = rawNumber(rawKey(load, 'outputTokens'));
  if (longest === null || prompt === null || output === null || prompt + output <= longest)
    return [];
  const path = rawKey(load, 'promptTokens').path;
  return [
    checking.issue(path, {
      message: `${formatPath(load.path)}: an average request of ${prompt} + ${output} tokens is longer than maxModelLen, ${longest}`,
      hint: `raise maxModelLen to at least ${prompt + output}`,
      allowed: [`promptTokens + outputTokens of at most ${longest}`],
    }),
  ];
}

/** Every name clients can put into "model": of models, their aliases and their adapters. */
function servedNames(models: readonly RawPart[]): readonly RawText[] {
  return models.flatMap((model) => [
    ...rawText(rawKey(model, 'name')),
    ...rawItems(rawKey(model, 'aliases')).flatMap(rawText),
    ...rawItems(rawKey(model, 'adapters')).flatMap((adapter) => rawText(rawKey(adapter, 'name'))),
  ]);
}

function tenantIssues(
  checking: Checking,
  tenants: readonly RawPart[],
  models: KnownModels,
): Issue[] {
  const keys = tenants.flatMap((tenant) => rawItems(rawKey(tenant, 'keys')));
  const of = (kind: string): RawText[] => keys.flatMap((key) => rawText(rawKey(key, kind)));
  const remove = (): string => 'remove one of them: a key belongs to one tenant';
  const names = tenants.flatMap((tenant) => rawText(rawKey(tenant, 'name')));
  // A digest is not secret, but what stands in its place may be: only well-formed ones are repeated.
  const digests = of('sha256').filter(({ text }) => /^[0-9a-fA-F]{64}$/.test(text));
  const variables = of('env').filter(({ text }) => /^[A-Z_][A-Z0-9_]*$/.test(text));
  return [
    ...tenants.flatMap((tenant) => quotaIssues(checking, tenant)),
    ...tenants.flatMap((tenant) => modelLimitIssues(checking, tenant, models)),
    ...duplicates(checking, 'the tenant', names, another),
    ...duplicates(checking, 'the key of environment variable', variables, remove),
    ...duplicates(checking, 'the key file', of('file'), remove),
    ...duplicates(
      checking,
      'the key with SHA-256',
      digests.map(({ path, text }) => ({ path, text: text.toLowerCase() })),
      remove,
    ),
  ];
}

/** Checks everything that spans several places of a document. */
export function referenceIssues(source: SourceText, document: LocatedDocument): readonly Issue[] {
  const root: RawPart = { path: [], value: document.value };
  const issue: MakeIssue = (path, { isKey = false, ...problem }) => {
    const { key, value } = locate(document, path);
    const range = isKey ? (key ?? value) : value;
    return { path: formatPath(path), allowed: [], nearest: null, ...problem, range };
  };
  const lineOf = (path: readonly PropertyKey[]): number =>
    placeAt(source, locate(document, path).value.start).line;
  const checking: Checking = { issue, lineOf };
  const nodes = rawItems(rawKey(root, 'nodes'));
  const models = rawItems(rawKey(root, 'models'));
  const nodeNames = nodes.flatMap((node) => rawText(rawKey(node, 'name')));
  const knownNodes = nodeNames.map((name) => name.text);
  const knownModels = toKnownModels(models);
  const tenants = rawItems(rawKey(root, 'tenants'));
  const knownTenants = tenants.flatMap((tenant) =>
    rawText(rawKey(tenant, 'name')).map(({ text }) => text),
  );
  return [
    ...duplicates(checking, 'the node', nodeNames, another),
    ...nodes.flatMap((node) => nodeCardIssues(issue, node)),
    ...nodes.flatMap((node) => cordonIssues(issue, node)),
    ...duplicates(checking, 'the model name', servedNames(models), another),
    ...modelIssues(checking, models, knownModels, knownNodes, knownTenants),
    ...cycleIssues(issue, models),
    ...models.flatMap((model) => pinIssues(issue, model, nodes)),
    ...tenantIssues(checking, tenants, knownModels),
  ];
}

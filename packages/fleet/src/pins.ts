/**
 * Cards a fleet file names: those of a simulated node, and the one a model is pinned to. Owns the checks of addresses,
 * hives and partitions; cards of a real node are only known once a driver has looked.
 */
import { cardId } from '@aim-gpu/core';
import { findProduct } from '@aim-gpu/core/products';
import { formatPath, type Issue, type MakeIssue } from './issue.js';
import { nearestMatch } from './nearest.js';
import { type RawPart, rawItems, rawKey, rawNumber, rawText } from './raw-fleet.js';
import type { CardShape } from './shape.js';
import { type CompleteCard, completeCards } from './simulated-cards.js';

function address(text: string): string | null {
  try {
    return cardId(text);
  } catch {
    return null;
  }
}

/** The cards of a simulated node; null where the file leaves them open or has them wrong. */
function cardsOf(node: RawPart): readonly CompleteCard[] | null {
  const cards = rawKey(node, 'cards');
  const [name] = rawText(rawKey(node, 'name'));
  const [driver] = rawText(rawKey(node, 'driver'));
  if (name === undefined || driver?.text !== 'simulated') return null;
  const shape = (part: RawPart): CardShape | null => {
    const [product] = rawText(rawKey(part, 'product'));
    const [id] = rawText(rawKey(part, 'id'));
    const [hive] = rawText(rawKey(part, 'hive'));
    if (id !== undefined && address(id.text) === null) return null;
    return { id: id?.text ?? null, product: product?.text ?? 'MI300X', hive: hive?.text ?? null };
  };
  const count =
    cards.value === undefined || cards.value === null
      ? 1
      : (rawNumber(rawKey(cards, 'count')) ?? 1);
  const wrongCount = !Number.isInteger(count) || count < 1 || count > 8;
  const listed = Array.isArray(cards.value)
    ? rawItems(cards).map(shape)
    : wrongCount
      ? [null]
      : Array.from({ length: count }, () => shape(cards));
  const complete = listed.filter((card) => card !== null);
  return complete.length < listed.length || complete.length > 8
    ? null
    : completeCards(name.text, complete);
}

/** Checks the cards of one node: an address stands once, and a hive joins cards of one product. */
export function nodeCardIssues(issue: MakeIssue, node: RawPart): readonly Issue[] {
  const ids = new Set<string>();
  const hives = new Map<string, string>();
  return rawItems(rawKey(node, 'cards')).flatMap((card): readonly Issue[] => {
    const found: Issue[] = [];
    for (const { path, text } of rawText(rawKey(card, 'id'))) {
      const id = address(text);
      if (id !== null && ids.has(id)) {
        const message = `the card ${id} stands twice in ${formatPath(node.path)}`;
        found.push(issue(path, { message, hint: 'give each card an address of its own' }));
      }
      if (id !== null) ids.add(id);
    }
    const [hive] = rawText(rawKey(card, 'hive'));
    const product = rawText(rawKey(card, 'product'))[0]?.text ?? 'MI300X';
    if (hive === undefined) return found;
    const earlier = hives.get(hive.text) ?? product;
    hives.set(hive.text, earlier);
    if (earlier !== product) {
      const message = `the hive ${JSON.stringify(hive.text)} has cards of ${earlier}; XGMI joins cards of one product, and this is a ${product}`;
      found.push(
        issue(hive.path, {
          message,
          hint: `name another hive, for example "${hive.text}-${product}"`,
        }),
      );
    }
    return found;
  });
}

/** Checks that the cards to be cordoned are there; those of a real node are known to its driver only. */
export function cordonIssues(issue: MakeIssue, node: RawPart): readonly Issue[] {
  const cards = cardsOf(node);
  if (cards === null) return [];
  const known = cards.map(({ id }) => id);
  return rawItems(rawKey(node, 'cordon'))
    .flatMap(rawText)
    .flatMap(({ path, text }): readonly Issue[] => {
      const id = address(text);
      if (id === null || known.includes(id)) return [];
      const nearest = nearestMatch(id, known) ?? known[0] ?? null;
      const message = `${formatPath(path)}: there is no card ${JSON.stringify(text)}; there is ${known.join(', ')}`;
      const hint = nearest === null ? 'remove it' : `write "${nearest}"`;
      return [issue(path, { message, hint, allowed: known, nearest })];
    });
}

/** Checks a model's pin against the nodes of the file and the model's own wishes. */
export function pinIssues(
  issue: MakeIssue,
  model: RawPart,
  nodes: readonly RawPart[],
): readonly Issue[] {
  const placement = rawKey(model, 'placement');
  const pin = rawKey(placement, 'pin');
  const [pinnedNode] = rawText(rawKey(pin, 'node'));
  const [pinnedCard] = rawText(rawKey(pin, 'card'));
  if (pinnedNode === undefined) return [];
  const wished = rawItems(rawKey(placement, 'nodes'))
    .flatMap(rawText)
    .map(({ text }) => text);
  if (wished.length > 0 && !wished.includes(pinnedNode.text)) {
    const message = `${formatPath(pin.path)}: the model is pinned to ${pinnedNode.text}, but its nodes are ${wished.join(', ')}`;
    return [
      issue(pinnedNode.path, {
        message,
        hint: 'remove nodes: the pin says it all',
        allowed: wished,
      }),
    ];
  }
  const node = nodes.find((entry) => rawText(rawKey(entry, 'name'))[0]?.text === pinnedNode.text);
  const cards = node === undefined ? null : cardsOf(node);
  const id = pinnedCard === undefined ? null : address(pinnedCard.text);
  if (cards === null || pinnedCard === undefined || id === null) return [];
  const card = cards.find((entry) => entry.id === id);
  if (card === undefined) {
    const known = cards.map((entry) => entry.id);
    const nearest = nearestMatch(id, known) ?? known[0] ?? null;
    const message = `${formatPath(pinnedCard.path)}: ${pinnedNode.text} has no card ${JSON.stringify(pinnedCard.text)}; it has ${known.join(', ')}`;
    const hint = nearest === null ? 'remove the pin' : `write "${nearest}"`;
    return [issue(pinnedCard.path, { message, hint, allowed: known, nearest })];
  }
  const partition = rawNumber(rawKey(pin, 'partition'));
  const most = findProduct(card.product)?.xcds ?? null;
  if (partition === null || most === null || partition < most) return [];
  const message = `${formatPath(pin.path)}: a ${card.product} has at most ${most} partitions, so there is none with index ${partition}`;
  const allowed = [`a whole number from 0 to ${most - 1}`];
  return [
    issue(rawKey(pin, 'partition').path, { message, hint: `write ${most - 1} or less`, allowed }),
  ];
}

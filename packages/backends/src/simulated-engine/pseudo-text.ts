/**
 * Tokens without a tokenizer: how many a text has, which blocks two prompts share, and what an answer says. All of it
 * a function of the request alone, so that a run can be repeated. Pure.
 */

/** Characters (UTF-16 code units) of one token: the usual rule of thumb for English text. */
const CHARACTERS_PER_TOKEN = 4;
/** Tokens a chat template adds to each message (role, delimiters) and once for the answer's opening. */
const TOKENS_PER_MESSAGE = 4;
const TOKENS_FOR_ANSWER = 3;

/** Estimated tokens of a text: one for every 4 characters begun, at least one. */
export function countTokens(text: string): number {
  return Math.max(1, Math.ceil(text.length / CHARACTERS_PER_TOKEN));
}

/** Estimated tokens of a conversation: each message's text and 4 for its frame, and 3 for the answer's opening. */
export function countChatTokens(messages: readonly { readonly text: string }[]): number {
  const tokens = messages.map(
    ({ text }) => TOKENS_PER_MESSAGE + Math.ceil(text.length / CHARACTERS_PER_TOKEN),
  );
  return TOKENS_FOR_ANSWER + tokens.reduce((sum, value) => sum + value, 0);
}

/** One text of a prompt of `promptTokens` tokens through the chat endpoint as a single message; the inverse of the above. */
export function chatTextOf(promptTokens: number, salt: string): string {
  const characters =
    Math.max(1, promptTokens - TOKENS_FOR_ANSWER - TOKENS_PER_MESSAGE) * CHARACTERS_PER_TOKEN;
  const words: string[] = [salt];
  let length = salt.length;
  for (let index = 0; length < characters; index += 1) {
    const word = ` ${wordAt(hashText(salt), index)}`;
    words.push(word);
    length += word.length;
  }
  return words.join('').slice(0, characters);
}

const WORDS: readonly string[] =
  'able acid aged also area army away baby back ball band bank base bath bear beat been bell best bill bird blow blue boat body bond bone book born both bulk burn bush busy call calm came camp card care case cash cast cell chat city clay clip club coal coat code cold come cook cool core cost crew crop dark data date dawn days deal dear debt deep desk dial diet disc dish does done door down draw drop drum dual duke dust duty each earn ease east easy edge else even ever face fact fair fall farm fast fear feed feel file fill film find fine fire firm fish five flat flow food foot form four free from fuel full fund gain game gate gave gear gift girl give glad goal goes gold golf gone good gray grew grid grow gulf hair half hall hand hard harm have head hear heat held help here hero high hill hire hold hole home hope host hour huge idea inch into iron item jump just keen keep kept kind king knew know lack lady laid lake land lane last late lead left less life lift like line link list live load loan lock long look lord lose loss lost love luck made mail main make many mark mass mean meet menu mile milk mill mind mine miss mode moon more most move much must name navy near neck need news next nine none nose note once only onto open oral over pace pack page paid pair park part pass past path peak pick pink pipe plan play plot plus poll pool port post pull pure push race rail rain rank rare rate read real rear rely rent rest rice rich ride ring rise risk road rock role roll roof room root rose rule rush safe said sail sale salt same sand save seat seed seek seem seen self sell send ship shop shot show shut side sign silk site size skin slow snow soft soil sold sole some song soon sort soul spot star stay step stop such suit sure take tale talk tall tank tape task team tell tend term test text than that them then they thin this thus till time tiny told tone tool tour town tree trip true tune turn twin type unit upon used user vary vast very view vote wage wait walk wall want warm wash wave ways week well went were west what when wide wife wild will wind wine wing wire wise wish with wood word work yard year zone'.split(
    ' ',
  );

/** FNV-1a over UTF-16 code units (public domain, Fowler, Noll and Vo). */
export function hashText(text: string, seed: number = 0x811c9dc5): number {
  let hash = seed >>> 0;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193) >>> 0;
  }
  return hash;
}

function wordAt(seed: number, index: number): string {
  let mixed = (seed + Math.imul(index + 1, 0x9e3779b1)) >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x45d9f3b) >>> 0;
  mixed ^= mixed >>> 16;
  return WORDS[(mixed >>> 0) % WORDS.length] ?? 'word';
}

/** Text of the answer's token at `index`: a word, with a space before all but the first. */
export function tokenText(seed: number, index: number): string {
  return index === 0 ? wordAt(seed, 0) : ` ${wordAt(seed, index)}`;
}

/** Text of the first `count` tokens of an answer. */
export function answerText(seed: number, count: number): string {
  return Array.from({ length: count }, (_, index) => tokenText(seed, index)).join('');
}

/** One key for each full block of a prompt, each standing for everything up to that block's end. */
export function blockKeysOf(
  text: string,
  promptTokens: number,
  blockSize: number,
): readonly string[] {
  const characters = blockSize * CHARACTERS_PER_TOKEN;
  const keys: string[] = [];
  let low = 0x811c9dc5;
  let high = 0xcbf29ce4;
  for (let block = 0; block < Math.floor(promptTokens / blockSize); block += 1) {
    const part = text.slice(block * characters, (block + 1) * characters);
    low = hashText(part, low);
    high = hashText(part, high ^ block);
    keys.push(`${high.toString(36)}.${low.toString(36)}`);
  }
  return keys;
}

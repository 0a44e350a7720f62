/** Every fleet file that the front page and the guides show, whole or a piece of one, passes `aim-gpu validate`. */
import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPlace, type Place, run } from './support/command.js';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const PAGES = ['README.md', 'docs/guide/gateway.md'];

/** What a piece of a file leaves out. */
const HEAD = `apiVersion: aim-gpu/v1alpha1
kind: Fleet
nodes:
  - { name: node-a, driver: simulated, cards: { product: MI300X, count: 1 } }
`;

/** The front page's model of one's own, which stands beside the file. */
const OWN_MODEL = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 1024,
  intermediate_size: 4096,
  num_attention_heads: 16,
  num_hidden_layers: 8,
  num_key_value_heads: 4,
  max_position_embeddings: 8192,
  torch_dtype: 'bfloat16',
  vocab_size: 32_000,
};

const shown = PAGES.flatMap((page) => {
  const text = readFileSync(path.join(ROOT, page), 'utf8');
  const blocks = [...text.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, block = '']) => block);
  return blocks.map((block, index) => ({ page, index, block }));
});

interface Validated {
  readonly models: readonly {
    readonly name: string;
    readonly band: string;
    readonly slo: { readonly ttft: string | null };
    readonly limits: { readonly concurrent: number | null };
  }[];
  readonly tenants: readonly {
    readonly bands: readonly string[];
    readonly limits: { readonly requestsPerMinute: number | null };
    readonly modelLimits: Readonly<Record<string, { readonly concurrent: number | null }>>;
  }[];
}

let place: Place;
beforeAll(() => {
  place = createPlace();
  mkdirSync(path.join(place.directory, 'models/mine'), { recursive: true });
  place.write('models/mine/config.json', JSON.stringify(OWN_MODEL));
});
afterAll(() => place.remove());

async function validated(block: string): Promise<Validated> {
  const file = place.write('fleet.yaml', block.includes('apiVersion:') ? block : `${HEAD}${block}`);
  const { code, stdout, stderr } = await run(['validate', file, '--json']);
  expect(code, `${block}\n${stderr}${stdout}`).toBe(0);
  return JSON.parse(stdout) as Validated;
}

describe('a fleet file as it is documented', () => {
  it.each(shown)('$page, block $index, is one', async ({ block }) => {
    const { models } = await validated(block);
    expect(models.length).toBeGreaterThan(0);
  });

  it('on the front page has tenants, limits, bands and SLOs in five lines', async () => {
    const [block = ''] = shown
      .filter(({ page, block: text }) => page === 'README.md' && text.includes('tenants:'))
      .map(({ block: text }) => text);
    expect(block.trimEnd().split('\n')).toHaveLength(5);
    const { models, tenants } = await validated(block);
    expect(models).toMatchObject([
      { name: 'chat', band: 'interactive', slo: { ttft: '500ms' }, limits: { concurrent: 64 } },
    ]);
    expect(tenants).toMatchObject([
      { bands: ['interactive', 'batch'], limits: { requestsPerMinute: 600 } },
      { bands: ['batch'], modelLimits: { chat: { concurrent: 8 } } },
    ]);
  });
});

/**
 * Formulas of the user's own for single components, as expressions with units: `0.05 * weights + 512 MiB`.
 * Owns the sandbox: an expression is parsed, every node is checked against a short list, then evaluated over numbers of
 * this sizing only. mathjs is loaded on first use, because it takes a second and most programs never need it.
 */
import type { MathJsInstance, MathNode } from 'mathjs';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { invalidConfig } from './errors.js';

/** Components a formula may replace. */
export type FormulaComponent = 'weights' | 'activation' | 'nonTorch' | 'graphs' | 'context';

/** What a formula may speak of; memory in bytes. */
export interface FormulaInputs {
  /** Weights of the rank. */
  readonly weights: number;
  /** What the package's own formula gives for the component. */
  readonly predicted: number;
  readonly totalMemory: number;
  readonly kvPerToken: number;
  readonly layers: number;
  readonly hidden: number;
  readonly vocab: number;
  readonly maxModelLen: number;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  readonly tensor: number;
  readonly pipeline: number;
}

/** Compiled formulas. Made by {@link loadFormulas}. */
export interface Formulas {
  readonly source: string;
  /** Bytes of a component, or `null` when no formula names it. Throws `ERR_CONFIG_INVALID` for a result that is no size. */
  bytesOf(component: FormulaComponent, inputs: FormulaInputs): number | null;
  /** The expressions as written, by component. */
  readonly expressions: Readonly<Partial<Record<FormulaComponent, string>>>;
}

const expression = z.string().min(1).max(500).optional();
const fileSchema = z.strictObject({
  formulas: z.strictObject({
    weights: expression,
    activation: expression,
    nonTorch: expression,
    graphs: expression,
    context: expression,
  }),
});

const MEMORY_NAMES: readonly string[] = ['weights', 'predicted', 'totalMemory', 'kvPerToken'];
const NAMES: readonly string[] = [
  ...MEMORY_NAMES,
  'layers',
  'hidden',
  'vocab',
  'maxModelLen',
  'maxNumSeqs',
  'maxNumBatchedTokens',
  'tensor',
  'pipeline',
];
const FUNCTIONS: readonly string[] = [
  'min',
  'max',
  'abs',
  'ceil',
  'floor',
  'round',
  'sqrt',
  'log2',
];
const UNITS: readonly string[] = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'kB', 'MB', 'GB', 'TB'];
const NODES: readonly string[] = [
  'ConstantNode',
  'SymbolNode',
  'OperatorNode',
  'ParenthesisNode',
  'FunctionNode',
  'ConditionalNode',
  'RelationalNode',
];
const FIX = `use numbers, sizes such as 512 MiB, + - * / ^, ${FUNCTIONS.join(' ')}, and ${NAMES.join(', ')}`;

let loading: Promise<MathJsInstance> | undefined;

async function math(): Promise<MathJsInstance> {
  const { all, create } = await import('mathjs');
  return create(all ?? {});
}

function checkNodes(root: MathNode, component: string, source: string): void {
  root.traverse((node, path, parent) => {
    const { type } = node;
    if (!NODES.includes(type))
      throw invalidConfig(source, component, `${type} is not allowed in a formula`, FIX);
    if (
      type === 'ConstantNode' &&
      typeof (node as unknown as { value: unknown }).value !== 'number'
    )
      throw invalidConfig(source, component, 'only numbers are allowed in a formula', FIX);
    if (type !== 'SymbolNode') return;
    const { name } = node as unknown as { name: string };
    const called = parent?.type === 'FunctionNode' && path === 'fn';
    const known = called ? FUNCTIONS : [...NAMES, ...UNITS];
    if (!known.includes(name))
      throw invalidConfig(source, component, `"${name}" is not known in a formula`, FIX);
  });
}

interface Compiled {
  readonly expression: string;
  readonly evaluate: (scope: Map<string, unknown>) => unknown;
}

/**
 * Reads component formulas from YAML or JSON text: `{ formulas: { activation: "0.05 * weights + 512 MiB" } }`.
 * Throws `ERR_CONFIG_INVALID` for unknown components, names, functions, or anything but arithmetic.
 */
export async function loadFormulas(text: string, source = 'formulas'): Promise<Formulas> {
  let raw: unknown;
  try {
    raw = parseYaml(text, { maxAliasCount: 0 });
  } catch (error) {
    throw invalidConfig(source, '', 'not YAML', 'write formulas: { activation: "…" }', error);
  }
  const checked = fileSchema.safeParse(raw);
  if (!checked.success) {
    const issue = checked.error.issues[0];
    throw invalidConfig(
      source,
      issue?.path.join('.') ?? '',
      issue?.message ?? 'no formulas',
      'write formulas: { activation: "…" }',
    );
  }
  loading ??= math();
  const engine = await loading;
  const compiled = new Map<FormulaComponent, Compiled>();
  const expressions: Partial<Record<FormulaComponent, string>> = {};
  for (const [component, written] of Object.entries(checked.data.formulas) as [
    FormulaComponent,
    string | undefined,
  ][]) {
    if (written === undefined) continue;
    let root: MathNode;
    try {
      root = engine.parse(written);
    } catch (error) {
      throw invalidConfig(source, component, `not an expression: ${written}`, FIX, error);
    }
    checkNodes(root, component, source);
    const code = root.compile();
    compiled.set(component, {
      expression: written,
      evaluate: (scope) => code.evaluate(scope) as unknown,
    });
    expressions[component] = written;
  }
  const scopeOf = (inputs: FormulaInputs): Map<string, unknown> =>
    new Map(
      Object.entries(inputs).map(([name, value]: [string, number]) => [
        name,
        MEMORY_NAMES.includes(name) ? engine.unit(value, 'B') : value,
      ]),
    );
  return {
    source,
    expressions,
    bytesOf: (component, inputs) => {
      const formula = compiled.get(component);
      if (formula === undefined) return null;
      let value: unknown;
      try {
        value = formula.evaluate(scopeOf(inputs));
        if (typeof value !== 'number') value = engine.number(value as never, 'B');
      } catch (error) {
        throw invalidConfig(
          source,
          component,
          `${formula.expression} gives no size`,
          'add sizes to sizes, as in weights + 512 MiB',
          error,
        );
      }
      if (
        typeof value !== 'number' ||
        !Number.isFinite(value) ||
        value < 0 ||
        value > Number.MAX_SAFE_INTEGER
      )
        throw invalidConfig(
          source,
          component,
          `${formula.expression} gives ${String(value)}`,
          'a size is at least 0 bytes',
        );
      return Math.ceil(value);
    },
  };
}

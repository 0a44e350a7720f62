/**
 * Which storage scheme each tensor has under a quantization plan, layer by layer. Owns the matching of published module
 * names to our fused ones; byte sizes are quantization-schemes.ts's business.
 */
import type { ModuleRule, QuantizationPlan, QuantizationScheme, Tensor } from './model-config.js';
import { UNQUANTIZED } from './quantization-schemes.js';

/** Module names a published rule may use for one of our fused modules. */
const ALIASES: ReadonlyMap<string, readonly string[]> = new Map([
  ['self_attn.qkv_proj', ['self_attn.q_proj', 'self_attn.qkv_proj']],
  ['self_attn.q_a_proj', ['self_attn.q_a_proj', 'self_attn.fused_qkv_a_proj_with_mqa']],
  ['mlp.gate_up_proj', ['mlp.gate_proj', 'mlp.gate_up_proj', 'feed_forward.gate_proj']],
  ['mlp.down_proj', ['mlp.down_proj', 'feed_forward.down_proj']],
  [
    'mlp.experts',
    [
      'mlp.experts.0.up_proj',
      'mlp.experts',
      'ffn.experts',
      'block_sparse_moe.experts',
      'feed_forward.experts',
      'mixer.experts',
    ],
  ],
  [
    'mlp.shared_experts.gate_up_proj',
    [
      'mlp.shared_experts.gate_proj',
      'mlp.shared_expert.gate_proj',
      'ffn.shared_experts.w1',
      'feed_forward.shared_expert.gate_proj',
      'mixer.shared_experts.up_proj',
    ],
  ],
  [
    'mlp.shared_experts.down_proj',
    [
      'mlp.shared_experts.down_proj',
      'mlp.shared_expert.down_proj',
      'ffn.shared_experts.w2',
      'feed_forward.shared_expert.down_proj',
      'mixer.shared_experts.down_proj',
    ],
  ],
  ['linear_attn.in_proj_qkvz', ['linear_attn.in_proj_qkv', 'linear_attn.in_proj_qkvz']],
  ['linear_attn.in_proj_ba', ['linear_attn.in_proj_b', 'linear_attn.in_proj_ba']],
]);

/** The scheme of a tensor. */
export interface SchemeAssignment {
  readonly scheme: QuantizationScheme;
  /** Layers where an exclusion keeps the float type. */
  readonly except: ReadonlySet<number> | 'all' | null;
}

function matching<T extends ModuleRule>(rules: readonly T[], names: readonly string[]): T[] {
  return rules.filter((rule) =>
    names.some((name) => rule.pattern.test(name) || rule.pattern.test(`model.layers.0.${name}`)),
  );
}

const PLAIN: SchemeAssignment = { scheme: UNQUANTIZED, except: null };

/** Matching module names is most of the work of a sizing, and plans and tensors never change: remembered per plan. */
const assigned = new WeakMap<QuantizationPlan, WeakMap<Tensor, SchemeAssignment>>();

/** The scheme of a tensor under a plan; `null` plans quantize nothing. */
export function assignScheme(tensor: Tensor, plan: QuantizationPlan | null): SchemeAssignment {
  if (plan === null || !tensor.linear) return PLAIN;
  let known = assigned.get(plan);
  if (known === undefined) {
    known = new WeakMap();
    assigned.set(plan, known);
  }
  const before = known.get(tensor);
  if (before !== undefined) return before;
  const made = match(tensor, plan);
  known.set(tensor, made);
  return made;
}

function match(tensor: Tensor, plan: QuantizationPlan): SchemeAssignment {
  const gguf = plan.base.method.startsWith('gguf:');
  const embedding = tensor.component === 'embedding' || tensor.component === 'vision';
  if (embedding && !gguf) return PLAIN;
  const names = ALIASES.get(tensor.module) ?? [tensor.module];
  // Named as such or as part of a layer kind: the head only where a rule names it.
  const override = matching(plan.overrides, names)[0];
  if (override !== undefined) return { scheme: override.scheme, except: null };
  if (tensor.component === 'head' && !gguf) return PLAIN;
  const excluded = matching(plan.excluded, names);
  if (excluded.some((rule) => rule.layers === null)) return { scheme: plan.base, except: 'all' };
  const layers = new Set<number>(excluded.flatMap((rule) => [...(rule.layers ?? [])]));
  return { scheme: plan.base, except: layers.size > 0 ? layers : null };
}
